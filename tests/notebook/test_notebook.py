"""A dataset, a version and its recommendations in one process: what a notebook sees."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import pagoda
from pagoda.data.ids import hash_ids
from pagoda.data.window import to_us
from pagoda.errors import ConfigError, DataError, RequestError
from pagoda.model.table_inputs import histories_at

SHOP = Path(__file__).parents[2] / "examples" / "shop"
COLUMNS = {"user_id": "customer", "item_id": "sku", "event": "action", "timestamp": "at"}
QUICK = {"bootstrap_epochs": 1, "model": {"dim": 8}}
LAST_WEEK = "2024-06-03T00:00:00+00:00"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> pagoda.Dataset:
    """The shop of the examples."""
    files = {"users": SHOP / "customers.csv", "items": SHOP / "items.csv", "features": str(SHOP / "features.yaml")}
    folder = tmp_path_factory.mktemp("shop") / "dataset"
    return pagoda.Dataset.from_files(folder, SHOP / "log.csv", columns=COLUMNS, **files)


@pytest.fixture(scope="module")
def version(shop: pagoda.Dataset) -> pagoda.Version:
    """All but its last week, learned."""
    return pagoda.train(shop, until=LAST_WEEK)


def test_a_version_is_judged_on_what_it_has_not_learned(version: pagoda.Version) -> None:
    evaluation = version.evaluate()
    assert evaluation.report.lift["recall@10"].low > 1, "tastes in the shop are there to be learned"
    out = StringIO()
    Console(file=out, width=120).print(evaluation)
    assert "popularity" in out.getvalue() and "text/html" in evaluation._repr_mimebundle_([], [])


def test_recommendations_come_with_titles_and_without_what_was_had(
    shop: pagoda.Dataset, version: pagoda.Version
) -> None:
    table = version.recommend(["c017", "c200", "nobody"], k=4)
    assert table.column_names == ["user_id", "rank", "item_id", "title", "score"]
    assert table["user_id"].to_pylist() == ["c017"] * 4 + ["c200"] * 4 + ["nobody"] * 4
    assert table["rank"].to_pylist() == [1, 2, 3, 4] * 3
    scores = table["score"].to_numpy().reshape(3, 4)
    assert (np.diff(scores) <= 0).all()
    titles = dict(zip(shop.items()["item_key"].to_pylist(), shop.items()["title"].to_pylist(), strict=True))
    assert table["title"].to_pylist() == [titles[item] for item in table["item_id"].to_pylist()]
    had = {
        (batch["user_key"][row].as_py(), batch["item_key"][row].as_py())
        for batch in shop.batches(events=["click", "purchase"], columns=["user_key", "item_key"])
        for row in range(batch.num_rows)
    }
    shown = set(zip(*(table[name].to_pylist() for name in ("user_id", "item_id")), strict=True))
    assert not shown & had


def test_all_items_come_by_their_cosines_where_all_are_asked_for(shop: pagoda.Dataset, version: pagoda.Version) -> None:
    table = version.recommend(["c017"], k=1000, exclude_seen=False)
    assert len(table) == shop.items().num_rows
    assert np.abs(table["score"].to_numpy()).max() <= 1 + 1e-6


def test_the_datasets_rules_weigh_in_process_as_they_do_in_a_collection(tmp_path: Path) -> None:
    declared = (SHOP / "features.yaml").read_text() + "rules: {popularity: true, penalty: 0.1}\n"
    (tmp_path / "features.yaml").write_text(declared)
    files = {"users": SHOP / "customers.csv", "items": SHOP / "items.csv", "features": tmp_path / "features.yaml"}
    ruled = pagoda.Dataset.from_files(tmp_path / "dataset", SHOP / "log.csv", columns=COLUMNS, **files)
    version = pagoda.train(ruled, config=QUICK)
    table = version.recommend(["c017"], k=99, exclude_seen=False)
    items, user = ruled.items(), hash_ids(["c017"])
    moment, state = ruled.span().end, histories_at(ruled, ruled.span().end, None, None)
    times = np.full(1, to_us(moment), np.int64)
    cosines = version.towers.item_vectors() @ version.towers.user_vectors(user, times, state.read(user, times))[0]
    wanted = cosines - 0.1 * np.log(version.files.shares(items["item_id"].to_numpy()))
    by_item = dict(zip(items["item_key"].to_pylist(), wanted.tolist(), strict=True))
    assert table["score"].to_pylist() == pytest.approx(
        [by_item[item] for item in table["item_id"].to_pylist()], abs=1e-4
    )


def test_a_version_is_kept_where_somebody_names_a_folder(shop: pagoda.Dataset, tmp_path: Path) -> None:
    kept = pagoda.train(shop, config=QUICK, until=LAST_WEEK, out=tmp_path / "first")
    opened = pagoda.open_version(tmp_path / "first", pagoda.Dataset.open(str(shop.path)))
    assert opened.recommend(["c017"]).equals(kept.recommend(["c017"]))
    following = pagoda.train(shop, config=QUICK, parent=opened)
    assert following.learned_until == shop.span().end
    with pytest.raises(DataError, match="until"):
        following.evaluate()


def test_what_is_wrong_is_said_before_any_work(shop: pagoda.Dataset, version: pagoda.Version) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        pagoda.train(shop, config={"epochs": 3})
    with pytest.raises(ConfigError, match="nothing to learn"):
        pagoda.train(shop, until="2020-01-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match="has no zone"):
        pagoda.train(shop, until="2024-06-03")
    with pytest.raises(RequestError, match="missing"):
        version.recommend(["c017", None])
    with pytest.raises(RequestError, match="at least 1"):
        version.recommend(["c017"], k=0)


def test_a_data_frame_is_a_dataset_too(tmp_path: Path) -> None:
    log = pd.read_csv(SHOP / "log.csv").rename(columns={"customer": "user_id", "sku": "item_id"})
    log["timestamp"] = pd.to_datetime(log["at"])
    log["user_id"] = ["NA", *log["user_id"][1:]]
    with pytest.warns(UserWarning, match="NA"):
        made = pagoda.Dataset.from_arrow(tmp_path / "shop", log[["user_id", "item_id", "timestamp"]])
    assert made.count() == len(log)
