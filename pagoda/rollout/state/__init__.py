"""The state of a rollout, folded from its records."""
