"""Receipts say what was shown, to whom it was shown, and to nobody who makes one up."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda.errors import RequestError
from serving.receipts import MAX_CHARACTERS, Receipts, ShownItem

RECEIPTS = Receipts("k" * 32)
ids = st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1, max_size=30)
names = st.sampled_from(["two_tower", "item_to_item", "popular", "fresh", "explore"])
told = st.fixed_dictionaries(
    {}, optional={"channels": st.lists(names, min_size=1, unique=True), "propensity": st.floats(2**-20, 1, width=32)}
)


def listed(items: list[Any], about: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"item_id": item, **one} for item, one in zip(items, about, strict=True)]


@given(user=ids, items=st.lists(ids, unique_by=str, max_size=40), data=st.data())
def test_a_receipt_says_of_each_item_what_the_answer_did(
    user: int | str, items: list[Any], data: st.DataObject
) -> None:
    about = [data.draw(told) for _ in items]
    receipt = RECEIPTS.give(user, "canary", "g12", listed(items, about))
    for place, (item, one) in enumerate(zip(items, about, strict=True)):
        expected = ShownItem("canary", "g12", one.get("channels"), place, one.get("propensity"))
        assert RECEIPTS.read(receipt, user, item) == expected


@given(st.binary(max_size=200) | st.just(b""), st.integers(0, 10**6))
def test_what_we_did_not_sign_is_refused(forged: bytes, place: int) -> None:
    receipt = RECEIPTS.give(5, "stable", "g3", [{"item_id": 7}])
    raw = bytearray(base64.urlsafe_b64decode(receipt + "=="))
    raw[place % len(raw)] ^= 1 << place % 8
    for wrong in (forged, bytes(raw), bytes(raw[:16]) + forged):
        with pytest.raises(RequestError, match="receipt: was not given with an answer to this user"):
            RECEIPTS.read(base64.urlsafe_b64encode(wrong).rstrip(b"=").decode(), 5, 7)


def test_anothers_receipt_and_anothers_item_are_refused() -> None:
    receipt = RECEIPTS.give(5, "stable", "g3", [{"item_id": 7}])
    for reader, user in ((RECEIPTS, 6), (RECEIPTS, "5\n5"), (Receipts("l" * 32), 5)):
        with pytest.raises(RequestError, match="not given with an answer to this user"):
            reader.read(receipt, user, 7)
    with pytest.raises(RequestError, match="receipt: is of an answer without item 8"):
        RECEIPTS.read(receipt, 5, 8)


@pytest.mark.parametrize("text", ["A", "AAAAA", "", "_" * 400])
def test_what_is_no_receipt_at_all_is_refused_alike(text: str) -> None:
    with pytest.raises(RequestError, match="was not given"):
        RECEIPTS.read(text, 5, 7)


def test_the_longest_answer_has_a_receipt_that_events_take() -> None:
    channels = ["two_tower", "item_to_item", "popular", "category", "fresh", "explore", "second_generation"]
    items = [{"item_id": n, "channels": channels[: 1 + n % 7], "propensity": 0.5} for n in range(1000)]
    receipt = RECEIPTS.give("u" * 200, "canary", "g123456.7890", items)
    assert len(receipt) < MAX_CHARACTERS
    assert RECEIPTS.read(receipt, "u" * 200, 999).position == 999
