"""A wrong configuration is one message that names the file and the key, before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.config.training import parse_config, read_config
from pagoda.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("temprature: 1", "temprature"),
        ("objective: {temperature: 0}", "objective.listwise.temperature"),
        ("objective: {temperature: .nan}", "objective.listwise.temperature"),
        ("objective: {kind: magic}", "objective"),
        ("dropout: {user: 1.0}", "dropout.user"),
        ("batch_size: 1", "batch_size"),
        ("model: {history: {kind: decay, half_lives_seconds: []}}", "model.history.decay.half_lives_seconds"),
        ("model: {user: {blocks: [{kind: mlp, hidden: [0]}]}}", "model.user.blocks.0.mlp.hidden.0"),
        ("optimiser: {dense_learning_rate: -1}", "optimiser.dense_learning_rate"),
        ("objective: {kind: pointwise, temperature: 1}", "objective.pointwise.temperature"),
        ("objective: {kind: triplet_hinge, margin: 3}", "objective.triplet_hinge.margin"),
        ("negatives: {in_batch: false, uniform: 0}", "set in_batch, uniform or popularity"),
        ("negatives: {popularity_exponent: 0.5}", "popularity_exponent has no effect while popularity is 0"),
        ("model: {user: {blocks: [{kind: mlp}, {kind: senet}]}}", "must be the first of blocks"),
        ("validation: {hours: 0}", "validation.hours"),
        ("validation: {metric: ndcg@10}", "validation.hours"),
        ("validation: {hours: 1, metric: auc}", "validation.metric"),
        ("{bootstrap_epochs: 1, validation: {hours: 1}}", "chooses among epochs, but bootstrap_epochs is 1"),
        ("patience: 0", "patience"),
        ("device: tpu", "device"),
        ("precision: int4", "precision"),
        ("checkpoint_seconds: -1", "checkpoint_seconds"),
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


@pytest.mark.parametrize("verb", [["update", "full"], ["schedule", "run"]])
def test_verbs_refuse_a_wrong_file_before_they_do_anything(verb: list[str], tmp_path: Path) -> None:
    for name, text, says in (("absent", None, "cannot be read"), ("wrong", "temprature: 1", "temprature")):
        path = tmp_path / f"{name}.yaml"
        if text:
            path.write_text(text)
        command = [*verb, "--data", "nowhere", "--config", str(path), "--home", str(tmp_path / "home")]
        with pytest.raises(ConfigError, match=rf"{name}\.yaml: {says}"):
            CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "home").exists()


def test_what_is_written_reads_back() -> None:
    config = parse_config("model: {history: {kind: mean}, dim: 32}\nseed: 3")
    assert parse_config(config.to_yaml()) == config
    assert parse_config("") == parse_config("{}")
