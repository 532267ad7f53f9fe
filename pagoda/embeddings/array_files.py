"""`.npy` files written as a stream, with their checksum, and opened memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import numpy as np
import xxhash
from numpy.typing import DTypeLike, NDArray

from pagoda.errors import IntegrityError

T = TypeVar("T", bound=np.generic)
BLOCK_ROWS = 1 << 16
"""Rows handled at once wherever a table is read or written whole: 16 MiB at dimension 64."""


class ArrayWriter:
    """Writes one `.npy` file block by block, so that no table is ever held twice; `checksum` is known afterwards."""

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self._path, self._dtype, self._shape = path, np.dtype(dtype), shape
        self._digest = xxhash.xxh3_128()
        self._rows = 0

    def __enter__(self) -> ArrayWriter:
        self._file: BinaryIO = self._path.open("xb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(_Tee(self._file, self._digest), header)
        return self

    def write(self, block: NDArray[Any]) -> None:
        """Append `block`, an array of any number of entries along the first axis."""
        content = np.ascontiguousarray(block, dtype=self._dtype)
        if content.shape[1:] != self._shape[1:]:
            raise ValueError(f"{self._path.name}: rows of shape {content.shape[1:]}, expected {self._shape[1:]}")
        _Tee(self._file, self._digest).write(content.reshape(-1).view(np.uint8).data)
        self._rows += len(content)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None and self._rows != self._shape[0]:
            raise ValueError(f"{self._path.name}: {self._rows} rows written, {self._shape[0]} announced")

    @property
    def checksum(self) -> str:
        """Checksum of the whole file, as `pagoda.storage.checksums.checksum_file` gives it."""
        return f"xxh3:{self._digest.hexdigest()}"


class _Tee:
    def __init__(self, file: BinaryIO, digest: xxhash.xxh3_128) -> None:
        self._file, self._digest = file, digest

    def write(self, content: bytes | memoryview) -> int:
        self._digest.update(content)
        return self._file.write(content)


def in_blocks(array: NDArray[T]) -> Iterator[NDArray[T]]:
    """Parts of an array one after the other, so that what is done with them takes no memory of the whole."""
    return (array[start : start + BLOCK_ROWS] for start in range(0, len(array), BLOCK_ROWS))


def save_array(path: Path, values: NDArray[Any], dtype: DTypeLike) -> str:
    """Write `values` to a new file and return the file's checksum."""
    with ArrayWriter(path, dtype, values.shape) as writer:
        for block in in_blocks(values):
            writer.write(block)
    return writer.checksum


def open_array(path: Path, dtype: DTypeLike, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Map a `.npy` file read-only, after checking that it is as long as `dtype` and `shape` demand.

    Args:
        path: The file.
        dtype: Of its numbers.
        shape: Of the array; None where any length will do.

    Raises:
        IntegrityError: The file is missing, truncated, or another array.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise IntegrityError(f"{path}: missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{path}: damaged or truncated ({error})") from error
    expected = tuple(found if asked is None else asked for asked, found in zip(shape, mapped.shape, strict=False))
    if mapped.dtype != np.dtype(dtype) or mapped.shape != expected or len(shape) != mapped.ndim:
        raise IntegrityError(
            f"{path}: holds {mapped.dtype}{list(mapped.shape)}, expected {np.dtype(dtype)}{list(shape)}"
        )
    # A plain array over the same mapping: numpy's memmap subclass costs microseconds a call.
    plain: NDArray[Any] = mapped.view(np.ndarray)
    return plain
