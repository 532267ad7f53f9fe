"""KServe: the user tower as an InferenceService, in Standard and in Knative mode.

Incremental versions live in the same pods as their base, so what these modules move are full versions ("towers").
"""
