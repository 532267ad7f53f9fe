"""CSV: every row comes back as it was written, or the file is refused by name and line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.imports.readers import CsvReader, Refusal, text_files
from pagoda.errors import ConfigError, DataError

Table = list[list[str | None]]


def read(path: Path, reader: CsvReader | None = None, columns: list[str] | None = None) -> Table:
    reader = reader or CsvReader()
    names = reader.names(path)
    batches = list(reader.batches(path, columns or names))
    return [list(row.values()) for batch in batches for row in batch.to_pylist()]


def write(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_read(rows: list[list[str]]) -> Table:
    return [[value or None for value in row] for row in rows]


specials = st.sampled_from(['"', ",", ";", "\t", "|", ":", "::", "\n", "\r", "\r\n", "\0", "a", "é", "7", " "])
cells = st.lists(specials, max_size=6).map("".join)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8)
)
delimiters = st.sampled_from([",", ";", "\t", "|", "::"])
ends = st.sampled_from(["\n", "\r\n", "\r"])


def as_csv(rows: list[list[str]], delimiter: str, end: str, quoting: Any) -> str:
    out = io.StringIO(newline="")
    # The module knows single characters only.
    # Python 3.11's leaves line ends without quotes that are not its own, which nobody can tell from ends.
    quoting = csv.QUOTE_ALL if any(set(value) & {"\r", "\n"} for row in rows for value in row) else quoting
    writer = csv.writer(out, delimiter=delimiter[0], lineterminator=end, quoting=quoting)
    if len(delimiter) == 1:
        writer.writerows(rows)
        return out.getvalue()
    return "".join(delimiter.join('"' + value.replace('"', '""') + '"' for value in row) + end for row in rows)


def read_in_chunks(content: bytes, reader: CsvReader, chunk_bytes: int) -> Table:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "CHUNK_BYTES", chunk_bytes)
        return read(write(Path(folder), content), reader)


@settings(max_examples=250, deadline=None)
@given(tables, delimiters, ends, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.integers(1, 60))
def test_rows_come_back_as_they_were_written(
    rows: list[list[str]], delimiter: str, end: str, quoting: Any, chunk_bytes: int
) -> None:
    header = [f"c{n}" for n in range(len(rows[0]))]
    content = as_csv([header, *rows], delimiter, end, quoting)
    try:
        found = read_in_chunks(content.encode(), CsvReader(delimiter), chunk_bytes)
    except DataError as error:
        assert "\0" in content
        assert "log.csv, line " in str(error)
    else:
        assert found == as_read(rows)


@settings(max_examples=250, deadline=None)
@given(tables, st.data(), st.sampled_from(["\n", "\r\n"]), st.integers(1, 60))
def test_a_damaged_file_is_refused_or_read_as_pythons_strict_reader_does(
    rows: list[list[str]], data: st.DataObject, end: str, chunk_bytes: int
) -> None:
    content = as_csv(rows, ",", end, data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])))
    at = data.draw(st.integers(0, len(content)))
    lost = data.draw(st.integers(0, 2))
    content = content[:at] + data.draw(st.sampled_from(["", '"', ",", "\n", 'a"', "\0", end])) + content[at + lost :]
    columns = tuple(f"c{n}" for n in range(len(rows[0])))
    try:
        found = read_in_chunks(content.encode(), CsvReader(columns=columns), chunk_bytes)
    except DataError as error:
        assert "log.csv" in str(error)
    else:
        expected = csv.reader(io.StringIO(content, newline=""), strict=True)
        assert found == as_read([row for row in expected if row])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            'a,b\n1,"5 inch\n2,x\n3,y\n',
            r"log.csv, line 2: the quote that opens before '5 inch' is not closed; .*--quote",
        ),
        ('a,b\n1,x\n2,"5 inch\n3,"y"\n', r"line 3: after the closing quote comes 'y\"', where a delimiter ','"),
        ("a,b\n1,x\n2,y\0\n3,z\n", r"line 3: a NUL byte.*--encoding"),
        ("a\0,b\n1,x\n", r"line 1: a NUL byte"),
        ("a,b\n1,x\ry\n", r"line 2: a line end of another kind"),
        ('a,b\n1,"x\ny"\n3\n', r"line 4: Expected 2 columns, got 1; is the delimiter ','"),
        ("a,b\n1,x\n\n3,4,5\n", r"line 4: Expected 2 columns, got 3"),
        (b"a,b\n1,x\n2,b\xf6b\n", r"line 3, column 'b': value b'b\\xf6b': not UTF-8; .*--encoding latin-1"),
        (b"a,\xf6\n1,x\n", r"line 1: b'\\xf6': not UTF-8"),
        ("a,b\n1,x\n".encode("utf-16"), r"log.csv: not UTF-8 but, by its first bytes, utf-16: say --encoding utf-16"),
        ("", r"log.csv: empty"),
        ("\n\n", r"log.csv: empty"),
        ('"a,b\n1,x\n', r"line 1: the quote that opens before 'a,b' is not closed"),
        ("1,1193,pv,978300760\n1,661,pv,978302109\n", r"no header line, .*'1, 1193, pv, 978300760'; .*--columns"),
        ("ann,mug,click,2024-05-01T09:00:00Z\n", r"there seems to be no header line"),
    ],
)
def test_what_is_no_row_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, content))


def test_a_quote_that_is_not_closed_is_found_in_a_column_that_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: the quote"):
        read(write(tmp_path, 'a,b\n1,"x\n2,y\n'), columns=["a"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b\n1,5" plate\n2,"say ""x"""\n', [["1", '5" plate'], ["2", 'say "x"']]),
        ("a,b\r1,x\r2,y\r", [["1", "x"], ["2", "y"]]),
        ("a,b\r\n1,x\n\n\n2,y", [["1", "x"], ["2", "y"]]),
        ("\ufeffa,b\n1,\n", [["1", None]]),
        ("a,a,b\n1,2,3\n", [["3"]]),
        ("user,2019\n1,3.5\n", [["1", "3.5"]]),
        ("a,b\n", []),
    ],
)
def test_what_leaves_no_doubt_is_read(tmp_path: Path, content: str, expected: Table) -> None:
    assert read(write(tmp_path, content), columns=["b"] if content.startswith("a,a") else None) == expected


