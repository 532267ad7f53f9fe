"""The user tower on KServe's own Python model server: the same answers as TorchServe's, without TorchServe.

The follower puts archives into a store, or KServe does; `versions` loads those that a manifest names, `batches`
computes what is asked together, `app` is the HTTP of it, `server` the process.
"""
