"""The two networks and what they are stacked from."""
