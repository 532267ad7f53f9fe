"""What `make demo` and its siblings show: the real programs, run end to end on one machine."""
