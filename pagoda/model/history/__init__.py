"""History encoders: what a user did last, as one vector."""
