from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import yaml

from pagoda.errors import ConfigError
from pagoda.settings import load_settings
from pagoda.standalone.endpoints import (
    changed,
    missing_ports_chosen,
    own,
    ports_of,
    record_endpoints,
    settle_dataset,
)
from pagoda.standalone.layout import Layout
from pagoda.standalone.ports import choose_ports
from pagoda.standalone.servers.service import Service
from pagoda.standalone.servers.services import PORT_NAMES, declared


def _services(home: Path) -> list[Service]:
    return declared(Layout(home))


def test_ports_are_chosen_once_and_a_set_one_wins(tmp_path: Path) -> None:
    assert set(ports_of(tmp_path, PORT_NAMES).values()) == {0}
    assert list(tmp_path.iterdir()) == []
    with missing_ports_chosen(tmp_path, PORT_NAMES):
        pass
    first = ports_of(tmp_path, PORT_NAMES)
    with missing_ports_chosen(tmp_path, PORT_NAMES):
        pass
    assert ports_of(tmp_path, PORT_NAMES) == first
    (tmp_path / "pagoda.yaml").write_text("standalone: {ports: {mlflow: 5000}}")
    assert ports_of(tmp_path, PORT_NAMES) == {**first, "mlflow": 5000}


def test_recall_gets_the_port_that_people_type_where_nobody_has_it(tmp_path: Path) -> None:
    (wanted,) = choose_ports(["any"], []).values()
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        home.mkdir()
    with (
        missing_ports_chosen(one, PORT_NAMES, {"recall": wanted}),
        missing_ports_chosen(other, PORT_NAMES, {"recall": wanted}),
    ):
        first, second = (ports_of(home, PORT_NAMES) for home in (one, other))
    assert first["recall"] == wanted, "and stays so"
    assert not set(first.values()) & set(second.values()), "they started in the same second"
    assert load_settings(one).standalone.ports["recall"] == wanted


@pytest.mark.parametrize(
    ("ports", "complaint"),
    [
        ({"milvuss": 5000}, r"standalone\.ports\.milvuss: there is no such port; there are mlflow, milvus"),
        ({"milvus": 70000}, "70000 is no port number"),
        ({"milvus": 5000, "mlflow": 5000}, "5000 is set for both"),
    ],
)
def test_a_wrong_port_is_refused(tmp_path: Path, ports: dict[str, int], complaint: str) -> None:
    (tmp_path / "pagoda.yaml").write_text(yaml.safe_dump({"standalone": {"ports": ports}}))
    with pytest.raises(ConfigError, match=complaint):
        ports_of(tmp_path, PORT_NAMES)


def test_a_port_that_an_earlier_version_chose_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yaml").write_text("standalone: {ports: {redis: 15001, mlflow: 15002}}")
    assert ports_of(tmp_path, PORT_NAMES)["mlflow"] == 15002


def test_recorded_addresses_are_settings_and_stay(tmp_path: Path) -> None:
    with missing_ports_chosen(tmp_path, PORT_NAMES):
        pass
    services = {service.name: service for service in _services(tmp_path)}
    record_endpoints(tmp_path, [services["milvus"]])
    assert load_settings(tmp_path).registry.uri == ""
    record_endpoints(tmp_path, [services["mlflow"]])
    settings = load_settings(tmp_path)
    assert (settings.milvus.uri, settings.registry.uri) == (services["milvus"].url, services["mlflow"].url)
    assert own(list(services.values()), tmp_path) == list(services.values())


def test_incrementals_are_released_at_once_here_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    assert load_settings(tmp_path).rollout.incremental == "rollout"
    record_endpoints(tmp_path, _services(tmp_path))
    rollout = load_settings(tmp_path).rollout
    assert (rollout.backend, rollout.incremental) == ("local", "now")
    (tmp_path / "pagoda.yaml").write_text("rollout: {incremental: rollout}")
    assert load_settings(tmp_path).rollout.incremental == "rollout"
    assert "rollout" in [service.name for service in own(_services(tmp_path), tmp_path)]


