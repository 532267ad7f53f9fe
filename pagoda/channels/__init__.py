"""Channels beside the two towers: tables that a full version carries, and the candidates that they give.

What is here is the same for an answer and for an evaluation: `base` says what a channel is, `factory` which there are,
`merging` how their candidates become one list.
"""
