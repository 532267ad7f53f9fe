"""Another user of this machine, as whom attacks are run."""

from __future__ import annotations

import os
import subprocess

import pytest

NOBODY = "nobody"


def as_nobody(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script as the user `nobody`; skips the test where only root could."""
    if os.geteuid() != 0:
        pytest.skip("running as another user needs root")
    command = ["setpriv", "--reuid", NOBODY, "--regid", "nogroup", "--clear-groups", "/usr/bin/python3", "-c", script]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd="/", check=False)
