"""What Atlas tells about itself: logs, metrics, and word to the service manager."""
