"""Two releases of one name, in two namespaces: neither touches what is the other's."""

from __future__ import annotations

import re

import pytest

from helm.generate.chart import Resource
from tests.helm.charts import EVERYTHING, Chart, rendered

IN_KUBEFLOW = ("pipelines.publish=job", "pipelines.kubeflow.multiUser=false")
IN_A_TEAMS = ("pipelines.publish=job", "pipelines.kubeflow.multiUser=true", "pipelines.namespace=team")


def release(namespace: str, *sets: str) -> Chart:
    return rendered("--namespace", namespace, *(part for one in (*EVERYTHING, *sets) for part in ("--set", one)))


def elsewhere(namespace: str, *sets: str) -> set[tuple[str, str, str]]:
    """Kind, namespace and name of all that a release puts into others' namespaces."""
    places = [
        (one["kind"], one["metadata"].get("namespace", namespace), one["metadata"]["name"])
        for one in release(namespace, *sets).resources
    ]
    return {place for place in places if place[1] != namespace}


@pytest.mark.parametrize("sets", [IN_KUBEFLOW, IN_A_TEAMS])
def test_should_put_objects_of_different_names_into_a_namespace_of_both(sets: tuple[str, ...]) -> None:
    first, second = elsewhere("pagoda", *sets), elsewhere("staging", *sets)
    assert {kind for kind, _, _ in first} >= {"ConfigMap", "NetworkPolicy", "Secret"}
    assert len(first) == len(second)
    assert not first & second


def test_should_tell_releases_apart_whose_names_run_together() -> None:
    first = elsewhere("a", *IN_KUBEFLOW, "fullnameOverride=b-pagoda")
    assert not first & elsewhere("a-b", *IN_KUBEFLOW, "fullnameOverride=pagoda")


def test_should_keep_plain_names_in_its_own_namespace() -> None:
    chart = release("pagoda", "pipelines.kubeflow.multiUser=true")
    assert not [one["metadata"]["name"] for one in chart.resources if "." in one["metadata"]["name"]]


def test_should_guard_its_milvus_under_a_name_of_its_own_where_others_have_one() -> None:
    names = [
        [one[2] for one in elsewhere(namespace, "milvus.namespace=milvus") if one[:2] == ("NetworkPolicy", "milvus")]
        for namespace in ("pagoda", "staging")
    ]
    assert names == [["pagoda.pagoda-milvus"], ["staging.pagoda-milvus"]]


@pytest.mark.parametrize("sets", [IN_KUBEFLOW, IN_A_TEAMS, ("pipelines.publish=resources",)])
def test_should_hand_the_steps_the_names_that_are_there(sets: tuple[str, ...]) -> None:
    chart = release("staging", *sets)
    made = {chart.for_steps("ConfigMap")["metadata"]["name"]}
    made |= {
        one["metadata"]["name"] for one in chart.of("Secret") if _place(one) == _place(chart.for_steps("ConfigMap"))
    }
    told = str([version["spec"] for version in chart.of("PipelineVersion")] or _upload(chart))
    assert len(made) == 2
    assert all(re.search(rf"['=]{re.escape(name)}'", told) for name in made)


def _place(found: Resource) -> str:
    return str(found["metadata"].get("namespace", "staging"))


def _upload(chart: Chart) -> list[str]:
    (args,) = [one["args"] for _, one in chart.containers() if one.get("args", [""])[:2] == ["pipelines", "upload"]]
    return list(args)
