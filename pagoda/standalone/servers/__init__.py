"""The servers of the embedded platform, a function each."""
