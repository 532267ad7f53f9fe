"""The stage that a rollout's course is tried on."""

from __future__ import annotations

import pytest

from .worlds import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
