"""One machine: the servers of the embedded platform."""
