"""The Spark session of an import, and what a failure of its tasks is in words of people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pagoda.errors import DataError

_CONFIGURED = {"SPARK_CONF_DIR", "SPARK_HOME", "PYSPARK_SUBMIT_ARGS", "SPARK_REMOTE"}
_ALONE = (
    "--conf spark.ui.enabled=false --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 "
    "pyspark-shell"
)
"""On one machine nobody else is to reach it: Spark would listen at every address, and its page asks for no token."""


def open_session() -> SparkSession:
    """A session by Spark's own configuration (`SPARK_CONF_DIR`, `PYSPARK_SUBMIT_ARGS`); without any, on this machine.

    It shares the context and the catalogue of a session that runs already, and none of its settings.
    """
    if _CONFIGURED.isdisjoint(os.environ):
        os.environ["PYSPARK_SUBMIT_ARGS"] = _ALONE
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    running = SparkSession.builder.appName("pagoda data import").getOrCreate()
    session = running.newSession()
    # Features may differ by case alone.
    session.conf.set("spark.sql.caseSensitive", "true")
    return session


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn a failure of Spark's into a DataError that names the dataset; of a task's stack, its last line counts."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\tat ")]
        why = next((line for line in reversed(lines) if "Error: " in line), lines[0] if lines else type(error).__name__)
        raise DataError(f"{path}: Spark's job failed ({why}); nothing was kept; its log says more") from error
