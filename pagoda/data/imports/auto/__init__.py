"""What anyone's files seem to be, and how they would be imported."""
