"""The words of items that are numbered from 0: written once and mapped, or held in memory where they are few.

Items are ranked by BM25 (Robertson and Zaragoza, 2009), as tantivy computes it: k1 1.2, b 0.75 (query/bm25.rs).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import tantivy
from numpy.typing import NDArray
from tantivy import Occur, Query

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.index.in_process.passing import Rows
from pagoda.index.words import ANALYZER, spread, words_of

_WORDS, _ROW, _ANALYSIS = "words", "row", "pagoda"
_HEAP_BYTES = 64 << 20
"""Of a writer; what is more goes to disk meanwhile."""
_FEW_HEAP_BYTES = 15 << 20
"""The least that tantivy takes."""
_LOCK = ".lock"
Scores = NDArray[np.float32]


def _schema() -> tantivy.Schema:
    # How often a word is where, but not in which place: no phrases are looked for.
    builder = tantivy.SchemaBuilder().add_text_field(_WORDS, tokenizer_name=_ANALYSIS, index_option="freq")
    return builder.add_integer_field(_ROW, indexed=True, fast=True).build()


_SCHEMA = _schema()


def write_text(folder: Path, texts: Iterable[pa.Array]) -> None:
    """Write the index of texts, string [n] in blocks, into a folder that is not there yet."""
    folder.mkdir()
    _fill(tantivy.Index(_SCHEMA, str(folder)), texts, _HEAP_BYTES)


def read_text(folder: Path) -> TextIndex:
    """Map what `write_text` wrote.

    Raises:
        IntegrityError: It is none that this release's tantivy reads.
    """
    # Who opens an index takes a lock, a file beside the others; recall may not write where its follower does.
    with TemporaryDirectory(prefix="pagoda-words-") as links:
        for path in files_of(folder):
            Path(links, path.name).symlink_to(path.absolute())
        try:
            return TextIndex(tantivy.Index.open(links))  # All of it is mapped by now.
        except (ValueError, OSError) as error:
            raise IntegrityError(f"{folder} is none that this release's tantivy reads: {error}") from error


def text_in_memory(texts: pa.Array) -> TextIndex:
    """The same without files, of a few texts, string [n]."""
    index = tantivy.Index(_SCHEMA)
    _fill(index, [texts], _FEW_HEAP_BYTES)
    index.reload()
    return TextIndex(index)


def files_of(folder: Path) -> list[Path]:
    """The files that hold the index."""
    return [path for path in folder.iterdir() if path.suffix != _LOCK]


def _fill(index: tantivy.Index, texts: Iterable[pa.Array], heap_bytes: int) -> None:
    index.register_tokenizer(_ANALYSIS, ANALYZER)
    # One thread: the same texts make the same index, in their order.
    writer = index.writer(heap_bytes, 1)
    row = 0
    for block in texts:
        for text in block.to_pylist():
            writer.add_document(tantivy.Document(words=spread(text), row=row))
            row += 1
    writer.commit()
    writer.wait_merging_threads()


class TextIndex:
    """Finds texts by words. Safe to share between threads; others run while it computes."""

    def __init__(self, index: tantivy.Index) -> None:
        self._searcher = index.searcher()

    def __len__(self) -> int:
        """How many texts."""
        return self._searcher.num_docs

    def weights(self, text: str) -> dict[str, float]:
        """The words of a text that is looked for, and how much each counts: more, the fewer texts here have it."""
        return {word: self._weight(word) for word in words_of(text)}

    def search(self, weights: Mapping[str, float], k: int, among: Rows | None = None) -> tuple[Scores, Rows]:
        """Find the best k of the texts that have one of the words.

        Args:
            weights: Of this index, or of another one by whose scores these shall be compared.
            k: Wanted.
            among: The rows that may be found; they are gone through one by one. None: all.

        Returns:
            Scores and rows, each [m]; fewer than k where no more have one of the words.

        Raises:
            UnavailableError: The index cannot be read now.
        """
        if not weights or (among is not None and not len(among)):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        query = Query.boolean_query([(Occur.Should, self._term(word, weight)) for word, weight in weights.items()])
        if among is not None:
            rows = Query.const_score_query(Query.term_set_query(_SCHEMA, _ROW, among.tolist()), 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, rows)])
        try:
            hits = self._searcher.search(query, k, count=False).hits
            found = self._searcher.fast_field_values(_ROW, [place for _, place in hits])
        except ValueError as error:  # All that tantivy raises.
            raise UnavailableError(f"its words: {error}") from error
        return np.array([score for score, _ in hits], np.float32), np.array(found, np.int64)

    def _term(self, word: str, weight: float) -> Query:
        own = self._weight(word)
        term = Query.term_query(_SCHEMA, _WORDS, word, "freq")
        return term if weight == own else Query.boost_query(term, weight / own)

    def _weight(self, word: str) -> float:
        """Inverse document frequency, as tantivy has it (query/bm25.rs, `idf`)."""
        having = self._searcher.doc_freq(_WORDS, word)
        return math.log1p((len(self) - having + 0.5) / (having + 0.5))
