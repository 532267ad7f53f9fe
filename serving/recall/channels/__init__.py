"""Sources of candidates for a request.

A new channel is a module here, and a place in `factory.channels_of`: nothing else knows which channels there are.
"""
