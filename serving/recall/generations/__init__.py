"""Which generations answer, and what a request is read by."""
