"""What keeps Atlas going while others do not: how long to wait, when to leave alone, how fast to ask."""
