"""The kustomize folders: base is the chart's minimal profile; an overlay is what makes another profile of it.

They are made of the chart rather than kept beside it: two hand-written descriptions of forty resources drift apart, and
the one that is tested less is wrong. Kustomize users patch the result in a folder of their own.

What Helm keeps at an uninstall is in folders apart, one a profile: `kubectl delete -k` deletes all that a folder names,
and no annotation holds it back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from helm.generate.chart import NAMESPACE, PROFILES, Resource, identity, profile

BASE, *OVERLAYS = PROFILES
Resources = dict[tuple[str, str], Resource]
PARTS = ("base", "overlays", "lasting")
_KEEP = "helm.sh/resource-policy"
_NOTE = "# Made by `make charts` from helm/pagoda; edit the chart, or patch this from a folder of your own.\n"


class _Dumper(yaml.CSafeDumper):
    """Writes a text of several lines as a block."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def write(folder: Path) -> None:
    """Write base/, overlays/ and lasting/ below `folder`; what was there is removed."""
    for part in PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    base, lasting = _rendered(BASE)
    _write_whole(folder / "base", base)
    _write_whole(folder / "lasting" / BASE, lasting)
    _kustomization(folder / "overlays" / BASE, {"resources": ["../../base"]})
    for name in OVERLAYS:
        wanted, lasting = _rendered(name)
        _write_overlay(folder / "overlays" / name, base, wanted)
        _write_whole(folder / "lasting" / name, lasting)


def _rendered(name: str) -> tuple[Resources, Resources]:
    """A profile's resources without its hooks, which only Helm knows how to run, as kustomize would own them.

    First those that go with the rest, then those that last.
    """
    found = {identity(resource): resource for resource in profile(name, hooks=False)}
    kept = {key for key, resource in found.items() if _KEEP in resource["metadata"].get("annotations", {})}
    for resource in found.values():
        labels = resource["metadata"]["labels"]
        labels.pop("helm.sh/chart", None)
        if "app.kubernetes.io/managed-by" in labels:
            labels["app.kubernetes.io/managed-by"] = "kustomize"
        _drop_helm_annotations(resource["metadata"])
        resource["metadata"].setdefault("namespace", NAMESPACE)
    going = {key: resource for key, resource in found.items() if key not in kept}
    return going, {key: found[key] for key in sorted(kept)}


def _drop_helm_annotations(metadata: dict[str, Any]) -> None:
    kept = {key: value for key, value in metadata.pop("annotations", {}).items() if not key.startswith("helm.sh/")}
    if kept:
        metadata["annotations"] = kept


def _write_whole(folder: Path, resources: Resources) -> None:
    for key, resource in resources.items():
        _dump(folder / _file(key), resource)
    _kustomization(folder, {"resources": sorted(_file(key) for key in resources)})


def _write_overlay(folder: Path, base: Resources, wanted: Resources) -> None:
    added = sorted(set(wanted) - set(base))
    for key in added:
        _dump(folder / _file(key), wanted[key])
    patches = [_removal(base[key]) for key in sorted(set(base) - set(wanted))]
    for key in sorted(set(base) & set(wanted)):
        operations = list(_difference(base[key], wanted[key], ""))
        if operations:
            _dump(folder / "patches" / _file(key), operations)
            patches.append({"path": f"patches/{_file(key)}", "target": {"kind": key[0], "name": key[1]}})
    _kustomization(folder, {"resources": ["../../base", *map(_file, added)], "patches": patches})


def _removal(resource: Resource) -> dict[str, Any]:
    metadata = {key: resource["metadata"][key] for key in ("name", "namespace")}
    gone = {"apiVersion": resource["apiVersion"], "kind": resource["kind"], "metadata": metadata, "$patch": "delete"}
    return {"patch": yaml.safe_dump(gone, sort_keys=False)}


def _difference(old: Any, new: Any, path: str) -> Iterator[dict[str, Any]]:
    """What makes `new` of `old`, as JSON patch operations (RFC 6902)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            place = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                yield {"op": "remove", "path": place}
            elif key not in old:
                yield {"op": "add", "path": place, "value": new[key]}
            else:
                yield from _difference(old[key], new[key], place)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _difference(before, after, f"{path}/{index}")
    elif old != new:
        yield {"op": "replace", "path": path, "value": new}


def _file(key: tuple[str, str]) -> str:
    return f"{key[0].lower()}-{key[1]}.yaml"


def _kustomization(folder: Path, content: dict[str, Any]) -> None:
    header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    _dump(folder / "kustomization.yaml", {**header, **content})


def _dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_NOTE + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120))
