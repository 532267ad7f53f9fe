"""A recall service as it is now, read from its metrics."""
