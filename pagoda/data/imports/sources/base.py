"""What reads one kind of source, be it files, queries or objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal


class SourceReader(Protocol):
    """Reads what tables are made of. A source has parts, whose text is their name in messages."""

    def parts(self, source: Any) -> Sequence[Any]:
        """The parts of what a table is made of, in a lasting order; at least one. May be asked twice.

        Raises:
            DataError: There is none.
        """

    def passed_over(self, source: Any) -> Sequence[Any]:
        """What lies beside the parts and is not read."""

    def names(self, part: Any) -> list[str]:
        """Column names of a part."""

    def types(self, part: Any, columns: list[str]) -> pa.Schema | None:
        """What a part says of the types of some columns; None where it does not say any, and all is text."""

    def batches(self, part: Any, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns of a part, once where it says its types.

        Rows that cannot be read go to `refuse`, each between the batch of the rows before it and that of the rows
        after it; so the part's rows are those of the batches and one for each refusal, in this order.
        """
