"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: an example may take long, the suite as a whole may not.
settings.register_profile("pagoda", deadline=None)
settings.load_profile("pagoda")
