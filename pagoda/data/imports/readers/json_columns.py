"""Values of parsed JSON lines as columns: where they are, and of which type."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pyarrow as pa

from pagoda.data.imports.readers.refusals import shown
from pagoda.errors import DataError

Path = tuple[str, ...]
_EXACT_FLOATS = 1 << 53


class Keys:
    """All keys of a file's objects, those inside objects included."""

    def __init__(self) -> None:
        self._held: dict[Path, bool] = {}
        """Whether there is a value: null alone may stand for an object."""

    def add(self, rows: list[dict[str, Any]], above: Path = ()) -> None:
        """Look at some objects, which stand below the keys `above`."""
        for key in dict.fromkeys(chain.from_iterable(rows)):
            path = (*above, key)
            values = [row.get(key) for row in rows]
            types = set(map(type, values)) - {type(None)}
            if dict in types:
                self.add([value for value in values if type(value) is dict], path)
            self._held[path] = self._held.get(path, False) or bool(types - {dict})

    def paths(self, file: str) -> dict[str, Path]:
        """Name, which is the keys joined by dots → keys, in the order in which they came."""
        above = {path[:length] for path in self._held for length in range(1, len(path))}
        found: dict[str, Path] = {}
        for path, held in self._held.items():
            if not held and path in above:
                continue
            name = ".".join(path)
            if name in found:
                raise DataError(f"{file}: {name!r} is a key with a dot and a key inside an object; rename one of them")
            found[name] = path
        return found


class TypedColumn:
    """The values below one key, all of the kind that the first of them has."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._kind: str | None = None
        self._since = 0
        """The line from which on the kind is known."""

    def read(self, rows: list[dict[str, Any]], line: int) -> tuple[pa.Array, dict[int, str]]:
        """The values [n], and position → reason of those that are refused, which are null; `line` is near the rows."""
        values: list[Any] = rows
        for key in self._path[:-1]:
            values = [value.get(key) if type(value) is dict else None for value in values]
        values = [value.get(self._path[-1]) if type(value) is dict else None for value in values]
        array = _array(values)
        if array is not None and self._agrees(_kind_of(array.type), line):
            return (array if not pa.types.is_null(array.type) else pa.nulls(len(values), pa.string())), {}
        return self._kept(values, line)

    def _agrees(self, kind: str | None, line: int) -> bool:
        if self._kind is None and kind is not None:
            self._kind, self._since = kind, line
        return kind is None or kind == self._kind

    def _kept(self, values: list[Any], line: int) -> tuple[pa.Array, dict[int, str]]:
        """Value by value."""
        refused: dict[int, str] = {}
        for n, value in enumerate(values):
            array = _array([value])
            if array is None:
                refused[n] = f"value {shown(value)}: neither text, number, true or false, nor a list of one of these"
            elif not self._agrees(_kind_of(array.type), line):
                what = f"not {self._kind}, as the first values of the column (about line {self._since:,}) are"
                refused[n] = f"value {shown(value)}: {what}; write all in one way"
        kept = [None if n in refused else value for n, value in enumerate(values)]
        array = _array(kept)
        if array is None:  # Whole numbers that a float cannot hold, among floats.
            wide = {n for n, value in enumerate(kept) if type(value) is int and abs(value) > _EXACT_FLOATS}
            refused |= {n: f"value {values[n]}: too large to stand among floats without losing digits" for n in wide}
            array = pa.array([None if n in wide else value for n, value in enumerate(kept)])
        return array, refused


def _array(values: list[Any]) -> pa.Array | None:
    """None: the values have no common type that a column may have."""
    if dict in set(map(type, values)):
        return None
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError):
        return None
    return array if _is_plain(array.type) else None


def _is_plain(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return not pa.types.is_nested(inner)


def _kind_of(kind: pa.DataType) -> str | None:
    """What a value is, in words; None of nulls and empty lists."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_list(kind):
        inner = _kind_of(kind.value_type)
        return inner and f"a list ({inner})"
    if pa.types.is_boolean(kind):
        return "true or false"
    return "text" if pa.types.is_string(kind) else "a number"