def test_a_service_for_which_another_server_is_set_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with missing_ports_chosen(tmp_path, PORT_NAMES):
        pass
    record_endpoints(tmp_path, _services(tmp_path))
    monkeypatch.setenv("PAGODA_MILVUS__URI", "http://milvus.example:19530")
    (tmp_path / "pagoda.yaml").write_text("redis: {url: 'redis://redis.example'}")
    names = [service.name for service in own(_services(tmp_path), tmp_path)]
    assert names == ["mlflow", "torchserve", "follower", "recall", "sink", "items", "rollout"]


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("REDIS__URL", "localhost:6379"),
        ("REDIS__URL", "redis://:secret@redis.example:six"),
        ("TOWER__URL", "ftp://tower.example"),
        ("RECALL__URL", "http://recall.example:http"),
    ],
)
def test_an_address_that_is_none_is_refused_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, address: str
) -> None:
    monkeypatch.setenv(f"PAGODA_{key}", address)
    with pytest.raises(ConfigError, match="must begin with") as refused:
        load_settings(tmp_path)
    assert key.lower().replace("__", ".") in str(refused.value)
    assert address not in str(refused.value)


def test_a_port_recorded_for_a_server_that_has_none_any_more_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yaml").write_text("standalone: {ports: {gone: 15001, here: 15002}}")
    assert ports_of(tmp_path, ["here"]) == {"here": 15002}


def test_events_are_filed_into_the_dataset_that_updates_learn(tmp_path: Path) -> None:
    home, shop = tmp_path / "home", tmp_path / "shop[old]"
    home.mkdir()
    (home / "endpoints.yaml").write_text("redis: {url: 'unix:///r'}")
    assert f"filed into {shop}" in settle_dataset(load_settings(home), str(shop))
    assert (load_settings(home).events_dataset, load_settings(home).redis.url) == (str(shop), "unix:///r")
    assert settle_dataset(load_settings(home), str(shop)) == ""
    assert f"filed into {shop}, and this update learned s3://b/d" in settle_dataset(load_settings(home), "s3://b/d")
    assert load_settings(home).events_dataset == str(shop)


def test_a_dataset_is_the_same_however_it_is_named(tmp_path: Path) -> None:
    home, shop = tmp_path / "home", tmp_path / "shop"
    settle_dataset(load_settings(home), f"file://{shop}")
    assert load_settings(home).events_dataset == str(shop)
    assert {settle_dataset(load_settings(home), name) for name in (f"file://{shop}/", str(shop))} == {""}


def test_what_others_record_in_the_meantime_stays(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads, changed(tmp_path) as content:
        settled = threads.submit(settle_dataset, load_settings(tmp_path), "s3://b/d")
        wait([settled], timeout=0.05)
        content["redis"] = {"url": "unix:///r"}
        assert not settled.done()
    assert "filed into s3://b/d" in settled.result()
    assert (load_settings(tmp_path).events_dataset, load_settings(tmp_path).redis.url) == ("s3://b/d", "unix:///r")


def test_a_dataset_at_home_stays_the_one_of_the_events(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    assert settle_dataset(load_settings(tmp_path), str(tmp_path / "dataset")) == ""
    assert "set events.dataset" in settle_dataset(load_settings(tmp_path), str(tmp_path / "other"))
    assert not (tmp_path / "endpoints.yaml").exists()


def test_the_tower_runs_on_the_server_that_is_chosen(tmp_path: Path) -> None:
    record_endpoints(tmp_path, _services(tmp_path))
    before = load_settings(tmp_path).tower.url
    (tmp_path / "pagoda.yaml").write_text("tower: {runtime: kserve}")
    services = {service.name: service for service in _services(tmp_path)}
    assert "tower" in services and "torchserve" not in services
    assert "tower" in services["follower"].after
    record_endpoints(tmp_path, list(services.values()))
    assert load_settings(tmp_path).tower.url == before, "callers find it where TorchServe was"
