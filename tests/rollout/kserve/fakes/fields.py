"""Server-side apply: who owns which field, and what that makes of an object.

After the rules of https://kubernetes.io/docs/reference/using-api/server-side-apply/: maps are merged key by key, lists
without a declared type (all that matter here) are one value; an applied field that another manager owns with another
value is a conflict unless forced; what a manager no longer applies goes away if nobody else owns it.
"""

from __future__ import annotations

import copy
from typing import Any

Path = tuple[str, ...]
_MISSING = object()
_IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
_SERVERS = {"resourceVersion", "generation", "uid", "managedFields", "creationTimestamp"}


class FieldConflictError(Exception):
    """Another manager owns a field with another value."""


class Owned:
    """An object with the managers of its fields."""

    def __init__(self, found: dict[str, Any], manager: str, operation: str = "Update") -> None:
        self.found = copy.deepcopy(found)
        self.owners: dict[tuple[str, str], set[Path]] = {(manager, operation): set(leaves(found))}

    def apply(self, body: dict[str, Any], manager: str, *, force: bool) -> bool:
        """Apply; returns whether anything but ownership changed."""
        key, wanted, before = (manager, "Apply"), leaves(body), copy.deepcopy(self.found)
        for path, value in wanted.items():
            for other, theirs in self.owners.items():
                if other == key or path not in theirs or read(self.found, path) == value:
                    continue
                if not force:
                    raise FieldConflictError(f'conflict with "{other[0]}": .{".".join(path)}')
                theirs.discard(path)
        dropped = self.owners.get(key, set()) - set(wanted)
        self.owners[key] = set(wanted)
        for path in dropped:
            if not any(path in theirs for theirs in self.owners.values()):
                _remove(self.found, path)
        for path, value in wanted.items():
            _write(self.found, path, value)
        return self.found != before

    def merge(self, body: dict[str, Any], manager: str) -> bool:
        """JSON merge patch, as an update by `manager`."""
        before = leaves(self.found)
        _merge(self.found, {key: value for key, value in body.items() if key not in ("apiVersion", "kind")})
        after = leaves(self.found)
        changed = {path for path in {*before, *after} if before.get(path, _MISSING) != after.get(path, _MISSING)}
        for theirs in self.owners.values():
            theirs.difference_update(changed)
        self.owners.setdefault((manager, "Update"), set()).update(changed & set(after))
        return bool(changed)

    def managed_fields(self) -> list[dict[str, Any]]:
        """`metadata.managedFields`."""
        entries = []
        for (manager, operation), paths in self.owners.items():
            fields: dict[str, Any] = {}
            for path in paths:
                place = fields
                for name in path:
                    place = place.setdefault(f"f:{name}", {})
            entries.append({"manager": manager, "operation": operation, "fieldsV1": fields})
        return entries


def leaves(found: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value that is no map, by its path; what the server itself writes is left out."""
    if (
        path in _IDENTITY
        or (len(path) == 2 and path[0] == "metadata" and path[1] in _SERVERS)
        or path[:1] == ("status",)
    ):
        return {}
    if isinstance(found, dict) and found:
        return {place: value for key in found for place, value in leaves(found[key], (*path, key)).items()}
    return {path: found} if path else {}


def read(found: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return _MISSING
        found = found[key]
    return found


def _write(found: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        found = found.setdefault(key, {})
    found[path[-1]] = copy.deepcopy(value)


def _remove(found: dict[str, Any], path: Path) -> None:
    parent = read(found, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _merge(found: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            _merge(found.setdefault(key, {}), value)
        else:
            found[key] = value
