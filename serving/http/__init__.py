"""What HTTP services of ours have in common."""
