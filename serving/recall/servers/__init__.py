"""The servers behind recall, each with its breaker and its batches."""
