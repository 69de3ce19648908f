"""The weekly report: what came in, what failed and why, how Atlas is, and what its owner should do."""
