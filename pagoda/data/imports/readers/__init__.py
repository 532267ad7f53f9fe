"""Anyone's files as a stream of raw batches, a format a module."""

from pagoda.data.imports.readers.base import Reader, Refusal, Refuse, list_files, raise_refusal
from pagoda.data.imports.readers.csv_reader import CsvReader
from pagoda.data.imports.readers.parquet_reader import ParquetReader

__all__ = ["CsvReader", "ParquetReader", "Reader", "Refusal", "Refuse", "list_files", "raise_refusal"]
