"""Which items a positive is compared with, and how probable each is to be one."""
