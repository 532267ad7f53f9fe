"""Reading exported programs (.pt2) such that nothing in the file can run.

`torch.export.load` of PyTorch 2.13 unpickles weights, constants and examples whenever a program asks for it, falls back
to an older format that does, and loads native libraries (torch/export/pt2_archive/_package.py, _load_state_dict,
_load_constants and _load_aoti; torch/_export/serde/serialize.py, deserialize_torch_artifact). It also evaluates text of
the graph: sizes by sympy's `sympify`, guards and names as Python source (_export/serde/serialize.py, _parse_sym_expr;
export/_unlift.py, _convert_guards_code_to_fn). What Pagoda exports needs none of that but plain names and sizes, so
anything else is refused before PyTorch sees it.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import torch
from torch.export import ExportedProgram

from pagoda.errors import IntegrityError

_MODEL, _EXAMPLE = "models/model.json", "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_RECORD = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|data/weights/weight_\d+|data/constants/tensor_\d+"
    rf"|{'|'.join(map(re.escape, (_MODEL, _EXAMPLE, *_CONFIGS)))}"
)
_NAME = re.compile(r"\w*")
"""Of what becomes Python source: inputs and results."""
_NAMES = ("name", "as_name", "forward_arg_names")
_LABEL = re.compile(r"""[^"'\\(){}\[\]=;#\x00-\x1f]*""")
"""Of what PyTorch quotes in Python source: weights are named after features, which may be called `time of day`."""
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)"
)
_REFUSED = ("as_graph", "as_graphs", "as_custom_obj")
_TREES = ("builtins.tuple", "builtins.list", "builtins.dict", None)
_FUNCTIONS = {"Symbol", "Integer", "Mul", "Add", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv"}
_NODES = (
    *(ast.Expression, ast.Constant, ast.Load, ast.keyword, ast.Compare, ast.cmpop, ast.BoolOp, ast.boolop),
    *(ast.BinOp, ast.operator, ast.UnaryOp, ast.unaryop),
)


def import_reader() -> None:
    """Import now what `read_program` imports when it is first called."""
    from torch.export.pt2_archive import _package  # noqa: F401


def read_program(path: Path) -> ExportedProgram:
    """Read a program that `torch.export.save` wrote.

    Raises:
        IntegrityError: It is missing or damaged, or holds something that loading would run.
    """
    # Here, since it brings PyTorch's compiler and sympy: 4 s of processor time for each process that reads no program.
    from torch.export.pt2_archive._package import load_pt2

    try:
        content = path.read_bytes()
        _check(content, path)
        return load_pt2(io.BytesIO(content)).exported_programs["model"]
    except IntegrityError:
        raise
    except Exception as error:  # PyTorch meets damage with errors of every kind.
        raise IntegrityError(f"{path}: is no exported program, or a damaged one ({error})") from error


def _check(content: bytes, path: Path) -> None:
    from torch.export.pt2_archive import PT2ArchiveReader

    # PyTorch's own reader: another one may find another file by the same name.
    archive = PT2ArchiveReader(io.BytesIO(content))
    for name in archive.get_file_names():
        _demand(_RECORD.fullmatch(name), path, f"a file {name!r}")
    for name in _CONFIGS:
        for weight in orjson.loads(archive.read_bytes(name))["config"].values():
            _demand(weight.get("use_pickle") is False, path, f"a pickled object in {name}")
    _check_example(archive.read_bytes(_EXAMPLE), path)
    for what, found in _texts(orjson.loads(archive.read_bytes(_MODEL))):
        _demand(_harmless(what, found), path, f"{what} {found!r:.200}")


def _check_example(content: bytes, path: Path) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        raise IntegrityError(f"{path}: refused, its example is more than tensors ({error})") from error


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All texts of the graph, with what they are; but for `metadata`, which only describes where nodes came from."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield "name", name
            if name in _REFUSED:
                yield name, inner
            elif name != "metadata":
                yield from _texts(inner, "operator" if name == "target" and "inputs" in value else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str):
        yield key, value


def _harmless(what: str, found: Any) -> bool:
    if what in _REFUSED:
        return found is None
    if what in ("operator", "as_operator"):
        return _OPERATOR.fullmatch(found) is not None
    if what in ("expr_str", "guards_code"):
        return all(_is_arithmetic(node) for node in ast.walk(ast.parse(found, mode="eval")))
    if what in ("in_spec", "out_spec"):
        return _is_tree(orjson.loads(found)[1])
    return (_NAME if what in _NAMES else _LABEL).fullmatch(found) is not None


def _is_arithmetic(node: ast.AST) -> bool:
    """Whether a part of an expression is one of sizes: `Mul(Integer(2), Symbol('s0'))`, `L['rows'].size()[0] == 3`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name | ast.Attribute)
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or node.id == "L"
    if isinstance(node, ast.Attribute):
        return node.attr == "size"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _LABEL.fullmatch(node.value) is not None
    return isinstance(node, (*_NODES, ast.Subscript))


def _is_tree(spec: dict[str, Any]) -> bool:
    context = orjson.loads(spec["context"]) if spec["context"] else None
    names = context is None or (isinstance(context, list) and all(isinstance(name, str) for name in context))
    return spec["type"] in _TREES and names and all(map(_is_tree, spec["children_spec"]))


def _demand(condition: object, path: Path, what: str) -> None:
    if not condition:
        raise IntegrityError(
            f"{path}: refused, for it holds {what}, which an exported tower does not need and could run"
        )
