"""Models kept as the JSON that the log has, and parsed when somebody asks: a year of them must fit every process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import orjson
from pydantic import ValidationError

from pagoda.errors import IntegrityError, explain
from pagoda.generations.manifest import Manifest
from pagoda.generations.versions import VersionRecord

_Key = TypeVar("_Key", bound=int | str)
_Model = TypeVar("_Model", bound=VersionRecord | Manifest)
_MOST_PARSED = 512


class Parsed(Mapping[_Key, _Model], Generic[_Key, _Model]):
    """A mapping from names to models whose values are parsed at each first look."""

    def __init__(self, parse: Callable[[Mapping[_Key, bytes], _Key], _Model], bodies: Mapping[_Key, bytes]) -> None:
        """Wrap the record bodies, JSON, by name; `parse` makes one's model, with the others at hand."""
        self._parse, self.bodies = parse, bodies
        self._models: dict[_Key, _Model] = {}

    def __getitem__(self, key: _Key) -> _Model:
        model = self._models.get(key)
        if model is None:
            try:
                model = self._parse(self.bodies, key)
            except ValidationError as error:
                raise IntegrityError(explain(error, f"release log: record of {key}")) from error
            if len(self._models) >= _MOST_PARSED:
                self._models.clear()
            self._models[key] = model
        return model

    def __iter__(self) -> Iterator[_Key]:
        return iter(self.bodies)

    def __len__(self) -> int:
        return len(self.bodies)

    def __contains__(self, key: object) -> bool:
        return key in self.bodies

    def __eq__(self, other: object) -> bool:
        return self.bodies == other.bodies if isinstance(other, Parsed) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def versions_of(bodies: Mapping[int, bytes]) -> Parsed[int, VersionRecord]:
    """Versions by number, from the bodies of `registered` records."""
    return Parsed(_version, bodies)


def generations_of(bodies: Mapping[str, bytes]) -> Parsed[str, Manifest]:
    """Manifests by generation, from the bodies of `generation` records."""
    return Parsed(_manifest, bodies)


def _version(bodies: Mapping[int, bytes], number: int) -> VersionRecord:
    return VersionRecord.model_validate_json(bodies[number])


def _manifest(bodies: Mapping[str, bytes], id_: str) -> Manifest:
    """An incremental one is recorded as what it adds to another, so that a day does not grow with its square."""
    links: list[dict[str, Any]] = [orjson.loads(bodies[id_])]
    while below := links[-1].pop("onto", None):
        links.append(orjson.loads(bodies[below]))
    segments = [segment for link in links for segment in link.pop("segments", [])]
    described: dict[str, Any] = {}
    for link in reversed(links):
        described |= link
    return Manifest.model_validate_json(orjson.dumps({**described, "segments": segments}))
