"""Running the full update pipeline in a process of its own, so that it can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from pagoda.settings import load_settings
from pipelines.full_update import full_update
from pipelines.local import run_locally

home, dataset, end, config, shards = sys.argv[1:]
arguments = {"dataset": dataset, "window_end": end, "config": config, "release": "now", "export_shards": int(shards)}
print(run_locally(full_update, load_settings(Path(home)), arguments))
"""
CONFIG = "{bootstrap_epochs: 1, model: {dim: 16}, batch_size: 512}"
_PATIENCE_SECONDS = 900  # Ten processes that each import torch or MLflow, beside four other test workers.


@dataclass(frozen=True)
class Run:
    """One run of the pipeline up to `end`."""

    home: Path
    dataset: Path
    end: datetime
    shards: int = 1
    """Parts in which the item vectors are exported."""

    def finish(self) -> str:
        """Run to the end and return the generation that it says it published."""
        process = self._start()
        output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
        assert process.returncode == 0, output
        return output.strip().splitlines()[-1]

    def kill_in(self, step: str) -> None:
        """Run until `step` is at work, then kill the pipeline and the step at once."""
        process = self.reach(step)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def reach(self, step: str) -> subprocess.Popen[str]:
        """Run until `step` is at work."""
        self._transcript.unlink(missing_ok=True)
        process = self._start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while f"Executing task '{step}'" not in self._printed():
            assert process.poll() is None, self._printed()
            assert time.monotonic() < deadline, f"step {step} was not reached:\n{self._printed()}"
            time.sleep(0.02)
        return process

    @property
    def _transcript(self) -> Path:
        return self.home / "logs" / "full-update.log"

    def _printed(self) -> str:
        return self._transcript.read_text() if self._transcript.exists() else ""

    def _start(self) -> subprocess.Popen[str]:
        arguments = [str(self.home), str(self.dataset), self.end.isoformat(), CONFIG, str(self.shards)]
        command = [sys.executable, "-c", SCRIPT, *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
