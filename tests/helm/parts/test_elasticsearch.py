"""Search on Elasticsearch or OpenSearch by value, in place of Milvus."""

from __future__ import annotations

import pytest

from pagoda.settings import Settings, lacking
from pipelines.kubernetes_platform import SETTINGS_KEYS
from tests.helm.charts import EVERYTHING, Chart, with_values
from tests.helm.flows import OUTSIDE, Network, pod
from tests.helm.test_settings import settings_in

URL, API_KEY = "PAGODA_ELASTICSEARCH__URL", "PAGODA_ELASTICSEARCH__API_KEY"
ASKS = {
    "recall": "Deployment/pagoda-recall/recall",
    "rollout": "Deployment/pagoda-rollout/driver",
    "items": "Deployment/pagoda-items/items",
    "retention": "CronJob/pagoda-retention/retention",
}
"""Who reads or writes collections, beside the pipelines' steps."""


@pytest.fixture
def elastic() -> Chart:
    return with_values(
        *EVERYTHING,
        *("index.backend=elasticsearch", "elasticsearch.existingSecret=search", "elasticsearch.port=9243"),
        *("elasticsearch.dialect=opensearch", "elasticsearch.shards=3", "elasticsearch.replicas=0"),
    )


def test_should_have_no_part_of_milvus(elastic: Chart) -> None:
    assert not elastic.of("Milvus")
    assert not [one for one in elastic.of("NetworkPolicy") if "milvus" in str(one)]
    assert not [name for name, container in elastic.containers() if "MILVUS" in str(container.get("env"))]


def test_should_take_address_and_key_from_a_secret_and_nowhere_else(elastic: Chart) -> None:
    found = {
        name: {
            one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if one["name"] in (URL, API_KEY)
        }
        for name, container in elastic.containers()
        if "PAGODA_ELASTICSEARCH" in str(container.get("env"))
    }
    # An OpenSearch is shown the user in its URL.
    wanted = {
        URL: {"name": "search", "key": "url"},
        API_KEY: {"name": "search", "key": "api_key", "optional": True},
    }
    assert found == dict.fromkeys(ASKS.values(), wanted)
    for steps in (one["spec"]["platformSpec"]["platforms"]["kubernetes"] for one in elastic.of("PipelineVersion")):
        for step in steps["deploymentSpec"]["executors"].values():
            (secret,) = [one for one in step["secretAsEnv"] if one["secretName"] == "search"]
            assert {one["secretKey"]: one["envVar"] for one in secret["keyToEnv"]} == {"url": URL, "api_key": API_KEY}


def test_should_tell_all_who_ask_how_collections_are_made(elastic: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "https://search.example:9243")
    steps = elastic.for_steps("ConfigMap")["data"]
    assert set(steps) <= set(SETTINGS_KEYS)
    read = [settings_in(elastic, place, monkeypatch) for place in ASKS.values()]
    for key, value in steps.items():
        monkeypatch.setenv(key, value)
    for settings in (*read, Settings()):
        assert (settings.index.backend, lacking(settings, "index")) == ("elasticsearch", [])
        told = settings.elasticsearch
        assert (told.dialect, told.shards, told.replicas) == ("opensearch", 3, 0)


def test_should_let_reach_it_who_asks_and_nobody_else(elastic: Chart) -> None:
    network = Network(elastic)
    for place in (OUTSIDE, pod("elastic-system", app="elasticsearch")):
        assert {one for one in network.components() if network.allows(one, place, 9243)} == {*ASKS, "pipelines"}
