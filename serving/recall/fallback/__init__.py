"""What stands in for a server that does not answer."""
