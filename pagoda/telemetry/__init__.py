"""What processes tell Prometheus, and reading it back."""
