"""A cluster on which recall's pods have the tower and the search in them."""
