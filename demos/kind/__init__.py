"""docs/kind.md as a script: from nothing to an answer on one kind node."""
