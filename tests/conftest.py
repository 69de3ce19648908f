"""What must be set before any test is read."""

import os

# Read when Oracle's SDK is imported: its own retries would hide what the fake cloud answers.
os.environ["OCI_SDK_DEFAULT_RETRY_ENABLED"] = "false"
os.environ["OCI_SDK_DEFAULT_CIRCUITBREAKER_ENABLED"] = "false"
