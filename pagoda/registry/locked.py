"""MLflow's application behind a password: `mlflow server --app-name pagoda` (an entry point of the group `mlflow.app`).

MLflow's own `basic-auth` is users and permissions in a second database (`database_uri` of mlflow/server/auth/
basic_auth.ini, 3.17), to be kept beside the first one. One password for all parts of Pagoda needs none.
"""

from __future__ import annotations

import os

from pagoda.access.password_door import PasswordDoor
from pagoda.errors import ConfigError

PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - the variable that MLflow's clients read, too
HEALTH = "/health"


def locked() -> PasswordDoor:
    """The application; called in each process of the server.

    Raises:
        ConfigError: There is no password.
    """
    password = os.environ.get(PASSWORD, "")
    if not password:
        raise ConfigError(f"{PASSWORD} is not set: the server would be open to everybody who reaches it")
    # Imported here: it connects to the database.
    from mlflow.server.fastapi_app import app

    # Which names it may be called by is the server's own option, --allowed-hosts.
    return PasswordDoor(app, password, open_paths=[HEALTH], hosts=[])
