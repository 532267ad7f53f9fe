"""docs/gitops.md: what it tells people to give to Argo CD and Flux, and what it promises them of the chart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from helm.generate.chart import CHART, ROOT, Resource, render, resources
from tests.helm.charts import EVERYTHING, Chart, with_values

PAGE = (ROOT / "docs" / "gitops.md").read_text()


def told(kind: str) -> Resource:
    """The one object of a kind that the page shows."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [one for block in blocks for one in resources(block) if one["kind"] == kind]
    return found


def rendered_as_told(folder: Path, files: list[str], values: dict[str, Any]) -> Chart:
    own = folder / "values.yaml"
    own.write_text(yaml.safe_dump(values))
    paths = [*(str(CHART / file) for file in files), str(own)]
    return Chart(render(*(part for path in paths for part in ("--values", path))))


def test_should_render_what_the_application_and_the_release_name(tmp_path: Path) -> None:
    application, release = told("Application")["spec"]["source"], told("HelmRelease")["spec"]
    meta = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (ROOT / application["path"]) == CHART
    assert application["targetRevision"] == f"v{meta['version']}"
    assert (release["chart"]["spec"]["chart"], release["chart"]["spec"]["version"]) == (meta["name"], meta["version"])
    for files, values in (
        (application["helm"]["valueFiles"], application["helm"]["valuesObject"]),
        (release["chart"]["spec"]["valuesFiles"], release["values"]),
    ):
        chart = rendered_as_told(tmp_path, files, values)
        settings = chart.one("ConfigMap", "pagoda-settings")["data"]
        assert settings["PAGODA_REGISTRY__LOG"] == "s3://ours/log"
        assert chart.one("Milvus", "pagoda")["spec"]["mode"] == "cluster"


def test_should_call_the_release_as_the_application_so_that_labels_agree() -> None:
    application = told("Application")
    assert application["spec"]["source"]["helm"]["releaseName"] == application["metadata"]["name"]


def test_should_not_make_argo_cd_an_owner_of_the_drivers_fields() -> None:
    spec = told("Application")["spec"]
    assert "ServerSideApply=true" in spec["syncPolicy"]["syncOptions"]
    assert not {"RespectIgnoreDifferences=true", "Replace=true", "Force=true"} & set(spec["syncPolicy"]["syncOptions"])


def test_should_ignore_only_drift_that_others_make() -> None:
    (rule,) = told("HelmRelease")["spec"]["driftDetection"]["ignore"]
    deployment = with_values().one(rule["target"]["kind"], rule["target"]["name"])
    assert rule["paths"] == ["/spec/replicas"] and "replicas" in deployment["spec"]


def test_should_have_no_hook_but_helms_test() -> None:
    hooks = [one["metadata"].get("annotations", {}).get("helm.sh/hook") for one in with_values(*EVERYTHING).resources]
    assert set(hooks) == {None, "test"}


def test_should_render_equal_manifests_each_time() -> None:
    values = [part for one in EVERYTHING for part in ("--set", one)]
    assert render(*values) == render(*values)


def test_should_leave_finished_jobs_or_they_would_be_made_again() -> None:
    jobs = with_values().of("Job")
    assert jobs and not any("ttlSecondsAfterFinished" in job["spec"] for job in jobs)


def health(url: str, kind: str, found: dict[str, Any]) -> dict[str, str]:
    """What a health check says, run by the Lua that Redis has; Argo CD's is the same 5.1."""
    script = told("ConfigMap")["data"][f"resource.customizations.health.{kind}"]
    wrapped = f"local obj = cjson.decode(ARGV[1])\nlocal function check()\n{script}\nend\nreturn cjson.encode(check())"
    said: dict[str, str] = json.loads(redis.Redis.from_url(url).eval(wrapped, 0, json.dumps(found)))
    return said


TOWER = {"spec": {"predictor": {"model": {"storageUri": "s3://pagoda/tower.mar"}}}}


def tower(transition: str = "UpToDate", **conditions: str) -> dict[str, Any]:
    found = [{"type": name, "status": status} for name, status in conditions.items()]
    return {**TOWER, "status": {"conditions": found, "modelStatus": {"transitionStatus": transition}}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"spec": {"predictor": {"model": {"runtime": "pagoda-tower"}}}}, "Suspended"),
        (TOWER, "Progressing"),
        (tower(PredictorReady="Unknown"), "Progressing"),
        (tower(PredictorReady="True", IngressReady="False", Ready="False"), "Healthy"),
        (tower(PredictorReady="True", CanaryPredictorReady="False"), "Healthy"),
        (tower(PredictorReady="False"), "Progressing"),
        (tower("BlockedByFailedLoad", PredictorReady="False"), "Degraded"),
        (tower(PredictorReady="False", Stopped="True"), "Suspended"),
    ],
)
def test_should_tell_argo_cd_how_the_stable_tower_is(redis_url: str, found: dict[str, Any], expected: str) -> None:
    assert health(redis_url, "serving.kserve.io_InferenceService", found)["status"] == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, "Progressing"), ("Pending", "Progressing"), ("Healthy", "Healthy"), ("Unhealthy", "Degraded")],
)
def test_should_tell_argo_cd_how_milvus_is(redis_url: str, status: str | None, expected: str) -> None:
    found = {"status": {"status": status}} if status else {}
    assert health(redis_url, "milvus.io_Milvus", found)["status"] == expected
