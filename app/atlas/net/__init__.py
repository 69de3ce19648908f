"""The guarded way out to other machines: what Atlas may ask, how long, how much."""
