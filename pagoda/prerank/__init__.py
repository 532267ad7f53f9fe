"""The pre-ranker: what it reads, its network, and the items it knows; the same for training and for each request."""
