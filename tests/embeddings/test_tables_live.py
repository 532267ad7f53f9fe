"""Processes that read while another publishes, compacts, rolls back and retires never see two overlays mixed."""

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.errors import NotHeldError

from .test_tables import Source

USERS = 400
GROUPS = 5
PUBLISHES = 50
READERS = 2


def expected(number: int) -> np.ndarray:
    """Row values in generation `g1.<number>`: segment k writes k to every user of group k modulo GROUPS."""
    users = np.arange(USERS)
    latest = number - (number - users) % GROUPS
    return np.where(latest > 0, latest, 0).astype(np.float32)


def read(folder: Path, stop: Event, results: "multiprocessing.Queue[tuple[int, int, str]]") -> None:
    """Answer for the current generation, again and again; report lookups, generations seen and what was wrong."""
    tables, lookups, seen, wrong = TowerTables(folder, 1), 0, set(), ""
    users = np.arange(USERS)
    while not stop.is_set() and not wrong:
        name = tables.current()
        try:
            opened = tables.generation(name)
        except NotHeldError:
            # Only the current one is promised: fine if it was retired since, wrong if it is still current.
            wrong = f"{name} is current and not held" if tables.current() == name else ""
            continue
        for _ in range(20):
            rows, known = opened.users.lookup(users)
            if not known.all() or not (rows == expected(int(name.split(".")[1]))[:, None]).all():
                wrong = f"{name}: rows of another generation"
        lookups += 20
        seen.add(name)
    results.put((lookups, len(seen), wrong))


def test_readers_see_one_generation_or_the_other(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source = Source(tmp_path / "source")
    source.add_full(dict.fromkeys(range(USERS), 0.0))
    writer = TablesWriter(tmp_path / "tables")
    writer.set_current(source.publish(writer, 1, 0))

    context = multiprocessing.get_context("fork")
    stop, results = context.Event(), context.Queue()
    readers = [context.Process(target=read, args=(tmp_path / "tables", stop, results)) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, PUBLISHES + 1):
            source.add_segment(1, {user: float(number) for user in range(number % GROUPS, USERS, GROUPS)})
            name = source.publish(writer, 1, number)
            writer.set_current(name)
            if number % 5 == 0:
                writer.set_current(f"g1.{number - 1}")
                writer.set_current(name)
            writer.compact(name)
            if number > 1:
                writer.retire(f"g1.{number - 2}")
    finally:
        stop.set()
        reports = [results.get(timeout=30) for _ in readers]
        for reader in readers:
            reader.join(30)
    for lookups, seen, wrong in reports:
        assert not wrong
        assert lookups > PUBLISHES
        assert seen > 3
