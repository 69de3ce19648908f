"""The machine's own mail: accepted from any program as `sendmail` does, kept on disk, delivered by msmtp."""
