"""Items' words on a Milvus server, which counts them and ranks by BM25 itself. Never run on a server of Milvus.

It does so from 2.5 on (milvus.io/docs/v2.5.x/full-text-search.md, release_notes.md#v250-beta): a text field with an
analyzer, a sparse vector that a function of the server makes of it, and an index of those. The text that is stored
and the one that is looked for are words already, those of `pagoda.index.words`: so what is found is what collections in
process find, and no dictionary or language of the server's counts.
"""

from __future__ import annotations

import re

from pymilvus import CollectionSchema, DataType, Function, FunctionType
from pymilvus.milvus_client.index import IndexParams

from pagoda.errors import ConfigError
from pagoda.index.words import spaced
from pagoda.item_vectors.texts import TEXT

WORDS = "pagoda_words"
"""The sparse vectors, and their index: how often each word is in an item's text."""
METRIC = "BM25"
"""The only one that Milvus takes for what a BM25 function makes (parseFunctionParamsToIndex in internal/proxy/
task_index.go); the more, the better (PositivelyRelated in pkg/util/metric)."""
_FIRST = (2, 5)
"""The first version that has it."""
_LONGEST_BYTES = 65_535
"""Of a VARCHAR (milvus.io/docs/v2.6.x/string.md: `max_length` is in bytes)."""
_ANALYZER = {"tokenizer": "whitespace"}
"""Parts at spaces and changes nothing (whitespace_builder in internal/core/thirdparty/tantivy/tantivy-binding/src/
analyzer/tokenizers/tokenizer.rs, at 0c261cf; no filter is added to it: analyzer.rs)."""
_RANKING = {"bm25_k1": 1.2, "bm25_b": 0.75}
"""As in process: `pagoda.index.in_process.text_index`."""
_VERSION = re.compile(r"(\d+)\.(\d+)")


def add_words(schema: CollectionSchema) -> None:
    """The fields, and the function between them."""
    schema.add_field(
        TEXT.name, DataType.VARCHAR, max_length=_LONGEST_BYTES, enable_analyzer=True, analyzer_params=_ANALYZER
    )
    schema.add_field(WORDS, DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function(WORDS, FunctionType.BM25, input_field_names=TEXT.name, output_field_names=WORDS))


def add_index(params: IndexParams) -> None:
    """The index of the words."""
    params.add_index(WORDS, index_name=WORDS, index_type="SPARSE_INVERTED_INDEX", metric_type=METRIC, params=_RANKING)


def stored(text: str) -> str:
    """What is stored of an item's text: its words, as many as a field holds."""
    words = spaced(text).encode()
    if len(words) > _LONGEST_BYTES:
        words = words[: words.rfind(b" ", 0, _LONGEST_BYTES + 1)]
    return words.decode()


def require_version(version: str, uri: str) -> None:
    """Refuse a server that is too old; one that does not say a number (a build of its main branch) may try.

    Raises:
        ConfigError: It searches no words.
    """
    if (found := _VERSION.search(version)) and tuple(map(int, found.groups())) < _FIRST:
        raise ConfigError(
            f"index.text: the Milvus at {uri} is {version}, which searches no words; it takes 2.5 or later, "
            "index.backend: in_process, or index.text: false"
        )
