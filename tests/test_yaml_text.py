"""A key that stands twice in a file that people write is refused by name and line, whatever the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pagoda.config.training import read_config as read_training
from pagoda.data.spec import read_spec
from pagoda.errors import ConfigError
from pagoda.rollout.policy import read_policy
from pagoda.settings import load_settings
from pagoda.simulation.config import read_config
from pagoda.yaml_text import load_yaml

READERS: list[tuple[str, str, Callable[[Path], object]]] = [
    ("features.yaml", "positives: [click]\nhistory: {length: 5}\npositives: [like]\n", read_spec),
    ("config.yaml", "batch_size: 5\nmodel:\n  dim: 8\nbatch_size: 6\n", read_training),
    ("pagoda.yaml", "events:\n  late_days: 3\n  late_days: 4\n", lambda path: load_settings(path.parent)),
    ("policy.yaml", "steps: []\nsteps: []\n", read_policy),
    ("world.yaml", "seed: 1\nseed: 2\n", lambda path: read_config(path.parent)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "read"), READERS, ids=[name for name, *_ in READERS])
def test_a_key_that_stands_twice_is_refused(
    tmp_path: Path, name: str, content: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / name).write_text(content)
    last = len(content.splitlines())
    with pytest.raises(ConfigError, match=rf"{name}: line {last}: the key '\w+' is there twice, first in line \d"):
        read(tmp_path / name)


def test_what_is_twice_and_not_a_key_is_read() -> None:
    text = "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\nc: [*x, *x]\n1: int\n'1': text\n"
    found = load_yaml(text, "f")
    assert found == {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}, "c": [{"k": 1, "l": 2}] * 2, 1: "int", "1": "text"}
    assert load_yaml("", "f") is None


def test_one_line_with_a_key_twice_and_what_is_no_yaml() -> None:
    for text, said in (("{a: 1, a: 1}", "line 1: the key 'a' is there twice"), ("a: [", "f: not YAML")):
        with pytest.raises(ConfigError, match=said):
            load_yaml(text, "f")
