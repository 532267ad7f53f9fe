"""One public class name means one thing in the whole tree: who reads it in a message or a signature knows which."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("benchmarks", "components", "demos", "pagoda", "pipelines", "serving")


def test_no_public_class_name_is_there_twice() -> None:
    sources = [path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    names = Counter(name for source in sources for name in re.findall(r"^class ([A-Z]\w*)", source, re.MULTILINE))
    assert [name for name, times in names.items() if times > 1] == []
