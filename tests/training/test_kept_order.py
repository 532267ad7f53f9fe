"""`--keep-order` is worth times of day: .807 and .807 on `tie_date.csv` and `tie_time.csv` of issue 18, else .037."""

from __future__ import annotations

import random
from datetime import datetime
from pathlib import Path

from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.window import Window
from pagoda.evaluation.evaluate import evaluate
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

CUT = datetime.fromisoformat("2024-01-22T00:00:00+00:00")
CONFIG = parse_config("bootstrap_epochs: 4\nbatch_size: 64\nmodel: {dim: 16}")


def test_a_log_of_dates_is_learned_in_the_order_of_its_rows(tmp_path: Path) -> None:
    # Users go from an item to the next, and on: who sees no order is right one time in ten.
    drawn, rows = random.Random(0), ["user_id,item_id,timestamp"]
    for user in range(1000):
        first = drawn.randrange(100)
        rows += [f"{user},{(first + step) % 100},2024-01-{1 + user % 28:02d}" for step in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    zoned = Conversion(zone="UTC")
    import_files(tmp_path / "data", Import(CsvReader(), tmp_path / "log.csv", conversion=zoned, keep_order=True))
    dataset = Dataset.open(tmp_path / "data")
    span = dataset.span()
    files = full_update(dataset, Window(start=span.start, end=CUT), None, CONFIG, tmp_path / "out")
    later = Window(start=CUT, end=span.end)
    report = evaluate(OpenVersion(files, dataset), dataset, later, version="1", protocol="each", limit=300, seed=0)
    assert report.methods["live"].groups["all"].metrics["recall@10"].value > 0.6
