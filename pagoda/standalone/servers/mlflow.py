"""MLflow's tracking server in one process: `python -m pagoda.standalone.servers.mlflow`.

`mlflow server` imports all of MLflow twice, once to start the process that serves: 8 s and 260 MB more.
"""

from __future__ import annotations

import os
from pathlib import Path

import typer

# MLflow attaches its server's parts only if uvicorn is there first.
import uvicorn
from mlflow.server import constants
from mlflow.server.handlers import initialize_backend_stores

from pagoda.access.password_door import PasswordDoor
from pagoda.access.secret_files import read_secret
from pagoda.standalone.ports import LOOPBACK


def serve(port: int, store: str, artifacts: str, secret: Path) -> None:
    """Serve on loopback, behind a password. Clients write artifacts themselves, so no proxy for them is offered.

    The password is ours: MLflow's own takes a second database and another way to start.

    Args:
        port: To listen on.
        store: SQLAlchemy URL of the database.
        artifacts: URL of the artifacts' root folder.
        secret: File with the password.
    """
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    initialize_backend_stores(store, store, artifacts)
    # Imported after the environment is set, since it reads it.
    from mlflow.server.fastapi_app import app

    door = PasswordDoor(app, read_secret(secret), open_paths=["/health"], hosts=[LOOPBACK, "localhost"])
    uvicorn.run(door, host=LOOPBACK, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
