# A dump of a program's memory holds passwords and pages.
ulimit -c 0
