"""What is added to a text after it was read, with the help of others."""
