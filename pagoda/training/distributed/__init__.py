"""One full update by several processes beside each other: each has its users' rows, and a part of the items'."""
