"""Ways out: everything that is here, in forms that other programs (and Atlas again) can read."""
