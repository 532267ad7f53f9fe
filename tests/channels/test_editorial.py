"""Items that people chose, in their order: for all, or by the user's segment."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.channels import editorial
from pagoda.channels.base import TableSource
from pagoda.channels.factory import open_table, refuse_channels, write_tables
from pagoda.config.channels import Editorial
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from tests.channels.logs import END, END_US, SPEC, START, Act, all_of, ids_of, known, no_vectors, opened
from tests.data.folders import write_dataset

ACTS = [Act(1, 1, 1, "click", None)]
HOUR_US = 3_600_000_000
a_list = st.lists(st.integers(1, 12), min_size=1, max_size=8, unique=True).map(tuple)


@settings(max_examples=25)
@given(a_list, st.dictionaries(st.sampled_from(["Oslo", "Rome", ""]), a_list, min_size=1), st.sets(st.integers(1, 12)))
def test_a_user_gets_the_list_of_their_segment_in_its_order(items: Any, lists: Any, barred: set[int]) -> None:
    with opened(Editorial(share=0.1, items=items, by="city", lists=lists), ACTS) as table:
        # Without a city, a user has the feature's default, which is the empty word.
        for city, told in (("Oslo", {"city": "Oslo"}), ("", {}), ("Lima", {"city": "Lima"})):
            found = table.candidates(known(**told), lambda ids: ~np.isin(ids, list(barred)), 5)
            assert ids_of(found) == [item for item in lists.get(city, items) if item not in barred][:5]


def test_one_list_is_for_all_and_hours_have_their_own() -> None:
    with opened(Editorial(share=0.1, items=(7, 3, 9)), ACTS) as table:
        assert ids_of(table.candidates(known(), all_of, 9)) == [7, 3, 9]
    with opened(Editorial(share=0.1, by="hour", lists={"8": (4, 2)}), ACTS) as table:
        assert ids_of(table.candidates(known(moment_us=END_US + 8 * HOUR_US), all_of, 9)) == [4, 2]
        assert ids_of(table.candidates(known(moment_us=END_US), all_of, 9)) == [], "there is no list for the others"


def test_what_the_dataset_lacks_is_left_out_with_a_count_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    declared = Editorial(share=0.1, items=(7, 99, 3, 98), by="city", lists={"Oslo": (97,), "Rome": (5, 6)})
    with caplog.at_level(logging.WARNING), opened(declared, ACTS, [3, 5, 7]) as table:
        assert ids_of(table.candidates(known(city="Rome"), all_of, 9)) == [5], "6 has no vector in this version"
        # Of the list for Oslo nothing is left, so it has that for all.
        assert ids_of(table.candidates(known(city="Oslo"), all_of, 9)) == [7, 3]
    said = caplog.text
    assert "2 of the 4 in items are not in the dataset and are left out: 99, 98" in said
    assert "1 of the 1 in lists.Oslo are not in the dataset and are left out: 97" in said


@pytest.mark.parametrize(
    ("by", "lists", "says"),
    [
        ("city", {"Oslo": (1,), "": (2,), "oslo": (3,)}, "the city of 1 of the 3 lists .*: lists.oslo .is Oslo meant"),
        ("device", {"phone": (1,), "none": (2,), "toaster": (3,)}, "the device of 1 of .*: lists.toaster$"),
        ("city", {"Oslo": (1,), "Rome": (2,)}, None),
        ("device", {"phone": (1,)}, None),
        ("hour", {"8": (1,)}, None),
    ],
)
def test_lists_by_a_word_that_nobody_has_are_told_of_and_kept(
    by: str, lists: dict[str, Any], says: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has it may come after the update, so it is not refused; and that is how it looks where it is misspelt."""
    declared = Editorial(share=0.1, by=by, lists=lists)
    with caplog.at_level(logging.WARNING), opened(declared, [Act(1, 1, 1, "impression", "phone")]) as table:
        for word, items in lists.items():
            at = {"moment_us": END_US + 8 * HOUR_US} if by == "hour" else {by: word}
            assert ids_of(table.candidates(known(**at), all_of, 9)) == list(items)
    told = [record.getMessage() for record in caplog.records]
    assert bool(told) == bool(says)
    assert not says or re.search(says, told[0])


def test_of_many_such_lists_the_nearest_word_is_looked_for_where_it_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five thousand lists among as many words would take an update minutes."""
    looked: list[str] = []

    def nearest(word: str, *_: object) -> list[str]:
        looked.append(word)
        return ["Oslo"]

    monkeypatch.setattr(editorial, "get_close_matches", nearest)
    lists = {f"oslo {number:02}": (1,) for number in range(30)}
    with caplog.at_level(logging.WARNING), opened(Editorial(share=0.1, by="city", lists=lists), ACTS):
        pass
    assert looked == list(lists)[:10]
    assert re.search(r"of 30 of the 30 lists .*lists.oslo 09 \(is Oslo meant\?\), …$", caplog.messages[-1])


def test_items_of_a_dataset_with_text_ids_are_named_by_these(tmp_path: Path) -> None:
    spec = FeatureSpec(id_type="string")
    rows = [{"user_key": "u", "item_key": "red", "event": "click", "timestamp": START}]
    parts, items = [("date=2024-05-01", rows)], [{"item_key": "red"}, {"item_key": "blue"}]
    data = write_dataset(tmp_path / "data", parts=parts, users=[{"user_key": "u"}], items=items, spec=spec)
    ids, declared = np.sort(hash_ids(["red", "blue"])), Editorial(share=0.1, items=("blue", "red"))
    source = TableSource(Dataset.open(data), Window(start=START, end=END), ids, no_vectors)
    write_tables(tmp_path / "channels", [declared], source)
    table = open_table(tmp_path / "channels", declared)
    assert ids_of(table.candidates(known(), all_of, 9)) == hash_ids(["blue", "red"]).tolist()
    with pytest.raises(ConfigError, match=r"items names 7, and items of this dataset are strings"):
        refuse_channels([Editorial(share=0.1, items=(7,))], spec)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"items": ("red",)}, r"items names 'red', and items of this dataset are integers: write it without quotes"),
        ({"by": "maker", "lists": {"x": (1,)}}, r"editorial: by 'maker' is neither hour nor .*device, city"),
        ({"by": "hour", "lists": {"24": (1,)}}, r"'24' in lists is no hour of the day"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_any_work(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        refuse_channels([Editorial(share=0.1, **section)], SPEC)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("", "there are no items"),
        ("items: [3, 4, 3]", "names 3 more than once"),
        ("items: [3], by: city", "by and lists go together"),
        ("lists: {Oslo: [3]}", "by and lists go together"),
        ("by: city, lists: {Oslo: []}", "lists.Oslo"),
        ("by: country, lists: {NO: [3]}", "put it in quotes"),
        ("items: [true]", "items.0"),
        (f"items: {list(range(5_001))}", "at most 5,000"),
        ("items: [9223372036854775808]", "items.0"),
    ],
)
def test_a_list_that_says_nothing_or_two_things_is_refused(keys: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_config(f"channels: [{{kind: two_tower, share: 0.9}}, {{kind: editorial, share: 0.1, {keys}}}]")
