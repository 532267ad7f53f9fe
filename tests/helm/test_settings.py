"""What values say is what the settings of the pods that read it say."""

from __future__ import annotations

import pytest

from pagoda.settings import Settings, load_settings

from .charts import WORKERS, Chart, given

EVENTS = {
    "format": "tfrecord",
    "streamLength": 2_000_000,
    "aheadSeconds": 0,
    "lateDays": 3,
    "newcomers": 1_500_000,
    "newcomerDays": 2,
    "memoryShare": 0.5,
    "forgottenDays": 15.5,
}
NOT_RECALLS = {"forgottenDays", "format"}
ITEMS = {"removalShare": 0.25, "removalHours": 12, "undoDays": 0.5}
RECALL = {"usersAtOnce": 1_000_000, "connections": 1_048_576, "connectionsOfClient": 99}


def settings_in(chart: Chart, place: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the program in that container reads them."""
    (container,) = [found for name, found in chart.containers() if name == place]
    settings = chart.one("ConfigMap", "pagoda-settings")["data"]
    for variable in container["env"]:
        if key := variable.get("valueFrom", {}).get("configMapKeyRef", {}).get("key"):
            monkeypatch.setenv(variable["name"], settings[key])
    return load_settings()


@pytest.mark.parametrize(
    ("place", "read"),
    [
        (
            "Deployment/pagoda-recall/recall",
            {"events": EVENTS.keys() - NOT_RECALLS, "recall": RECALL.keys()},
        ),
        ("Deployment/pagoda-recall/recall", {"items": {"removalShare", "removalHours"}}),
        ("Deployment/pagoda-sink/sink", {"events": {"format"}}),
        ("Deployment/pagoda-items/items", {"items": ITEMS.keys()}),
        # Where people type `pagoda users forget` and `pagoda items remove`.
        ("Deployment/pagoda-rollout/driver", {"events": {"forgottenDays"}, "items": {"removalShare", "removalHours"}}),
    ],
)
def test_should_bring_bounds_to_the_pods_that_keep_them(
    place: str, read: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"events": EVENTS, "items": ITEMS, "recall": RECALL}
    found = settings_in(given(values, *WORKERS), place, monkeypatch)
    for section, names in read.items():
        for name in names:
            field = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
            assert getattr(getattr(found, section), field) == values[section][name], name


KAFKA = {"servers": "a:9092,b:9093", "topic": "ours", "tls": True, "mechanism": "PLAIN"}


@pytest.mark.parametrize(("section", "further"), [("events", {}), ("items", {"group": "staging"})])
def test_should_bring_kafka_with_its_secret_to_recall_alone(
    section: str, further: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = given({f"{section}.kafka": {**KAFKA, **further, "existingSecret": f"{section}-kafka"}}, *WORKERS)
    found = getattr(settings_in(chart, "Deployment/pagoda-recall/recall", monkeypatch), section).kafka
    assert found.model_dump(include=KAFKA.keys() | further.keys()) == {**KAFKA, **further}
    assert not (load_settings().items if section == "events" else load_settings().events).kafka.servers
    secrets = {
        (place, variable["name"]): variable["valueFrom"]["secretKeyRef"]
        for place, container in chart.containers()
        for variable in container.get("env", ())
        if "__KAFKA__" in variable["name"] and "secretKeyRef" in variable["valueFrom"]
    }
    assert secrets == {
        ("Deployment/pagoda-recall/recall", f"PAGODA_{section.upper()}__KAFKA__{key.upper()}"): {
            "name": f"{section}-kafka",
            "key": key,
        }
        for key in ("username", "password")
    }
