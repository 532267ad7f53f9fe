"""A wrong configuration is one message that names the file and the key, before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.errors import ConfigError
from pagoda.training.config import parse_config, read_config


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("temprature: 1", "temprature"),
        ("objective: {temperature: 0}", "objective.temperature"),
        ("objective: {temperature: .nan}", "objective.temperature"),
        ("objective: {kind: magic}", "objective.kind"),
        ("dropout: {user: 1.0}", "dropout.user"),
        ("batch_size: 1", "batch_size"),
        ("model: {history: {kind: decay, half_lives_seconds: []}}", "model.history.decay.half_lives_seconds"),
        ("model: {user: {blocks: [{kind: mlp, hidden: [0]}]}}", "model.user.blocks.0.hidden.0"),
        ("optimiser: {dense_learning_rate: -1}", "optimiser.dense_learning_rate"),
        ("- a list", "valid dictionary"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_value_is_named(text: str, names: str, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert names in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read"):
        read_config(tmp_path / "absent.yaml")


def test_what_is_written_reads_back() -> None:
    config = parse_config("model: {history: {kind: mean}, dim: 32}\nseed: 3")
    assert parse_config(config.to_yaml()) == config
    assert parse_config("") == parse_config("{}")
