"""One module a step of an item's life; `table` names the stages."""
