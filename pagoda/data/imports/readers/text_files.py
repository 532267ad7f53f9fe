"""Anyone's text files as UTF-8 in chunks: unpacked, decoded, without a byte-order mark."""

from __future__ import annotations

import codecs
import io
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from pagoda.data.parquet import first_line
from pagoda.errors import ConfigError, DataError

CHUNK_BYTES = 2 << 20
LONGEST_ROW_BYTES = 64 << 20
"""What is longer is no row: a quote that is never closed would bring the rest of the file into memory."""
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_T = TypeVar("_T")


def endings(*names: str) -> tuple[str, ...]:
    """Endings of files that may be compressed."""
    return (*names, *(name + packed for name in names for packed in COMPRESSIONS))


def check_encoding(encoding: str) -> None:
    """Raise ConfigError unless Python knows the encoding of a text by this name."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)
    except LookupError as error:
        raise ConfigError(f"encoding {encoding!r} is unknown; utf-8, utf-16, latin-1 and cp1252 are some") from error


def chunks(path: Path, encoding: str) -> Generator[bytes, None, None]:
    """The file's text in UTF-8, in chunks of about 2 MiB.

    Text that is declared to be UTF-8 is passed on as it is; who cuts values out of it finds what is none.

    Raises:
        DataError: The file cannot be read, is damaged, or is not in this encoding.
    """
    plain = codecs.lookup(encoding).name == "utf-8"
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with _opened(path) as file:
        first = True
        while raw := file.read(CHUNK_BYTES):
            if first and plain and raw[:2] in _MARKS:
                raise DataError(f"{path}: not UTF-8 but, by its first bytes, {_MARKS[raw[:2]]}: say --encoding utf-16")
            text = raw if plain else _decoded(decoder, raw, path, lines)
            yield text.removeprefix(codecs.BOM_UTF8) if first else text
            lines += 0 if plain else text.count(b"\n")
            first = False
        if not plain and (text := _decoded(decoder, b"", path, lines)):
            yield text


def _decoded(decoder: codecs.IncrementalDecoder, raw: bytes, path: Path, line: int) -> bytes:
    try:
        return decoder.decode(raw, final=not raw).encode()
    except UnicodeError as error:
        good = raw[: error.start] if isinstance(error, UnicodeDecodeError) else b""
        raise DataError(
            f"{path}, line {line + good.count(10):,}: not in the encoding that --encoding says ({error.args[0]}: "
            f"{error.args[-1]}); name the right one"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[pa.NativeFile]:
    compression = COMPRESSIONS.get(path.suffix.lower())
    try:
        with pa.OSFile(str(path)) as file:
            yield file if compression is None else pa.CompressedInputStream(file, compression)
    except OSError as error:
        # Arrow reports damage in compressed data as OSError without an errno.
        raise DataError(f"{path}: cannot be read ({error.strerror or first_line(error)})") from error
    except pa.ArrowException as error:
        raise DataError(f"{path}: cannot be unpacked ({first_line(error)})") from error


def ahead(items: Iterator[_T]) -> Generator[_T, None, None]:
    """The same items, each made in a thread of its own while the one before is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item
