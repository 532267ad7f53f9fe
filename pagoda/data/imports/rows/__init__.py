"""Which rows an import takes, and what it makes of them."""
