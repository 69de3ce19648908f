"""Reading a page: everything between its bytes and the article in it. No network, no clock, no database."""
