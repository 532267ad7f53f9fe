"""The pre-ranker's training: what was shown, which groups of features it reads, and what it learns."""
