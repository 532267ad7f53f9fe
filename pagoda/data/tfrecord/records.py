"""The framing of TFRecord: length, its checksum, content, its checksum.

As https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details says it: a little-endian uint64, the
masked CRC-32C of these eight bytes, the content, and the content's.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

import google_crc32c

from pagoda.errors import DataError

_LENGTH, _SUM = struct.Struct("<Q"), struct.Struct("<I")
_HEAD = _LENGTH.size + _SUM.size
_MASK = 0xA282EAD8
_GZIP = b"\x1f\x8b"


def framed(content: bytes) -> bytes:
    """A record as it stands in a file."""
    return _head(len(content)) + content + _masked(content)


def write_records(records: Iterable[bytes], file: IO[bytes], *, compressed: bool = False) -> None:
    """Write records to a file; the same ones give the same bytes."""
    if not compressed:
        file.writelines(map(framed, records))
        return
    with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        packed.writelines(map(framed, records))


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file, which may be compressed by gzip; each is verified.

    Raises:
        DataError: The file is no TFRecord, damaged or cut off; the message names the record.
        OSError: It cannot be read.
    """
    number = 1
    try:
        with _opened(path) as file:
            while head := file.read(_HEAD):
                yield _content(head, file, f"{path}, record {number:,}")
                number += 1
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}, record {number:,}: the compressed file is damaged or cut off ({error})") from error


def _content(head: bytes, file: IO[bytes], where: str) -> bytes:
    if len(head) < _HEAD or _masked(head[: _LENGTH.size]) != head[_LENGTH.size :]:
        hint = "; is this TFRecord, plain or compressed by GZIP?" if where.endswith("record 1") else ""
        raise DataError(f"{where}: its length is damaged or cut off{hint}")
    length = _LENGTH.unpack_from(head)[0]
    content = file.read(length + _SUM.size)
    if len(content) < length + _SUM.size:
        raise DataError(f"{where}: the file ends within it; it was cut off")
    if _masked(content[:length]) != content[length:]:
        raise DataError(f"{where}: it is not what its checksum says; restore the file or write it again")
    return content[:length]


def _opened(path: Path) -> IO[bytes]:
    """The file, unpacked if it is compressed: the name need not say it, and a record may be as long as gzip's mark."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    plain = len(head) == _HEAD and _masked(head[: _LENGTH.size]) == head[_LENGTH.size :]
    if head.startswith(_GZIP) and not plain:
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


@lru_cache(4096)
def _head(length: int) -> bytes:
    packed = _LENGTH.pack(length)
    return packed + _masked(packed)


def _masked(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return _SUM.pack(((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