def test_a_nul_byte_in_a_large_file_swallows_nothing(tmp_path: Path) -> None:
    lines = [f"{n},{'t' * 14}" for n in range(17_000)] + ["777,a\0", "778,c"]
    path = write(tmp_path, "item_id,title\n" + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match="line 17,002: a NUL byte"):
        read(path)
    refused: list[Refusal] = []
    batches = list(CsvReader().batches(path, ["item_id"], refused.append))
    assert [one.line for one in refused] == [17_002]
    assert pa.Table.from_batches(batches)["item_id"].to_pylist() == [*map(str, range(17_000)), "778"]


def test_a_line_end_inside_a_value_is_kept_where_chunks_meet(tmp_path: Path) -> None:
    head = "item_id,title\r\n"
    pad = text_files.CHUNK_BYTES - len(head) - len('1,"') - 1
    [[_, title]] = read(write(tmp_path, f'{head}1,"{"z" * pad}\r\nB"\r\n'))
    assert title == "z" * pad + "\r\nB"


def test_refused_rows_are_handed_over_between_the_batches_around_them(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,x\n2\n3,"open\n4,y\xff\n5,"z\nz"\n6,w,w\n7,v\n')
    seen: list[Any] = []
    for batch in CsvReader().batches(path, ["a", "b"], lambda one: seen.append((one.line, one.column))):
        seen.append(batch["a"].to_pylist())
    assert seen == [["1"], (3, None), (4, None), (5, "b"), ["5"], (8, None), ["7"]]


def test_rows_without_end_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "CHUNK_BYTES", 1 << 10)
    monkeypatch.setattr("pagoda.data.imports.readers.csv_rows.LONGEST_ROW_BYTES", 1 << 14)
    path = write(tmp_path, 'a,b\n1,"open\n' + "2,x\n" * 50_000)
    refused: list[Refusal] = []
    rows = sum(batch.num_rows for batch in CsvReader().batches(path, ["a"], refused.append))
    assert (rows, [one.line for one in refused]) == (50_000, [2])
    with pytest.raises(DataError, match="line 2: longer than"):
        read(write(tmp_path, "a,b\n1," + "x" * 100_000))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "größe,b\n1,böb\n".encode(encoding))
    assert read(path, CsvReader(encoding=encoding)) == [["1", "böb"]]


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log.csv, line 2: not in the encoding that --encoding says"):
        read(write(tmp_path, b"a,b\n1,\x81\n"), CsvReader(encoding="cp1252"))
    with pytest.raises(ConfigError, match="'latin-x' is unknown"):
        CsvReader(encoding="latin-x")


def test_columns_of_files_without_a_header_are_given(tmp_path: Path) -> None:
    path = write(tmp_path, "1::x::3\n2::y::4\n")
    assert read(path, CsvReader("::", columns=("user_id", "item_id", "stars")), ["stars", "user_id"]) == [
        ["3", "1"],
        ["4", "2"],
    ]
    with pytest.raises(DataError, match="names 2 columns, but the first line has 3 values"):
        read(path, CsvReader("::", columns=("user_id", "item_id")))
    with pytest.raises(DataError, match="header line already"):
        read(write(tmp_path, "a,b\n1,2\n"), CsvReader(columns=("a", "b")))
    with pytest.raises(ConfigError, match="a name"):
        CsvReader(columns=("a", "a"))


def test_quotes_may_be_characters_or_others(tmp_path: Path) -> None:
    assert read(write(tmp_path, 'a\tb\n1\t"x\n2\ty"\n'), CsvReader("\t", quote=None)) == [["1", '"x'], ["2", 'y"']]
    assert read(write(tmp_path, "a,b\n'1,2',\"x\n"), CsvReader(quote="'")) == [["1,2", '"x']]


@pytest.mark.parametrize("wrong", [{"delimiter": ""}, {"delimiter": '"'}, {"delimiter": "\n"}, {"quote": "ab"}])
def test_a_delimiter_or_quote_that_cannot_be_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"delimiter|quote"):
        CsvReader(**wrong)


@pytest.mark.parametrize("name", ["log.csv.gz", "LOG.CSV.GZ", "log.csv.bz2", "log.csv.zst"])
def test_compressed_files_are_unpacked_and_damaged_ones_named(tmp_path: Path, name: str) -> None:
    text = b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(100_000))
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda raw: pa.compress(raw, "zstd", asbytes=True)}
    packed = packers[name.lower().rpartition(".")[2]](text)
    assert len(read(write(tmp_path, packed, name))) == 100_000
    with pytest.raises(DataError, match=rf"{name}: cannot be"):
        read(write(tmp_path, packed[: len(packed) // 2], name))
