"""The calls that Pagoda makes to an MLflow server, and what it says when there is no answer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pagoda.errors import RequestError, UnavailableError

KEY_TAG = "pagoda.key"
"""Tag of a run: the key of the update that it registers."""
_ANSWER_SECONDS = 3.0
_ENVIRONMENT = {
    # Its defaults keep a caller of a dead server waiting for minutes, and talk to its makers and on the terminal.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Server:
    """An MLflow tracking server with its model registry."""

    def __init__(self, uri: str, client: Any = None) -> None:
        self.uri, self._client = uri, client
        self._experiments: dict[str, str] = {}
        for name, value in _ENVIRONMENT.items():  # MLflow reads them when it is imported
            os.environ.setdefault(name, value)

    @property
    def client(self) -> Any:
        """The `mlflow.MlflowClient`."""
        if self._client is None:
            from mlflow import MlflowClient  # takes seconds, and reading versions does not need it

            self._client = MlflowClient(self.uri, self.uri)
        return self._client

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Ask whether the server is there at all, and name it in every error of the block.

        Raises:
            UnavailableError: It does not answer, or fails, or artifacts cannot be stored.
            RequestError: It refuses.
        """
        self._probe()
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
                raise UnavailableError(f"MLflow at {self.uri}: {error.message}") from error
            raise RequestError(f"MLflow at {self.uri} refuses: {error.message}") from error
        except OSError as error:
            raise UnavailableError(f"MLflow at {self.uri}: cannot store artifacts ({error})") from error

    def experiment(self, model: str) -> str:
        """ID of the experiment that holds the model's runs; made, with the registered model, if there is none."""
        if model not in self._experiments:
            found = self.client.get_experiment_by_name(model)
            if found is None:
                self.create_model(model)
                found = self.client.get_experiment_by_name(model)
            self._experiments[model] = str(found.experiment_id)
        return self._experiments[model]

    def create_model(self, name: str) -> None:
        """Create the registered model and the experiment of its runs, unless they exist."""
        from mlflow.exceptions import MlflowException

        for create in (self.client.create_registered_model, self.client.create_experiment):
            try:
                create(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def runs(self, model: str, key: str) -> list[str]:
        """IDs of the runs that register `key`, oldest first."""
        found = self.client.search_runs(
            [self.experiment(model)], f"tags.`{KEY_TAG}` = '{key}'", order_by=["start_time ASC"]
        )
        return [run.info.run_id for run in found]

    def versions(self, model: str, run: str) -> list[Any]:
        """The model versions that a run made, oldest first."""
        found = self.client.search_model_versions(f"run_id = '{run}'")
        return sorted((v for v in found if v.name == model), key=lambda version: int(version.version))

    def has_version(self, model: str, version: int) -> bool:
        """Whether the server has a model version."""
        return _found(lambda: self.client.get_model_version(model, str(version)))

    def has_run(self, model: str, run: str) -> bool:
        """Whether a run is one of the model's on this server."""
        experiment = self.experiment(model)
        return _found(lambda: self.client.get_run(run)) and self.client.get_run(run).info.experiment_id == experiment

    def highest(self, model: str) -> int:
        """The highest number of the model's versions."""
        found = self.client.search_model_versions(f"name = '{model}'", max_results=1, order_by=["version_number DESC"])
        return max((int(version.version) for version in found), default=0)

    def revive(self, run: str) -> bool:
        """Bring a run back that somebody deleted in the UI; False when it is gone for good."""
        from mlflow.exceptions import MlflowException

        try:
            if self.client.get_run(run).info.lifecycle_stage == "deleted":
                self.client.restore_run(run)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def discard_run(self, run: str) -> None:
        """Delete a run; one that somebody else has deleted meanwhile is fine."""
        with _already_gone():
            self.client.delete_run(run)

    def discard_version(self, model: str, version: str) -> None:
        """Delete a model version likewise."""
        with _already_gone():
            self.client.delete_model_version(model, version)

    def create_run(self, model: str, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Begin the run of an update, and return its ID."""
        made = self.client.create_run(self.experiment(model), tags={KEY_TAG: key, **tags}, run_name=name)
        return str(made.info.run_id)

    def measure(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics of a run as of a step of it, for a curve over steps."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(
            run, metrics=[Metric(_allowed(name), value, now, step) for name, value in metrics.items()]
        )

    def describe(
        self, run: str, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Log params, metrics and tags of a run. MLflow refuses to change a param: one that is there already stays."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        measured = [Metric(_allowed(name), value, now, 0) for name, value in metrics.items()]
        # Another writer may log the same params between the look and the write.
        for attempt in Retrying(
            retry=retry_if_exception_type(MlflowException), stop=stop_after_attempt(4), reraise=True
        ):
            with attempt:
                known = self.client.get_run(run).data.params
                named = {_allowed(name): str(value) for name, value in params.items()}
                new = [Param(name, value) for name, value in named.items() if name not in known]
                tagged = [RunTag(name, value) for name, value in tags.items()]
                self.client.log_batch(run, params=new, metrics=measured, tags=tagged)

    def _probe(self) -> None:
        if not self.uri.startswith("http"):
            return
        try:
            httpx.get(f"{self.uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError(f"MLflow at {self.uri} does not answer ({error}); is it up?") from error


def _allowed(name: str) -> str:
    """`recall@50` as `recall_at_50`: MLflow's names take few characters."""
    return re.sub(r"[^\w.\- :/]", "_", name.replace("@", "_at_"))


def _found(get: Callable[[], object]) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        get()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


@contextmanager
def _already_gone() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
