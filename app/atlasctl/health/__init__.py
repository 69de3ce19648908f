"""Health: checks that roles drop into health.d, what they add up to, what is healed, the page that tells."""
