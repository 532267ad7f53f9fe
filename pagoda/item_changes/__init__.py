"""The log of item changes: what it says, how much it lets go at once, how it is walked back, how it stays short."""
