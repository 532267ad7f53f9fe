"""`python -m pipelines.compile`: write every pipeline of this package as YAML for Kubeflow."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from kfp.compiler import Compiler
from kfp.dsl.graph_component import GraphComponent

import pipelines

COMPILED = Path(__file__).parent / "compiled"


def pipelines_here() -> dict[str, GraphComponent]:
    """The pipelines defined in this package, by name."""
    modules = (importlib.import_module(f"pipelines.{found.name}") for found in pkgutil.iter_modules(pipelines.__path__))
    found = (value for module in modules for value in vars(module).values() if isinstance(value, GraphComponent))
    return {pipeline.name: pipeline for pipeline in found}


def compile_all(folder: Path = COMPILED) -> list[Path]:
    """Write `folder`/NAME.yaml for every pipeline, remove what is no pipeline's any more, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, pipeline in sorted(pipelines_here().items()):
        written.append(folder / f"{name}.yaml")
        Compiler().compile(pipeline, str(written[-1]))
    for stale in set(folder.glob("*.yaml")) - set(written):
        stale.unlink()
    return written


if __name__ == "__main__":
    for path in compile_all():
        sys.stdout.write(f"{path}\n")
