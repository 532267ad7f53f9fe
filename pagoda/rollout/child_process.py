"""Heavy work of the driver in a process of its own, so that the driver, which runs for months, stays small."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from pagoda.errors import UnavailableError

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def apart(work: Callable[_Given, _Found], *given: _Given.args, **named: _Given.kwargs) -> _Found:
    """Call `work` in a fresh process, which then ends; whatever it raises is raised here.

    Raises:
        UnavailableError: The process was killed, for want of memory, say.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(work, *given, **named).result()
        except BrokenProcessPool as error:
            raise UnavailableError(f"{work.__name__}: its process was killed; is there enough memory?") from error
