"""JSON lines: flat or nested, and a bad line is named by its number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.imports.readers import JsonLinesReader, Refusal
from pagoda.errors import DataError


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def read(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    reader = JsonLinesReader()
    batches = reader.batches(path, columns or reader.names(path))
    return [row for batch in batches for row in batch.to_pylist()]


def test_values_inside_objects_are_columns_of_their_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"who": {"id": 7, "at": {"city": "Ulm"}}, "what": "x", "tags": ["a", "b"]},
        {"who": {"id": 8}, "what": "y", "late": 1.5},
        {"who": None, "what": "z", "tags": []},
    )
    assert JsonLinesReader().names(path) == ["who.id", "who.at.city", "what", "tags", "late"]
    assert read(path) == [
        {"who.id": 7, "who.at.city": "Ulm", "what": "x", "tags": ["a", "b"], "late": None},
        {"who.id": 8, "who.at.city": None, "what": "y", "tags": None, "late": 1.5},
        {"who.id": None, "who.at.city": None, "what": "z", "tags": [], "late": None},
    ]


values = st.none() | st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.booleans()), min_size=1))
def test_lines_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = write(tmp_path_factory.mktemp("json"), *({"a": a, "b": b, "c": c} for a, b, c in rows))
    assert [tuple(row.values()) for row in read(path)] == rows


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1', r"log.jsonl, line 3: not JSON \("),
        ('{"a": 1}, {"a": 2}', r"line 3: not JSON"),
        ("[1]", r"line 3: \[1\] is no object; JSON lines"),
        ('{"a": "x"}', r"line 3, column 'a': value 'x': not a number, as the first"),
        ('{"a": {"b": 1}}', r"line 3, column 'a': value \{'b': 1\}: neither text"),
        ('{"a": [1, "x"]}', r"line 3, column 'a': value \[1, 'x'\]: neither text"),
        ('{"a": 1\0}', r"line 3: not JSON"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, {"a": 1}, "", line, {"a": 3})
    with pytest.raises(DataError, match=message):
        read(path, ["a"])
    refused: list[Refusal] = []
    batches = list(JsonLinesReader().batches(path, ["a"], refused.append))
    assert [batch["a"].to_pylist() for batch in batches] == [[1], [3]]
    assert [one.line for one in refused] == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty; JSON lines"),
        ('[{"a": 1}]\n', r"line 1: \[\{'a': 1\}\] is no object; .*jq"),
        ('{\n"a": 1\n}\n', "line 1: not JSON"),
        ('{"a.b": 1, "a": {"b": 2}}', "'a.b' is a key with a dot"),
    ],
)
def test_what_is_no_json_lines_is_said(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "log.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        JsonLinesReader().names(path)


def test_whole_numbers_lose_no_digits_among_floats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2, column 'a': value 9007199254740993: too large"):
        read(write(tmp_path, {"a": 1.5}, {"a": 2**53 + 1}))


def test_compressed_files_and_other_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson.gz"
    path.write_bytes(gzip.compress('{"a": "ö"}\r\n\r\n{"a": "ß"}'.encode("utf-16")))
    reader = JsonLinesReader("utf-16")
    assert [row for batch in reader.batches(path, reader.names(path)) for row in batch["a"].to_pylist()] == ["ö", "ß"]
