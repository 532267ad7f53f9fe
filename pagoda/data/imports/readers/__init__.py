"""Anyone's files as a stream of raw batches, a format a module."""

from pagoda.data.imports.readers.base import Reader, list_files, passed_over
from pagoda.data.imports.readers.csv_reader import CsvReader
from pagoda.data.imports.readers.json_lines import JsonLinesReader
from pagoda.data.imports.readers.parquet_reader import ParquetReader
from pagoda.data.imports.readers.refusals import Refusal, Refuse, raise_refusal

__all__ = [
    "CsvReader",
    "JsonLinesReader",
    "ParquetReader",
    "Reader",
    "Refusal",
    "Refuse",
    "list_files",
    "passed_over",
    "raise_refusal",
]
