"""One full update by several processes, that `torchrun` starts: each has its users' rows, and a part of the items'."""
