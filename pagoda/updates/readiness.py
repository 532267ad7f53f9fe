"""What must be true of a generation before it may serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path

import httpx

from pagoda.embeddings.tables.layout import TablesLayout
from pagoda.errors import GateError, UnavailableError
from pagoda.generations.holding import Holding, read_holding
from pagoda.generations.hosts import holders, holdings
from pagoda.generations.manifest import Manifest, require_backend
from pagoda.generations.state import ReleaseState
from pagoda.index.base import Collections
from pagoda.index.factory import open_collections
from pagoda.item_changes.log import open_item_log
from pagoda.registry.publish import Check
from pagoda.settings import Settings, lacking, tower_addresses
from pagoda.sockets import client_of

PATIENCE_SECONDS = 120.0
"""How long hosts may take to bring a generation; a full version's tower has to start its workers."""
_POLL_SECONDS, _HOSTS_POLL_SECONDS = 0.05, 0.5
_CONFLICT, _NOT_FOUND, _BUSY = 409, 404, 503


def checks_of(settings: Settings, state: ReleaseState, patience_seconds: float = PATIENCE_SECONDS) -> list[Check]:
    """The checks that this installation allows: its collection when an index is configured, and its tower's host.

    Where the tower runs in the recall process, that process shows by itself that a generation answers, before anybody
    is answered by it; what must be there first is what its host's follower brings.
    """
    checks: list[Check] = []
    if not lacking(settings, "index"):
        checks.append(lambda manifest: require_backend(manifest, settings.index.backend, "and this installation's are"))
        served = {state.generations[id_].collection for release in state.releases for id_ in release.arms.serving}
        changed = next(open_item_log(settings).records(), None) is not None
        checks.append(collection_ready(open_collections(settings), served, changed=changed))
    if url := settings.tower.server_url:
        seconds = settings.tower.timeout_seconds
        checks.append(tower_answers(url, settings.tables_folder, seconds, patience_seconds))
    elif settings.tower.hosts:
        checks.append(hosts_hold(partial(holdings, settings.tower.hosts), patience_seconds))
    else:
        checks.append(tables_hold(settings.tables_folder, patience_seconds))
    return checks


def collection_ready(collections: Collections, served: Container[str] = (), *, changed: bool = False) -> Check:
    """The collection is in memory and has the rows that it was built with.

    Args:
        collections: Of the backend that searches it.
        served: Collections that may have seen item changes; any number of rows but none is right.
        changed: Whether every collection may, because the item log is not empty.
    """

    def check(manifest: Manifest) -> None:
        name, where = manifest.collection, f"generation {manifest.id}: its collection {manifest.collection!r}"
        if not collections.exists(name):
            raise GateError(f"{where} does not exist at {collections.uri}")
        if not collections.loaded(name):
            raise GateError(f"{where} is not loaded at {collections.uri}")
        rows = collections.count(name)
        if rows != manifest.item_count and (not (changed or name in served) or not rows):
            raise GateError(f"{where} has {rows:,} rows, expected {manifest.item_count:,}")

    return check


def tower_answers(url: str, folder: Path, timeout_seconds: float, patience_seconds: float) -> Check:
    """The user tower at `url` answers a request that names the generation, within `patience_seconds`.

    Where its host's tables `folder` is on this machine, a generation that the follower refuses is refused at once.
    """

    def check(manifest: Manifest) -> None:
        _await(manifest, lambda: ask_tower(url, manifest, timeout_seconds), folder, patience_seconds)

    return check


def ask_tower(url: str, manifest: Manifest, timeout_seconds: float) -> str | None:
    """Why the user tower at `url` does not answer for a generation now; None when it does.

    Raises:
        UnavailableError: It fails, and not because it does not hold the generation yet.
    """
    problems = []
    with client_of(url, timeout_seconds) as client:
        for address in tower_addresses(url, manifest.full_version):
            problem = _ask(client, address, manifest)
            if problem is None:
                return None
            problems.append(problem)
    return "; ".join(problems)


def _ask(client: httpx.Client, address: str, manifest: Manifest) -> str | None:
    user: int | str = 0 if manifest.spec.id_type == "int64" else "0"
    body = {"generation": manifest.id, "instances": [{"user_id": user}]}
    try:
        answer = client.post(address, json=body)
    except httpx.HTTPError as error:
        return f"{address}: {error}"
    if answer.is_success:
        return None
    complaint = f"{address} answers {answer.status_code}: {answer.text.strip()}"
    if answer.status_code not in (_CONFLICT, _NOT_FOUND, _BUSY):
        raise UnavailableError(f"generation {manifest.id}: {complaint}")
    return complaint


def tables_hold(folder: Path, patience_seconds: float) -> Check:
    """The tower host's folder holds the generation, within `patience_seconds`."""

    def check(manifest: Manifest) -> None:
        path = TablesLayout(folder).generation(manifest.id)

        def problem() -> str | None:
            return None if path.exists() else f"{path} is missing"

        _await(manifest, problem, folder, patience_seconds)

    return check


def hosts_hold(hosts: Callable[[], Sequence[Holding]], patience_seconds: float) -> Check:
    """Every host that holds a generation holds this one, within `patience_seconds`; where none does yet, every host."""

    def check(manifest: Manifest) -> None:
        deadline = time.monotonic() + patience_seconds
        while lack := _lack(manifest.id, hosts()):
            if time.monotonic() > deadline:
                raise GateError(f"generation {manifest.id} is not held after {patience_seconds:.0f} s: {lack}")
            time.sleep(_HOSTS_POLL_SECONDS)

    return check


def _lack(generation: str, said: Sequence[Holding]) -> str | None:
    # One that holds nothing yet answers nobody: what is wrong with it alone stops no release.
    counted = [holding for holding in said if holding.held] or said
    for holding in counted:
        if generation in holding.refused:
            raise GateError(f"generation {generation} is refused by a tower's host: {holding.refused[generation]}")
    having = len(holders(counted, generation))
    if counted and having == len(counted):
        return None
    return f"{having} of {len(counted)} hosts hold it; do recall's pods run?"


def _await(manifest: Manifest, problem: Callable[[], str | None], folder: Path, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while complaint := problem():
        said = read_holding(folder)
        if said and manifest.id in said.refused:
            raise GateError(f"generation {manifest.id} is refused by the tower's host: {said.refused[manifest.id]}")
        if time.monotonic() > deadline:
            raise GateError(
                f"generation {manifest.id} is not held by the tower's host after {patience_seconds:.0f} s "
                f"({complaint}); does the follower run?"
            )
        time.sleep(_POLL_SECONDS)
