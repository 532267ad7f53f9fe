"""How an answer came about: put together when it is done, and only where the request asks for it."""
