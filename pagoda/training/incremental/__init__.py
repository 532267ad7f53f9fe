"""The incremental update."""
