"""MLflow's tracking server in one process: `python -m pagoda.standalone.mlflow_server`.

`mlflow server` imports all of MLflow twice, once to start the process that serves: 8 s and 260 MB more.
"""

from __future__ import annotations

import os

import typer

# MLflow attaches its server's parts only if uvicorn is there first.
import uvicorn
from mlflow.server import constants
from mlflow.server.handlers import initialize_backend_stores


def serve(port: int, store: str, artifacts: str) -> None:
    """Serve on loopback. Clients write artifacts themselves, so no proxy for them is offered.

    Args:
        port: To listen on.
        store: SQLAlchemy URL of the database.
        artifacts: URL of the artifacts' root folder.
    """
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    initialize_backend_stores(store, store, artifacts)
    # Imported by name after the environment is set, since it reads it.
    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
