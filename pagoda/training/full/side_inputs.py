"""What a training learns from beside the dataset: what something else has made."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pagoda.storage.checksums import checksum_file
from pagoda.training.distillation.score_file import Teacher
from pagoda.version_files.full import FullVersionFiles


class SideInputs(NamedTuple):
    """Each is needed where the configuration asks for it, and refused where it does not."""

    mined: Path | None = None
    """Hard negatives that `pagoda mine` wrote; needed where `negatives.mined` is not 0."""
    teacher: Teacher | None = None
    """A ranker's scores; needed where `distillation` is declared."""
    relevance: FullVersionFiles | None = None
    """A full version that says what is irrelevant, where `negatives.bad` is not 0; None: the parent."""

    def checksums(self) -> list[str]:
        """By which a killed training knows all of it again."""
        scores = [checksum_file(self.teacher.file), self.teacher.scale] if self.teacher else []
        irrelevant = [self.relevance.lineage.to_json()] if self.relevance else []
        return [checksum_file(self.mined) if self.mined else "", *scores, *irrelevant]


NOTHING_BESIDE = SideInputs()
