"""The tower's program as serving runs it: quick, and the same to the last bits as what was exported."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.fx import GraphModule

from pagoda.config.model import AugmentConfig, Cin, DecayPooling, Fm, Gru, Mlp, ModelConfig, RowSum, Transformer
from pagoda.data.spec import FeatureSpec
from pagoda.errors import IntegrityError, UnavailableError
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.towers.towers import Towers
from serving.tower.program import load_program, load_small
from tests.serving.worlds import DIM, LENGTH, make_spec


def export(folder: Path, **model: Any) -> Path:
    """The program of a tower of such a model."""
    encoder = Encoder.fit(make_spec(), *(programs_table() for _ in range(2)))
    torch.manual_seed(1)
    config = ModelConfig(dim=DIM, feature_dim=4, **model)
    export_towers(Towers(config, encoder), encoder, config.row_dim, folder / "user.pt2", folder / "item.pt2")
    return folder / "user.pt2"


def programs_table() -> Any:
    """Values of every feature."""
    import pyarrow as pa

    return pa.table({"age": [20.0], "gender": ["F"], "device": ["tv"], "genres": [["Drama"]], "year": [1990.0]})


def inputs(rows: int, example: tuple[Any, ...]) -> tuple[Any, ...]:
    """Users, one with an empty history among them."""
    generator = torch.Generator().manual_seed(rows)
    mask = torch.rand(rows, LENGTH, generator=generator) < 0.5
    mask[0] = False
    row_dim = example[0].shape[1]
    return (
        torch.randn(rows, row_dim, generator=generator),
        torch.randn(rows, LENGTH, row_dim, generator=generator) * mask[..., None],
        mask,
        torch.rand(rows, LENGTH, generator=generator) * 1e6 * mask,
        {name: values[:1].expand(rows, *values.shape[1:]).contiguous() for name, values in example[4].items()},
    )


@pytest.mark.parametrize(
    ("model", "quick"),
    [
        pytest.param({"history": DecayPooling()}, True, id="decay"),
        pytest.param({"history": Transformer(layers=1)}, True, id="transformer"),
        pytest.param({"history": Gru()}, False, id="gru"),
        pytest.param(
            {"branches": (RowSum(), Mlp(), Fm(), Cin()), "augment": AugmentConfig()}, True, id="branches, dual"
        ),
    ],
)
def test_every_kind_of_tower_answers_as_exported(model: dict[str, Any], quick: bool, tmp_path: Path) -> None:
    path = export(tmp_path, **model)
    exported = torch.export.load(path)
    module, program = exported.module(), load_program(path)
    assert isinstance(program, GraphModule) != quick
    with torch.inference_mode():
        for rows in (1, 2, 7, 64):
            given = inputs(rows, exported.example_inputs[0])
            assert torch.allclose(program(*given), module(*given), rtol=0, atol=1e-6)


def test_a_tower_of_ids_alone_is_quick_too(tmp_path: Path) -> None:
    encoder = Encoder.fit(FeatureSpec(history=None), programs_table(), programs_table())
    towers = Towers(ModelConfig(dim=DIM), encoder)
    export_towers(towers, encoder, DIM, tmp_path / "user.pt2", tmp_path / "item.pt2")
    program = load_program(tmp_path / "user.pt2")
    assert not isinstance(program, GraphModule)
    rows = torch.randn(7, DIM)
    nothing = torch.zeros(7, 0, DIM), torch.zeros(7, 0, dtype=torch.bool), torch.zeros(7, 0)
    with torch.inference_mode():
        expected = torch.export.load(tmp_path / "user.pt2").module()(rows, *nothing, {})
        assert torch.allclose(program(rows, *nothing, {}), expected, rtol=0, atol=1e-6)


def test_a_process_that_is_to_stay_small_reads_the_same_program_elsewhere(tmp_path: Path) -> None:
    path = export(tmp_path)
    given = inputs(7, torch.export.load(path).example_inputs[0])
    assert torch.equal(load_small(path)(*given), load_program(path)(*given))
    (damaged := tmp_path / "damaged.pt2").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"damaged\.pt2: is no exported program, or a damaged one"):
        load_small(damaged)


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (-9, "", "killed by signal 9; is there enough memory"),
        (1, "in read_program\n    IntegrityError: It is damaged\nRuntimeError: no space left", "no space left"),
    ],
)
def test_a_process_that_could_not_read_a_program_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, status: int, said: str, why: str
) -> None:
    ended = subprocess.CompletedProcess((), status, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(UnavailableError, match=rf"user\.pt2: the process that reads it .*{why}"):
        load_small(Path("user.pt2"))
