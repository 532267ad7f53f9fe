"""Becomes a service's process: `python launch.py service.json`. Stands alone, so that a start costs milliseconds."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Have the kernel end this process when its parent dies, then run the command in its place."""
    service = json.loads(Path(sys.argv[1]).read_bytes())
    _end_leftovers({f"{name}={value}".encode() for name, value in service["marks"].items()})
    if service["bound"] and sys.platform == "linux":
        parent = os.getppid()
        # The setting survives exec. Without it, a supervisor killed with -9 would leave its services behind.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the parent process died before this one started")
    # Other users of this machine read nothing of what it writes.
    os.umask(0o077)
    os.chdir(service["folder"])
    command = service["command"]
    os.execvpe(command[0], command, {**os.environ, **service["environment"], **service["marks"]})  # noqa: S606 - becoming the service is the point


def _end_leftovers(marks: set[bytes]) -> None:
    """Kill what an earlier process of this service left: TorchServe's workers outlive a killed server by 35 s."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marks <= set((folder / "environ").read_bytes().split(b"\0")):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue


if __name__ == "__main__":
    main()
