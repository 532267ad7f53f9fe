"""A context variable's value for a block.

Its own small class, since each request enters several: `contextlib`'s generators take twice as many calls.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Within(Generic[Value]):
    """`with` it the variable has the value; afterwards the one that it had before."""

    __slots__ = ("_token", "_value", "_variable")
    _token: Token[Value]

    def __init__(self, variable: ContextVar[Value], value: Value) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)
