"""No cluster has seen docs/kind.md and its script; this is what can be held against chart, pipelines and CLI."""

from __future__ import annotations

import re
import subprocess

import pytest
import typer

from pagoda.access.roles import ROLES
from pagoda.cli.main import app
from pipelines.pipeline_package import Package
from tests.commands import parse

from .page import COMMANDS, FOLDER, PAGE, SCRIPT, calls, chart, commands_of

VERSIONS = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "versions.env").read_text(), re.MULTILINE))


def test_the_script_is_bash() -> None:
    done = subprocess.run(["bash", "-n", FOLDER / "install.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_page_and_script_are_the_same_commands() -> None:
    steps = commands_of(SCRIPT[SCRIPT.index('step "The cluster"') :])
    assert [line for line in steps if line.split()[0] not in {"step", "if", "fi"}] == COMMANDS


def test_page_and_script_have_the_same_steps() -> None:
    titles = re.findall(r'^step "(.*)"$', SCRIPT, re.MULTILINE)
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE)[: len(titles)] == titles


def test_the_page_names_the_versions_that_are_installed() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| `(.*)` \|$", PAGE, re.MULTILINE)) == VERSIONS
    assert all(f"${name}" in SCRIPT for name in VERSIONS)


def test_the_images_that_are_loaded_are_those_that_the_chart_runs() -> None:
    images = {container["image"] for _, container in chart().containers()}
    (load,) = [call for call in calls("kind") if call[0] == "load"]
    loaded = {word.replace("$PAGODA_VERSION", VERSIONS["PAGODA_VERSION"]) for word in load if "/" in word}
    assert loaded == {image for image in images if "/pagoda/" in image}


def test_what_is_waited_for_is_what_the_chart_makes() -> None:
    resources = chart().resources
    waits = [call for call in calls("kubectl") if call[:2] == ["-n", "pagoda"] and call[2] in {"wait", "rollout"}]
    assert waits
    for words in waits:
        kind, _, which = next((word for word in words if re.match(r"[a-z]+/", word)), words[3]).partition("/")
        found = [one["metadata"] for one in resources if one["kind"].lower() == kind]
        labels = {f"{key}={value}" for one in found for key, value in one["labels"].items()}
        assert (which or words[words.index("-l") + 1]) in labels | {one["name"] for one in found}, words


def test_every_secret_that_a_pod_mounts_is_made_with_its_keys() -> None:
    (made,) = re.findall(r'^for secret in (".*"); do$', SCRIPT, re.M)
    keys = {words[0]: set(words[1:]) for words in (one.split() for one in re.findall(r'"(.*?)"', made))}
    pods = [pod["spec"] for _, pod in chart().pods()]
    volumes = [one["secret"]["secretName"] for pod in pods for one in pod.get("volumes", []) if "secret" in one]
    variables = [one for pod in pods for container in pod["containers"] for one in container.get("env", [])]
    read = [one["valueFrom"]["secretKeyRef"]["name"] for one in variables if "secretKeyRef" in one.get("valueFrom", {})]
    assert set(keys) == {*volumes, *read} - {"pagoda-object-storage"}
    assert keys["pagoda-tokens"] == set(ROLES)


def test_keys_and_store_are_where_the_chart_looks_for_them() -> None:
    settings = chart().one("ConfigMap", "pagoda-settings")["data"]
    (secret,) = {entry["name"] for account in chart().of("ServiceAccount") for entry in account.get("secrets", [])}
    (annotated,) = [call for call in calls("kubectl") if "annotate" in call]
    assert secret in annotated
    (of_storage,) = [line for line in COMMANDS if f"create secret generic {secret}" in line]
    assert of_storage
    assert f"serving.kserve.io/s3-region={settings['AWS_DEFAULT_REGION']}" in annotated
    host = settings["AWS_ENDPOINT_URL"].removeprefix("http://")
    assert {f"serving.kserve.io/s3-endpoint={host}", "serving.kserve.io/s3-usehttps=0"} <= set(annotated)
    service, namespace, port = re.split(r"[.:]", host)
    assert f"kubectl -n {namespace} port-forward service/{service} 28333:{port} > /dev/null &" in COMMANDS
    urls = re.findall(r"s3://[^\s\"]+", "\n".join(COMMANDS))
    assert len(set(urls)) == 1
    assert settings["PAGODA_REGISTRY__LOG"].startswith(urls[0].removesuffix("dataset"))


@pytest.mark.parametrize("words", calls(".venv/bin/pagoda"), ids=lambda words: " ".join(words[:2]))
def test_a_command_of_the_page_is_understood(words: list[str]) -> None:
    parse(typer.main.get_command(app), words)


def test_the_update_has_the_parameters_that_it_is_given() -> None:
    (run,) = [call for call in calls(".venv/bin/pagoda") if call[0] == "pipelines"]
    given = dict(word.split("=", 1) for word in run if "=" in word)
    assert Package.of(run[2]).read_parameters(given) == given
