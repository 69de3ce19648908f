"""The operator's tool on the machine: health, status, logs, doctor, releases.

Runs as root with the system's python3 and nothing but its standard library, so that it works when everything
else is broken.
"""
