"""Other ways to an article its own site does not give: an archived copy, or the same article elsewhere."""
