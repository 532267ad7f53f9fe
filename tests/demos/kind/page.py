"""docs/kind.md as it is read: its commands, its tables, and the chart as it installs it."""

from __future__ import annotations

import re
import shlex

from helm.generate.chart import ROOT
from tests.helm.charts import Chart, rendered

FOLDER = ROOT / "demos" / "kind"
PAGE, SCRIPT = (ROOT / "docs" / "kind.md").read_text(), (FOLDER / "install.sh").read_text()


def commands_of(text: str) -> list[str]:
    """The commands of a shell script, each as one line."""
    lines = [" ".join(line.split()) for line in re.sub(r"\\\n", " ", text).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


COMMANDS = commands_of("\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)))


def calls(program: str) -> list[list[str]]:
    """The arguments of every call of `program` that is a command of its own, in a substitution or behind `||`."""
    found = []
    for command in COMMANDS:
        for part in re.split(r"\|+", command.replace("$(", "|")):
            words = shlex.split(part) if part.count("'") % 2 == part.count('"') % 2 == 0 else []
            if words[:1] == [program]:
                found.append(words[1:])
    return found


def chart() -> Chart:
    """Pagoda as the page installs it."""
    (install,) = [call for call in calls("helm") if "helm/pagoda" in call]
    words = install[install.index("helm/pagoda") + 1 :]
    return rendered(*("--values" if word == "-f" else word for word in words))


def row(name: str) -> tuple[int, int]:
    """Millicores and MiB that a line of the page's table names."""
    found = re.search(rf"^\| \**{name}\** \| \**(\d+)m?\** \| \**(\d+)(?:Mi)?\** \|", PAGE, re.MULTILINE)
    assert found, name
    return int(found[1]), int(found[2])
