"""The pipelines, built when a test asks for one and not when pytest collects.

kfp looks through all loaded modules for every frame of the stack, at each step of a pipeline (`inspect.stack()` in
kfp/dsl/pipeline_task.py of 2.17): for one of them 0.3 s in a script, 4 s after pytest has collected, in each of its
workers.
"""

from __future__ import annotations

from functools import cache

from kfp.dsl.graph_component import GraphComponent

from pipelines.compile import pipelines_here


@cache
def pipelines() -> dict[str, GraphComponent]:
    """All of them, by name."""
    return dict(sorted(pipelines_here().items()))
