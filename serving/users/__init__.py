"""Users of the online store."""
