"""Waiting for a condition, and never for a time."""

from __future__ import annotations

import operator
from collections.abc import Callable

from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed


@retry(stop=stop_after_delay(240), retry=retry_if_result(operator.not_), wait=wait_fixed(0.1))
def wait_for(condition: Callable[[], object]) -> object:
    """Wait until `condition` is true; a loaded machine takes its time."""
    return condition()
