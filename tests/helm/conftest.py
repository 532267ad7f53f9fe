"""Fixtures of the chart's tests."""

from __future__ import annotations

import pytest

from helm.generate.chart import PROFILES

from .charts import Chart, in_profile, with_values


@pytest.fixture(params=["defaults", *PROFILES])
def chart(request: pytest.FixtureRequest) -> Chart:
    """The chart in each of its profiles."""
    return with_values() if request.param == "defaults" else in_profile(request.param)
