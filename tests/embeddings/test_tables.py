"""Whatever is installed, published, compacted, rolled back or retired: every generation answers as a dict would."""

import shutil
import tempfile
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from s3fs import S3FileSystem

from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.embeddings.tables.layout import tables_checksum
from pagoda.errors import ConflictError, IntegrityError, NotHeldError, PagodaError, RequestError, UnavailableError

from .worlds import assert_answers, write_full, write_segment

IDS = range(-1, 22)
VALUES = st.dictionaries(st.integers(0, 20), st.floats(0, 100, width=32), max_size=10)


class Source:
    """A registry's folder: full versions, and chains of segments over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bases: dict[int, str] = {}
        self.chains: dict[int, list[str]] = {}
        self.expected: dict[tuple[int, int], dict[int, float]] = {}

    def add_full(self, users: dict[int, float]) -> int:
        version = len(self.bases) + 1
        self.bases[version] = write_full(self.full(version), users, {7: 7.0})
        self.chains[version], self.expected[version, 0] = [], users
        return version

    def add_segment(self, version: int, values: dict[int, float]) -> int:
        chain = self.chains[version]
        parent, number = (chain[0] if chain else None), len(chain) + 1
        aside = self.folder / "aside"
        description = write_segment(
            aside, values, number=number, parent=parent, base=self.bases[version], version=version
        )
        aside.rename(self.segment(description.checksum))
        chain.insert(0, description.checksum)
        self.expected[version, number] = self.expected[version, number - 1] | values
        return number

    def full(self, version: int) -> Path:
        return self.folder / f"full{version}"

    def segment(self, checksum: str) -> Path:
        return self.folder / checksum

    def chain(self, version: int, number: int) -> list[str]:
        return self.chains[version][len(self.chains[version]) - number :]

    def publish(self, writer: TablesWriter, version: int, number: int) -> str:
        writer.install_full(version, str(self.full(version)))
        chain = self.chain(version, number)
        for checksum in reversed(writer.missing(chain)):
            writer.install_segment(str(self.segment(checksum)), checksum)
        name = f"g{version}.{number}"
        writer.put_generation(name, version, chain)
        return name


class Tables(RuleBasedStateMachine):
    """Everything a follower does, in any order, against a dict."""

    versions = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "source").mkdir()
        self.source = Source(self.folder / "source")
        self.writer = TablesWriter(self.folder / "tables")
        self.readers: dict[int, TowerTables] = {}
        self.held: dict[str, tuple[int, int]] = {}
        self.current: str | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(target=versions, users=VALUES)
    def register_full(self, users: dict[int, float]) -> int:
        return self.source.add_full(users)

    @rule(version=versions, values=VALUES)
    def register_incremental(self, version: int, values: dict[int, float]) -> None:
        self.source.add_segment(version, values)

    @rule(version=versions, data=st.data())
    def publish(self, version: int, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.source.chains[version])))
        self.held[self.source.publish(self.writer, version, number)] = (version, number)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def set_current(self, data: st.DataObject) -> None:
        self.current = data.draw(st.sampled_from(sorted(self.held)))
        self.writer.set_current(self.current)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        assert len(self.writer.compact(name)) <= max(1, self.held[name][1])

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        if name == self.current:
            with pytest.raises(ConflictError):
                self.writer.retire(name)
            return
        self.writer.retire(name)
        del self.held[name]

    @rule()
    def restart(self) -> None:
        self.writer = TablesWriter(self.folder / "tables")
        self.writer.sweep()
        self.readers.clear()

    @invariant()
    def every_held_generation_answers_as_the_dict(self) -> None:
        for name, (version, number) in self.held.items():
            reader = self.readers.setdefault(version, TowerTables(self.folder / "tables", version))
            opened = reader.generation(name)
            assert_answers(opened.users, self.source.expected[version, number], IDS)
            assert opened.items.lookup(np.array([7]))[1].all()
        for version in self.source.bases:
            reader = TowerTables(self.folder / "tables", version)
            assert set(reader.held()) == {name for name, (full, _) in self.held.items() if full == version}

    @invariant()
    def what_is_not_held_is_refused(self) -> None:
        for version, reader in self.readers.items():
            for number in range(len(self.source.chains[version]) + 1):
                if f"g{version}.{number}" not in self.held:
                    with pytest.raises(NotHeldError):
                        reader.generation(f"g{version}.{number}")
        if self.current:
            assert TowerTables(self.folder / "tables", 1).current() == self.current


Tables.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestTables = Tables.TestCase


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "source").mkdir()
    made = Source(tmp_path / "source")
    made.add_full({1: 1.0, 2: 2.0})
    for number in range(4):
        made.add_segment(1, {number: 10.0 + number})
    return made


def test_a_day_of_publishes_keeps_few_segments_open(tmp_path: Path, source: Source) -> None:
    writer = TablesWriter(tmp_path / "t")
    for number in range(5, 40):
        source.add_segment(1, {key: float(number) for key in range(number % 7, 200, 7)})
        name = source.publish(writer, 1, number)
        writer.set_current(name)
        writer.compact(name)
        for old in [record.generation for record in writer.records()][:-2]:
            if old != name:
                writer.retire(old)
    assert len(writer.records()[-1].opens) <= 7
    assert len(list((tmp_path / "t" / "segments").iterdir())) <= 20
    opened = TowerTables(tmp_path / "t", 1).generation("g1.39")
    assert_answers(opened.users, source.expected[1, 39], range(-1, 210))


@pytest.mark.parametrize("name", ["users/rows.npy", "users/table.json", "items/ids.npy", "encoder.json"])
def test_a_full_version_that_lacks_a_file_is_refused_whole(tmp_path: Path, source: Source, name: str) -> None:
    (source.full(1) / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        TablesWriter(tmp_path / "t").install_full(1, str(source.full(1)))
    assert not list((tmp_path / "t" / "full").glob("*"))


def test_a_store_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    S3FileSystem.clear_instance_cache()  # fsspec keeps connections, of other tests as well.
    with pytest.raises(UnavailableError, match="s3://nowhere/full1"):
        TablesWriter(tmp_path / "t").install_full(1, "s3://nowhere/full1")
    S3FileSystem.clear_instance_cache()


def test_a_full_version_must_be_the_one_of_the_manifest(tmp_path: Path, source: Source) -> None:
    writer = TablesWriter(tmp_path / "t")
    with pytest.raises(IntegrityError, match="expected xxh3:other"):
        writer.install_full(1, str(source.full(1)), "xxh3:other")
    writer.install_full(1, str(source.full(1)), tables_checksum(source.full(1)))


def test_bad_segments_are_refused_and_serving_goes_on(tmp_path: Path, source: Source) -> None:
    writer = TablesWriter(tmp_path / "t")
    writer.set_current(source.publish(writer, 1, 1))
    newest, second = source.chain(1, 4)[0], source.chain(1, 2)[0]
    foreign = write_segment(tmp_path / "foreign", {1: 5.0}, number=9, parent=None, base="xxh3:elsewhere")
    damaged = source.segment(newest) / "rows.npy"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    refusals: list[tuple[str, type[PagodaError], str, str]] = [
        (str(source.segment(newest)), IntegrityError, newest, r"rows\.npy: damaged"),
        (str(tmp_path / "foreign"), IntegrityError, foreign.checksum, "another base"),
        (str(source.segment(second)), IntegrityError, newest, "expected"),
        (str(tmp_path / "nowhere"), IntegrityError, newest, "lacks"),
    ]
    for url, error, checksum, says in refusals:
        with pytest.raises(error, match=says):
            writer.install_segment(url, checksum)
    with pytest.raises(NotHeldError, match="not installed"):
        writer.put_generation("g1.2", 1, source.chain(1, 2))
    writer.install_segment(str(source.segment(second)), second)
    with pytest.raises(IntegrityError, match="follows"):
        writer.put_generation("g1.2", 1, [second])
    with pytest.raises(ConflictError, match="other segments"):
        writer.put_generation("g1.1", 1, [])
    assert len(list((tmp_path / "t" / "segments").iterdir())) == 2
    reader = TowerTables(tmp_path / "t", 1)
    assert_answers(reader.generation(reader.current()).users, source.expected[1, 1], IDS)


def test_what_nobody_asks_for_is_let_go_of_and_comes_back(tmp_path: Path, source: Source) -> None:
    writer, now = TablesWriter(tmp_path / "tables"), 1000.0
    for number in range(3):
        source.publish(writer, 1, number)
    tables = TowerTables(tmp_path / "tables", 1, idle_seconds=60, monotonic=lambda: now)
    opened = [ref(tables.generation(f"g1.{number}")) for number in range(2)]
    for _ in range(3):
        now += 50
        assert tables.generation("g1.1") is opened[1]()
    assert opened[0]() is None
    assert_answers(tables.generation("g1.0").users, source.expected[1, 0], IDS)


def test_a_retired_generation_stays_readable_for_who_has_it_open(tmp_path: Path, source: Source) -> None:
    writer, reader = TablesWriter(tmp_path / "t"), TowerTables(tmp_path / "t", 1)
    opened = reader.generation(source.publish(writer, 1, 2))
    writer.retire("g1.2")
    assert list((tmp_path / "t" / "full").iterdir()) == list((tmp_path / "t" / "segments").iterdir()) == []
    assert_answers(opened.users, source.expected[1, 2], IDS)
    with pytest.raises(NotHeldError):
        reader.generation("g1.2")


def test_a_reader_answers_for_its_own_full_version_only(tmp_path: Path, source: Source) -> None:
    writer = TablesWriter(tmp_path / "t")
    source.publish(writer, 1, 0)
    with pytest.raises(NotHeldError, match="full version 1"):
        TowerTables(tmp_path / "t", 2).generation("g1.0")
    with pytest.raises(NotHeldError, match="no generation is current"):
        TowerTables(tmp_path / "t", 1).current()


@pytest.mark.parametrize("name", ["../current", "", ".hidden", "a/b"])
def test_a_name_never_reaches_outside_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError):
        TowerTables(tmp_path, 1).generation(name)


def test_sources_may_be_object_stores(tmp_path: Path, source: Source) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    checksum = source.chain(1, 1)[0]
    memory.put(str(source.full(1)), "/bucket/full1", recursive=True)
    memory.put(str(source.segment(checksum)), "/bucket/segment", recursive=True)
    writer = TablesWriter(tmp_path / "t")
    writer.install_full(1, "memory://bucket/full1")
    writer.install_segment("memory://bucket/segment", checksum)
    writer.put_generation("g1.1", 1, [checksum])
    assert_answers(TowerTables(tmp_path / "t", 1).generation("g1.1").users, source.expected[1, 1], IDS)
