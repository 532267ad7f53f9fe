"""Where generations run: one small interface, and what differs between one machine and the modes of KServe."""
