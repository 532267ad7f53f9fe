"""The full update."""
