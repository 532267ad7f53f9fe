"""The sink: turns the event stream into Parquet files of the dataset, each event into exactly one row.

`python -m serving.workers.sink` runs it.

Time of arrival is cut into slots. What arrived in a slot is settled once the stream can give no more IDs of it, which
the script below makes sure of; then the slot's files follow from the stream alone: their names, and every byte. They
are written if absent and flushed to disk, and only then the slot leaves the stream. So a sink that is killed at any
moment, restarted, or run twice at once writes the same files again, or finds them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from pagoda.append_log.store import open_store
from pagoda.data.increments import Arrivals
from pagoda.data.layout import FEATURES_FILE
from pagoda.data.spec import FeatureSpec, parse_spec
from pagoda.erasure.rows import DatasetRows, names_one_of
from pagoda.errors import ConfigError, ConflictError, UnavailableError
from pagoda.settings import Settings, load_settings
from serving import logs
from serving.error_reasons import reason
from serving.users.append_only_file import wait_written
from serving.users.keys import FIELD, STREAM, UNFILED
from serving.users.tombstones import Tombstones
from serving.workers.event_compaction import Compaction
from serving.workers.event_files import by_day
from serving.workers.loop import HomeOption, MetricsPort, follow_until_told
from serving.workers.metrics import EVENTS, WAITING

if TYPE_CHECKING:
    from serving.workers.event_copies import TfrecordCopies

POLL_SECONDS = 1.0
SLOT_MS = 30_000
"""Length of a slot. A part of the files' contract: it divides an hour, and never changes."""
_PAGE = 10_000
_TOLD_SECONDS = 60
# A full Redis refuses XSETID, and so the very step that would make room. But it refuses only a script's first write
# (`scriptVerifyOOM` in src/script.c of Valkey, at 55bbbe0; tried with Redis 6.2): here a trim, which takes no memory.
_CLOSE = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local cut = ms - ms % tonumber(ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and tonumber(string.match(info[i + 1], '^%d+')) < cut then
      redis.call('XTRIM', KEYS[1], 'MINID', '0')
      redis.call('XSETID', KEYS[1], string.format('%.0f-0', cut))
    end
  end
end
return cut
"""
_log = logging.getLogger(__name__)


class Sink:
    """Files events of one stream into one dataset."""

    def __init__(
        self,
        redis_url: str,
        dataset: str,
        *,
        tfrecord: bool = False,
        find: Callable[[], str] | None = None,
        slot_ms: int = SLOT_MS,
    ) -> None:
        """Make a sink; nothing is read or written yet.

        Args:
            redis_url: Where the stream is.
            dataset: Folder or URL; the sink waits until there is one.
            tfrecord: Whether events are also filed as TFRecord, for others.
            find: Says, while there is none, which dataset it is by now: the first full update may name it.
            slot_ms: Length of a slot; for tests.
        """
        self._redis = Redis.from_url(redis_url, socket_timeout=30, socket_connect_timeout=5)
        self._url, self._slot, self._find, self._tfrecord = redis_url, slot_ms, find, tfrecord
        self._close: Callable[..., int] = self._redis.register_script(_CLOSE)
        self._tombstones = Tombstones(self._redis)
        self._turn_to(dataset)
        self._told: bool | None = None
        """What the door was told last: whether there is no dataset."""

    def _turn_to(self, dataset: str) -> None:
        self._dataset, self._store = dataset, open_store(dataset)
        self._rows = DatasetRows(dataset, self._tombstones.lock)
        self._compaction = Compaction(dataset, self._erase, _copies(dataset) if self._tfrecord else None)

    def step(self) -> int:
        """File every slot that is over; returns the number of events.

        Raises:
            UnavailableError: Redis or the dataset's store does not answer, or events wait and there is no dataset;
                nothing is lost.
            ConfigError: The dataset's features.yaml is wrong.
        """
        spec = self._spec()
        if spec is None:
            return self._wait()
        self._tell(unfiled=False)
        filed = 0
        try:
            cut = int(self._close([STREAM], [self._slot]))
            while (slot := self._oldest()) and slot.end_ms <= cut:
                filed += self._file(slot, spec)
            WAITING.set(int(self._redis.xlen(STREAM)))
        except (RedisError, OSError) as error:
            raise UnavailableError(f"event stream at {self._url}: {reason(error)}") from error
        self._compaction.step(cut, spec)
        EVENTS.inc(filed)
        return filed

    def _spec(self) -> FeatureSpec | None:
        found = self._store.read([FEATURES_FILE])
        if not found and self._find and (dataset := self._find()) != self._dataset:
            self._turn_to(dataset)
            found = self._store.read([FEATURES_FILE])
        return parse_spec(found[0], f"{self._dataset}/{FEATURES_FILE}") if found else None

    def _wait(self) -> int:
        """There is no dataset: say so, to the door and, where events wait already, to whoever looks after the sink."""
        try:
            waiting = int(self._redis.xlen(STREAM))
        except (RedisError, OSError) as error:
            raise UnavailableError(f"event stream at {self._url}: {reason(error)}") from error
        WAITING.set(waiting)
        missing = (
            f"{self._dataset} is no dataset; import one there, or set events.dataset to the one that updates learn"
        )
        if self._told is not True:
            _log.warning("%s; until then no events are taken", missing)
        self._tell(unfiled=True)
        if waiting:
            raise UnavailableError(f"{waiting:,} events wait, and no more are taken: {missing}")
        return 0

    def _tell(self, *, unfiled: bool) -> None:
        """Tell whoever takes events: that there is none again and again, so that neither a Redis that forgot it nor a
        sink that is gone leaves what is not so."""
        if unfiled is self._told is False:
            return
        try:
            if unfiled:
                self._redis.set(UNFILED, self._dataset, ex=_TOLD_SECONDS)
            else:
                self._redis.delete(UNFILED)
        except NoPermissionError:  # Of users of Redis that an older release made; they file all the same.
            _log.warning("Redis does not let the sink write %r; see docs/security.md for its user's keys", UNFILED)
        except (RedisError, OSError) as error:
            raise UnavailableError(f"event stream at {self._url}: {reason(error)}") from error
        self._told = unfiled

    def _oldest(self) -> Arrivals | None:
        """The slot of the first event in the stream."""
        first = self._range("-", "+", 1)
        if not first:
            return None
        ms = int(first[0][0].split(b"-")[0])
        start = ms - ms % self._slot
        return Arrivals(start, start + self._slot)

    def _file(self, slot: Arrivals, spec: FeatureSpec) -> int:
        # A Redis that forgot some of them would not know them when they are sent again, and they would be filed twice.
        wait_written(self._redis)
        entries = self._entries(slot)
        files, refused = by_day(entries, spec)
        contents = {f"interactions/{partition}/{slot.name}": content for partition, content in files.items()}
        if refused:
            contents[f"refused/{slot.name.removesuffix('.parquet')}.jsonl"] = b"\n".join(refused)
        for name, content in contents.items():
            self._put(name, content)
        self._erase(contents)
        # All of it is on disk, so the stream may forget it.
        self._redis.xtrim(STREAM, minid=f"{slot.end_ms}-0", approximate=False)
        _log.info("%s: %d events, %d refused", slot.name, len(entries), len(refused))
        return len(entries)

    def _erase(self, names: Collection[str]) -> None:
        """Erase from files that are there whoever is being forgotten by now: whoever begins later finds the files."""
        self._rows.erase(self._tombstones.standing(), names)

    def _entries(self, slot: Arrivals) -> list[bytes]:
        entries: list[bytes] = []
        gone = self._tombstones.standing()
        after = f"{slot.start_ms}-0"
        # Another sink may trim the slot meanwhile; then its files are there, and the part read here changes nothing.
        while page := self._range(after, str(slot.end_ms - 1), _PAGE):
            entries += [fields[FIELD] for _, fields in page if not gone or not names_one_of(fields[FIELD], gone)]
            after = f"({page[-1][0].decode()}"
        return entries

    def _range(self, first: str, last: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: Any = self._redis.xrange(STREAM, min=first, max=last, count=count)
        return list(found)

    def _put(self, name: str, content: bytes) -> None:
        try:
            self._store.put(name, content)
        except ConflictError:
            # The same slot, filed before a kill or by another sink. Or S3 says that somebody is about to create it, who
            # may yet fail: the stream keeps it until the file is there.
            if not self._store.read([name]):
                raise UnavailableError(f"{self._dataset}/{name}: is being written by another sink") from None


def _copies(dataset: str) -> TfrecordCopies:
    # Not at the top: few have them, and they bring protobuf.
    from serving.workers.event_copies import TfrecordCopies

    return TfrecordCopies(dataset)


NICE = 10
"""Nobody waits for files as they do for answers, which may share the machine: a flood of events must not slow them."""


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the stream.")] = POLL_SECONDS,
    metrics_port: MetricsPort = 0,
) -> None:
    """Turn the event stream into files of the dataset."""
    settings = load_settings(home)
    logs.start(settings.logs)
    sink = open_sink(settings)
    os.nice(NICE)
    follow_until_told(sink, poll, "sink", metrics_port)


def open_sink(settings: Settings) -> Sink:
    """The sink of an installation.

    Raises:
        ConfigError: There is no Redis.
    """
    if not settings.redis.url:
        raise ConfigError(f"sink: set redis.url (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    return Sink(
        settings.redis.url,
        settings.events_dataset,
        tfrecord=settings.events.format == "tfrecord",
        find=lambda: load_settings(settings.home).events_dataset,
    )


if __name__ == "__main__":
    from serving.process import run

    run(main)
