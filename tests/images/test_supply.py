"""Where what is installed comes from: files by hash, bases by digest, and a scanner that says what it did not do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helm.generate.chart import ROOT

LOCKED = sorted((ROOT / "requirements").glob("*.txt"))
PINNED = re.compile(r"([a-z0-9-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)")


def _entries(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    matches = [PINNED.fullmatch(line) for line in lines]
    assert None not in matches, f"{path}: a line without version and hash"
    return {match[1]: match[2] for match in matches if match}


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.stem)
def test_every_file_that_is_installed_has_a_hash_and_the_version_of_the_one_list(path: Path) -> None:
    listed = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in listed}
    entries = _entries(path)
    # What writes the SBOM is in an environment of its own.
    assert entries and (path.stem == "sbom" or entries.items() <= versions.items())


def test_pip_refuses_a_file_that_is_not_the_one_that_was_locked(tmp_path: Path) -> None:
    (tmp_path / "six-1.17.0-py3-none-any.whl").write_bytes(b"something else")
    line = next(line for line in (ROOT / "requirements/recall.txt").read_text().splitlines() if line.startswith("six="))
    (tmp_path / "locked.txt").write_text(line)
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*pip, "--no-index", "--find-links", str(tmp_path), "--requirement", str(tmp_path / "locked.txt")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
    )
    assert done.returncode and "DO NOT MATCH THE HASHES" in done.stderr


def test_an_image_takes_nothing_from_an_index_without_its_hash() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.findall(r"pip install ([^&;\n]*)", text)
    assert len(found) == 6
    for options in found:
        assert "--require-hashes" in options or options.split()[-1] == "."


@pytest.mark.parametrize(
    ("base", "built"), [("", False), ("docker.io/library/python:3.11", False), (f"python@sha256:{'0' * 64}", True)]
)
def test_a_release_is_built_on_a_base_by_digest_only(base: str, built: bool) -> None:
    settings = {**os.environ, "ENGINE": "/bin/true", "RELEASE": "1", "BASE_IMAGE": base}
    command = ["bash", "-c", f"exec -a docker bash {ROOT}/serving/images.sh"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert ("needs BASE_IMAGE by digest" in done.stderr) is not built


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("echo no such host >&2; exit 1", 1, "audit: not checked"),
        ('case "$*" in *download*) ;; *) exit 2 ;; esac', 2, ""),
        ("exit 0", 0, ""),
    ],
    ids=["no database", "a known fault", "none"],
)
def test_an_audit_is_never_silent_about_what_it_did_not_check(
    tmp_path: Path, script: str, status: int, said: str
) -> None:
    trivy = tmp_path / "trivy"
    trivy.write_text(f"#!/bin/sh\n{script}\n")
    trivy.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "requirements/audit.sh")],
        env={**os.environ, "TRIVY": str(trivy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert said in done.stderr
