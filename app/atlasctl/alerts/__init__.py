"""Alerts in the hand: what is wrong and was lately, silences; on a terminal, and as a page for a phone."""
