"""A crafted program runs nothing: whatever would is refused before PyTorch reads it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pagoda.config.model import DecayPooling, Gru, HistoryConfig, MeanPooling, ModelConfig, Transformer
from pagoda.data.spec import Categorical, FeatureSpec, History, MultiValued
from pagoda.errors import IntegrityError
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.program_file import read_program
from pagoda.model.towers.towers import Towers

DIM = 8
Parts = dict[str, bytes]


def export(folder: Path, history: HistoryConfig) -> tuple[Path, Path]:
    features = (
        Categorical(name="gender", tower="user"),
        Categorical(name="time of day", tower="user"),
        MultiValued(name="genres", tower="item"),
    )
    spec = FeatureSpec(history=History(length=5), features=features)
    users = pa.table({"gender": ["F"], "time of day": ["noon"]})
    encoder = Encoder.fit(spec, users, pa.table({"genres": [["Drama"]]}))
    towers = Towers(ModelConfig(dim=DIM, feature_dim=4, history=history), encoder)
    paths = folder / "user.pt2", folder / "item.pt2"
    export_towers(towers, encoder, DIM, *paths)
    return paths


@pytest.mark.parametrize("history", [DecayPooling(), MeanPooling(), Transformer(layers=1), Gru()], ids=lambda h: h.kind)
def test_what_is_exported_is_read_back(tmp_path: Path, history: HistoryConfig) -> None:
    for path in export(tmp_path, history):
        read, expected = read_program(path), torch.export.load(path)
        example = expected.example_inputs[0]
        torch.testing.assert_close(read.module()(*example), expected.module()(*example), rtol=0, atol=0)


@pytest.fixture(scope="module")
def user_program(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The parts of a whole program."""
    with zipfile.ZipFile(export(tmp_path_factory.mktemp("program"), DecayPooling())[0]) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled(trap: Trap) -> bytes:
    buffer = io.BytesIO()
    torch.save((trap,), buffer, pickle_module=pickle)
    return buffer.getvalue()


def in_weights(parts: Parts, trap: Trap) -> None:
    config = json.loads(parts["data/weights/model_weights_config.json"])
    first = next(iter(config["config"].values()))
    first["use_pickle"] = True
    parts[f"data/weights/{first['path_name']}"] = pickled(trap)
    parts["data/weights/model_weights_config.json"] = json.dumps(config).encode()


def in_old_weights(parts: Parts, trap: Trap) -> None:
    parts["data/weights/model.pt"] = pickled(trap)


def in_old_constants(parts: Parts, trap: Trap) -> None:
    parts["data/constants/model.pt"] = pickled(trap)


def in_the_example(parts: Parts, trap: Trap) -> None:
    parts["data/sample_inputs/model.pt"] = pickled(trap)


def in_a_constant(parts: Parts, trap: Trap) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    parts["data/constants/model_constants_config.json"] = json.dumps({"config": {"c": entry}}).encode()
    parts["data/constants/opaque_obj_0"] = pickle.dumps(trap)


def in_a_library(parts: Parts, trap: Trap) -> None:
    parts["data/aotinductor/model/model.so"] = b"\x7fELF"


def replaced(key: str, text: str) -> Callable[[Parts, Trap], None]:
    """Put Python into the first text of a kind."""

    def craft(parts: Parts, trap: Trap) -> None:
        def change(value: Any) -> bool:
            if isinstance(value, dict):
                if key in value:
                    evil = text.format(path=str(trap.path))
                    value[key] = [evil] if isinstance(value[key], list) else evil
                    return True
                value = list(value.values())
            return isinstance(value, list) and any(change(inner) for inner in value)

        document = json.loads(parts["models/model.json"])
        assert change(document)
        parts["models/model.json"] = json.dumps(document).encode()

    return craft


CRAFTED = {
    "weights": in_weights,
    "weights of an older format": in_old_weights,
    "constants of an older format": in_old_constants,
    "example": in_the_example,
    "constant": in_a_constant,
    "native library": in_a_library,
    "size": replaced("expr_str", "open('{path}', 'w')"),
    "size without a quote": replaced("expr_str", "exec(chr(49))"),
    "guard": replaced("guards_code", "open('{path}', 'w')"),
    "guard that ends its message": replaced("guards_code", 'L[\'a"); open("{path}", "w"); ("\'].size()[0] == 1'),
    "operator": replaced("target", "torch.os.system"),
    "name of an input": replaced("name", "x=open('{path}', 'w')"),
    "name of a weight": replaced("parameter_name", 'x", open("{path}", "w"), "'),
    "argument": replaced("forward_arg_names", "x=open('{path}', 'w')"),
    "tree": replaced("in_spec", '[1, {{"type": "collections.defaultdict", "context": "{{}}", "children_spec": []}}]'),
}


@pytest.mark.parametrize("craft", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_program_is_refused_and_runs_nothing(
    tmp_path: Path, user_program: Parts, craft: Callable[[Parts, Trap], None]
) -> None:
    path, trap, parts = tmp_path / "user.pt2", Trap(tmp_path / "ran"), dict(user_program)
    craft(parts, trap)
    write(path, parts)
    with pytest.raises(IntegrityError, match=r"user\.pt2: refused"):
        read_program(path).module()
    assert not trap.path.exists()


def test_a_program_of_an_older_format_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "user.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", pickled(Trap(tmp_path / "ran")))
        archive.writestr("serialized_exported_program.json", b"{}")
    with pytest.raises(IntegrityError, match="is no exported program"):
        read_program(path)
    assert not (tmp_path / "ran").exists()


def write(path: Path, parts: Parts) -> None:
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, content in parts.items():
        if name not in (".data/version", ".data/serialization_id", "version", "byteorder"):
            writer.write_record(name, content, len(content))
    writer.write_record("byteorder", b"little", 6)
    writer.write_end_of_file()
