"""One row of the leaderboard; a module of its own, so that a fresh process can import it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.code_checksum import LEARNING, code_checksum
from benchmarks.kept_run import KeptRun, UserValues
from benchmarks.leaderboard.baselines import LearnedLog
from benchmarks.leaderboard.models import learn
from benchmarks.leaderboard.questions import ask_users
from benchmarks.leaderboard.splits import SetSplit
from pagoda.evaluation.metrics import coverage, thirds
from pagoda.evaluation.relevance import find, tail_share

ACCURACY = ("hr@10", "ndcg@10", "recall@20", "recall@50")
SHOWN_AT = 10
SHOWN = (f"coverage@{SHOWN_AT}", f"tail@{SHOWN_AT}")


@dataclass(frozen=True)
class RowJob:
    """A model on a split of a set, with a seed."""

    set_name: str
    folder: Path
    """Of the set's splits."""
    split: SetSplit
    model: str
    seed: int

    @property
    def kept_at(self) -> Path:
        """Where the row is kept, in a folder of the code that it follows from."""
        return self.folder / "rows" / f"{self.split.name}-{self.model}-{self.seed}.npz"


def code_of_rows() -> str:
    """Checksum of all the code that a row follows from."""
    own = Path(__file__).parent
    further = [own / f"{name}.py" for name in ("sets", "splits", "questions", "baselines", "models", "job")]
    sized = [own.parent / "quality" / f"{name}.py" for name in ("protocol", "settings")]
    return code_checksum(LEARNING, (*further, *sized))


def one(job: RowJob) -> tuple[RowJob, KeptRun]:
    """Learn and ask, and keep what was found."""
    torch.set_num_threads(1)
    asked, begin = ask_users(job.folder, job.split), time.process_time()
    with tempfile.TemporaryDirectory(prefix="leaderboard-") as folder:
        scorer = learn(job.model, job.seed, job.split, asked, Path(folder) / "version")
        found = find(scorer, asked.relevant, asked.had, SHOWN_AT)
    clicks = LearnedLog(asked, job.split.learned, job.seed).clicks
    facts = {
        f"coverage@{SHOWN_AT}": coverage(found.shown > 0),
        f"tail@{SHOWN_AT}": tail_share(found.shown, thirds(clicks)),
        "cpu_seconds": time.process_time() - begin,
    }
    run = KeptRun({"test": UserValues(asked.rows.users, found.metrics(ACCURACY))}, facts)
    run.write(job.kept_at)
    return job, run
