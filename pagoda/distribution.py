"""This package as pip knows it: on PyPI, the name `pagoda` is somebody else's."""

from __future__ import annotations

import re
from importlib.metadata import requires, version

NAME = "pagoda-recall"
EVERYTHING = "standalone"
"""The extra with all that one machine runs."""
_OF_EXTRA = re.compile(r"([\w.-]+).*;.*\bextra == ['\"]([\w-]+)['\"]")


def release() -> str:
    """The version that is installed."""
    return version(NAME)


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "{NAME}[{extra}]"'


def missing(module: str, extra: str) -> str:
    """One line for whoever lacks a module: which extra has it, `extra` if that does, else the one with everything."""
    declared = (_OF_EXTRA.match(line) for line in requires(NAME) or ())
    owners = {found[2] for found in declared if found and found[1] == module.replace("_", "-")}
    return f"{module} is not installed: {install(extra if extra in owners else EVERYTHING)}"
