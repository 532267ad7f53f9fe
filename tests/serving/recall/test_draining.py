"""Services that come and go behind one address lose no request."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from pagoda.load_test.outcomes import ANSWERED, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.sending import send
from tests.serving.callers import TOKEN

ROOT = Path(__file__).parents[3]


def start(listener: socket.socket) -> subprocess.Popen[str]:
    """One more service at the shared socket, once it answers."""
    command = [sys.executable, "-m", "tests.serving.draining", str(listener.fileno()), "0.5"]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_no_request_is_lost_while_services_are_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        first = start(listener)
        outcomes, ending = Outcomes(), threading.Event()
        plan = LoadPlan(users=range(50), rate=100, seconds=500)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        load = threading.Thread(
            target=lambda: send(
                plan, url, connections=32, timeout_seconds=60, token=TOKEN, outcomes=outcomes, ending=ending
            )
        )
        load.start()
        second = start(listener)
        time.sleep(0.5)  # both answer
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        answered = len(outcomes.kinds)
        while len(outcomes.kinds) < answered + 50:
            time.sleep(0.05)
        ending.set()
        load.join()
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
    assert set(outcomes.kinds) == {ANSWERED}
    assert len(outcomes.kinds) > 100
