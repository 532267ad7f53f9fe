"""The writing side of the tables folder. Every method can be killed at any step and called again to finish."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pagoda.embeddings.compaction import merge, plan
from pagoda.embeddings.segment import FILES as SEGMENT_FILES
from pagoda.embeddings.segment import Segment, SegmentDescription, read_description
from pagoda.embeddings.segment_chain import check_base, check_chain
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables.layout import (
    FULL_FILES,
    SIDES,
    CurrentRecord,
    GenerationRecord,
    TablesLayout,
    read_record,
    tables_checksum,
)
from pagoda.embeddings.tables.substitution import substitute
from pagoda.embeddings.tables.transfer import fetch
from pagoda.errors import ConflictError, IntegrityError, NotHeldError
from pagoda.storage.atomic import build_folder, fsync_folder, put_if_absent, write_atomic

_GONE = ".gone."


class TablesWriter:
    """Brings tables to a host, publishes generations there and takes them away. Writers exclude one another, but for
    `install_full`, beside which all goes on."""

    def __init__(self, folder: Path) -> None:
        self._layout = TablesLayout(folder)
        for path in (self._layout.generations, self._layout.retired, self._layout.segments):
            path.mkdir(parents=True, exist_ok=True)

    def install_full(self, version: int, source: str, checksum: str | None = None) -> None:
        """Copy and verify a full version's tables; nothing happens if they are here.

        Args:
            version: The full version.
            source: Path or fsspec URL of the folder with `users/`, `items/` and `encoder.json`.
            checksum: What `tables_checksum` must give, if known.

        Raises:
            IntegrityError: The source is damaged or something else; nothing remains of it.
            UnavailableError: It cannot be read.
        """
        # Nobody waits for as long as that takes: of two who do it at once, one was first, with the same.
        if self.has_full(version):
            return
        with suppress(ConflictError), build_folder(self._layout.full(version)) as aside:
            fetch(source, FULL_FILES, aside)
            for side in SIDES:
                IdTable.open(aside / side, verify=True)
            if checksum and (actual := tables_checksum(aside)) != checksum:
                raise IntegrityError(f"{source}: its tables are {actual}, expected {checksum}")

    def has_full(self, version: int) -> bool:
        """Whether a full version's tables are here."""
        return self._layout.full(version).exists()

    def install_segment(self, source: str, checksum: str) -> SegmentDescription:
        """Copy and verify a segment; nothing happens if it is here.

        Args:
            source: Path or fsspec URL of its folder.
            checksum: Its checksum.

        Raises:
            IntegrityError: It is damaged, half-copied, for another base, or not the one named; nothing remains of it.
            NotHeldError: The full version below it is not here.
            UnavailableError: It cannot be read.
        """
        folder = self._layout.segment(checksum)
        with self._locked():
            if folder.exists():
                return read_description(folder)
            with build_folder(folder) as aside:
                fetch(source, SEGMENT_FILES, aside)
                description = Segment.open(aside, verify=True).description
                if description.checksum != checksum:
                    raise IntegrityError(f"{source}: is segment {description.checksum}, expected {checksum}")
                base = self._base(description.base_version)
                check_base(description, description.base_version, base.checksum, base.dim)
        return description

    def missing(self, chain: Sequence[str]) -> tuple[str, ...]:
        """Checksums of the segments in a manifest's `chain`, newest first, that still have to be installed."""
        installed = self._installed()
        return tuple(name for name in substitute(chain, installed) if name not in installed)

    def put_generation(self, generation: str, full_version: int, chain: Sequence[str]) -> GenerationRecord:
        """Make a generation servable, in one atomic step; nothing happens if it is.

        Args:
            generation: Its ID.
            full_version: Whose base it has.
            chain: Checksums of its segments, newest first.

        Raises:
            NotHeldError: The full version or a segment is not installed.
            IntegrityError: A segment is for another base or does not follow the one below it.
            ConflictError: The generation is here with something else.
        """
        with self._locked():
            base, installed = self._base(full_version), self._installed()
            opens = substitute(chain, installed)
            record = GenerationRecord(
                generation=generation,
                full_version=full_version,
                base_checksum=base.checksum,
                chain=tuple(chain),
                opens=opens,
            )
            if self._is_put(record):
                return read_record(self._layout.generation(generation))
            if absent := [name for name in opens if name not in installed]:
                raise NotHeldError(f"generation {generation} needs segments that are not installed: {absent}")
            check_chain(full_version, base.checksum, base.dim, [installed[name] for name in opens])
            put_if_absent(self._layout.generation(generation), record.model_dump_json(indent=1).encode())
        return record

    def set_current(self, generation: str) -> None:
        """Let a held generation answer requests that name none; going back to an older one is the same call.

        Raises:
            NotHeldError: It has no record here.
        """
        with self._locked():
            read_record(self._layout.generation(generation))
            write_atomic(self._layout.current, CurrentRecord(generation=generation).model_dump_json().encode())

    def retire(self, generation: str) -> None:
        """Take a generation away, then the files that no other one needs; nothing happens if it is gone.

        Processes that have it open keep reading it: files are unlinked, never changed.

        Raises:
            ConflictError: It is the current one.
        """
        with self._locked():
            if self._current() == generation:
                raise ConflictError(f"generation {generation} is current; make another one current before retiring it")
            if self._layout.generation(generation).exists():
                # The renamed record remembers which files are left to remove, should this process be killed.
                self._layout.generation(generation).rename(self._layout.tombstone(generation))
                fsync_folder(self._layout.retired)
                fsync_folder(self._layout.generations)
            self._remove_retired()

    def discard(self, folder: Path) -> tuple[str, ...]:
        """Take a damaged part away, and before it the generations that open it; the next install brings it again.

        Returns:
            The generations.
        """
        with self._locked():
            gone = [record.generation for record in self._layout.records() if folder in self._opened(record)]
            for generation in gone:
                self._layout.generation(generation).unlink()
            fsync_folder(self._layout.generations)
            _remove(folder)
        return tuple(gone)

    def discard_unreadable(self) -> tuple[str, ...]:
        """Take away records that are damaged; returns the names of their generations."""
        gone = []
        with self._locked():
            for path in sorted(self._layout.generations.glob("*.json")):
                try:
                    read_record(path)
                except IntegrityError:
                    path.unlink()
                    gone.append(path.stem)
        return tuple(gone)

    def compact(self, generation: str) -> tuple[str, ...]:
        """Merge segments of a generation, by `compaction.plan`, for the generations that come after it.

        What is open stays as it is; the next `put_generation` takes the merged segments where it finds them.
        Safe beside the other methods but `sweep`, in a thread, say: the merging itself excludes nobody.

        Returns:
            Checksums, newest first, of what would now be opened for the generation's chain.
        """
        with self._locked():
            chain = read_record(self._layout.generation(generation)).chain
            names = substitute(chain, self._installed())
            # Once mapped they can be read, even if they are retired meanwhile. Damage would be merged for good.
            segments = [Segment.open(self._layout.segment(name), verify=True) for name in names]
        with tempfile.TemporaryDirectory(prefix=".merging.", dir=self._layout.segments) as aside:
            while step := plan([len(segment) for segment in segments]):
                folder = Path(aside) / uuid.uuid4().hex
                merge(segments[step], folder)
                segments[step] = [Segment.open(folder, verify=True)]
            self._adopt([segment for segment in segments if segment.folder.parent == Path(aside)])
        return tuple(segment.checksum for segment in segments)

    def sweep(self) -> None:
        """Remove what killed writers left and segments and full versions that no generation needs.

        For the start of a writer: what is installed but not yet published would go too.
        """
        with self._locked():
            self._remove_retired()
            segments, versions = self._needed()
            keep = {self._layout.segment(name) for name in segments} | {self._layout.full(v) for v in versions}
            for parent in (self._layout.segments, self._layout.full_versions):
                for path in parent.iterdir() if parent.exists() else ():
                    if path not in keep:
                        _remove(path)
            for pattern in ("generations/.*", f".{self._layout.current.name}.*"):
                for aside in self._layout.folder.glob(pattern):
                    aside.unlink()

    def records(self) -> list[GenerationRecord]:
        """The records of all generations held."""
        return self._layout.records()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._layout.lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _base(self, version: int) -> IdTable:
        if not self._layout.full(version).exists():
            raise NotHeldError(f"full version {version} is not installed in {self._layout.folder}")
        return IdTable.open(self._layout.full(version) / "users")

    def _installed(self) -> dict[str, SegmentDescription]:
        folders = (path for path in self._layout.segments.iterdir() if not path.name.startswith("."))
        return {description.checksum: description for description in map(read_description, folders)}

    def _is_put(self, record: GenerationRecord) -> bool:
        try:
            there = read_record(self._layout.generation(record.generation))
        except NotHeldError:
            return False
        # What is opened may differ by compaction; what is meant may not.
        if there.model_copy(update={"opens": record.opens}) != record:
            raise ConflictError(f"generation {record.generation} is held with another base or other segments")
        return True

    def _current(self) -> str | None:
        if not self._layout.current.exists():
            return None
        return CurrentRecord.model_validate_json(self._layout.current.read_bytes()).generation

    def _adopt(self, merged: Sequence[Segment]) -> None:
        with self._locked():
            for segment in merged:
                if not self._layout.segment(segment.checksum).exists():
                    segment.folder.rename(self._layout.segment(segment.checksum))
            fsync_folder(self._layout.segments)

    def _opened(self, record: GenerationRecord) -> set[Path]:
        return {self._layout.full(record.full_version), *map(self._layout.segment, record.opens)}

    def _needed(self) -> tuple[set[str], set[int]]:
        records = self._layout.records()
        return {name for record in records for name in record.opens}, {record.full_version for record in records}

    def _remove_retired(self) -> None:
        segments, versions = self._needed()
        for leftover in self._layout.folder.glob(f"*/{_GONE}*"):
            shutil.rmtree(leftover)
        for tombstone in sorted(self._layout.retired.glob("*.json")):
            gone = read_record(tombstone)
            for name in {*gone.opens, *gone.chain} - segments:
                _remove(self._layout.segment(name))
            if gone.full_version not in versions:
                _remove(self._layout.full(gone.full_version))
            tombstone.unlink()


def _remove(folder: Path) -> None:
    """Remove a folder such that no half of it is ever seen under its name."""
    if folder.exists():
        gone = folder.with_name(f"{_GONE}{uuid.uuid4().hex}")
        folder.rename(gone)
        shutil.rmtree(gone)
