"""Verbs about what serves: versions, releases, rollouts, retention."""
