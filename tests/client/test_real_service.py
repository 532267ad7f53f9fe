"""The client at the service's own doors: its routes, its roles, its stream of events and its item log."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda import Client, Event
from pagoda.access.tokens import make_tokens
from pagoda.errors import ConfigError, RequestError
from tests.serving.recall.test_documented_calls import service


@pytest.mark.integration
def test_every_call_is_taken(tmp_path: Path, redis_url: str) -> None:
    make_tokens(tmp_path / "tokens")
    with service(tmp_path, "int64", redis_url) as (recall, items):
        (tmp_path / "endpoints.yaml").write_text(f"recall: {{url: '{recall}'}}\nitems: {{url: '{items}'}}\n")
        with Client(home=tmp_path) as client, Client(recall, token="t" * 43, home=tmp_path) as stranger:
            client.wait_ready()
            answer = client.recommend(5, k=3, exclude_seen=True, filter={"genres": ["Drama"]}, context={"device": "tv"})
            assert answer.generation == "g3" and answer.items and not answer.degraded
            like = client.similar(50, 51, k=2)
            assert (like.generation, len(like.items), like.unknown) == ("g3", 2, (51,))
            event = Event(5, 17)
            assert client.send_events([event, event]).duplicates == 1
            assert client.send_events([event]).taken == 0
            changed = client.change_items(upsert=[{"item_id": 17, "genres": ["Drama"], "year": 1994}], remove=[3])
            assert (changed.record, changed.changes) == (1, 2)
            with pytest.raises(RequestError, match="filter"):
                client.recommend(5, filter={"colour": "red"})
            with pytest.raises(ConfigError, match="role is `ask`"):
                stranger.recommend(5)
