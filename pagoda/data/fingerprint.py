"""A checksum over rows that does not depend on how they are cut into batches or files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash


class Fingerprint:
    """One digest a column, so that where a batch ends leaves no trace."""

    def __init__(self) -> None:
        self._digests: dict[str, xxhash.xxh3_128] = {}

    def update(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows; their order counts."""
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            self._feed(f"{table}.{name}", array)

    def update_bytes(self, name: str, content: bytes) -> None:
        """Add plain bytes."""
        self._digests.setdefault(name, xxhash.xxh3_128()).update(content)

    def hexdigest(self) -> str:
        """The checksum as `xxh3:<32 hex digits>`."""
        total = xxhash.xxh3_128()
        for name in sorted(self._digests):
            total.update(f"{name}\0{self._digests[name].hexdigest()}\n".encode())
        return f"xxh3:{total.hexdigest()}"

    def _feed(self, name: str, array: pa.Array) -> None:
        """Null flags, then lengths and content of strings and lists, or the numbers themselves."""
        self.update_bytes(
            f"{name}.valid", np.ascontiguousarray(array.is_valid().to_numpy(zero_copy_only=False)).tobytes()
        )
        kind = array.type
        if pa.types.is_string(kind):
            self.update_bytes(f"{name}.length", pc.binary_length(array).fill_null(0).to_numpy().tobytes())
            self.update_bytes(f"{name}.text", "".join(pc.drop_null(array).to_pylist()).encode())
        elif pa.types.is_list(kind):
            self.update_bytes(f"{name}.length", pc.list_value_length(array).fill_null(0).to_numpy().tobytes())
            self._feed(f"{name}.values", array.flatten())
        else:
            number = array.cast(pa.int64()) if pa.types.is_timestamp(kind) else array
            self.update_bytes(f"{name}.number", number.fill_null(0).to_numpy().tobytes())
