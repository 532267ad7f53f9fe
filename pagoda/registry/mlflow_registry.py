"""Versions on an MLflow server: a run with metrics, params and files, and a model version with tags.

MLflow numbers runs and versions itself and knows no "create if absent", so the release log decides: first which run
belongs to a key (`registering`), at last which version does (`registered`). What losers and killed writers left is
deleted by whoever registers the key next.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any
from urllib.parse import unquote

from pagoda.append_log.records import Draft
from pagoda.data.window import Window
from pagoda.errors import ConfigError, IntegrityError
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionDraft, VersionRecord
from pagoda.registry.logged_registry import Contents, LoggedRegistry, Stored
from pagoda.registry.mlflow_client import Server
from pagoda.storage.atomic import sync_tree
from pagoda.storage.copies import children, delete, local_path

logger = logging.getLogger(__name__)

_VERSION, _STATE = "version", "state"


class MlflowRegistry(LoggedRegistry):
    """Versions of the registered model `model` on the MLflow server at `uri`."""

    def __init__(self, uri: str, model: str, log: ReleaseLog, *, client: Any = None) -> None:
        """Open the registry; the server is asked only when something is stored.

        Args:
            uri: Tracking URI of the server.
            model: Name of the registered model, and of the experiment that holds its runs.
            log: The release log.
            client: An `mlflow.MlflowClient`, made when it is first needed if left out.
        """
        super().__init__(log)
        self._uri, self._model = uri, model
        self._server = Server(uri, client)

    def set_alias(self, name: str, version: int) -> None:
        """See `Registry.set_alias`."""
        with self._server.answering():
            self._server.client.set_registered_model_alias(self._model, name, str(version))

    def delete_artifacts(self, version: int) -> None:
        """See `Registry.delete_artifacts`; MLflow's pages say that they are gone."""
        super().delete_artifacts(version)
        if not self.get(version).run:
            return
        with self._server.answering():
            self._server.client.set_model_version_tag(self._model, str(version), "pruned", "true")

    def _store(self, draft: VersionDraft, contents: Contents) -> Stored:
        with self._server.answering():
            self._ensure_model()
            run = self._claim_run(draft)
            place = _readable(self._server.client.get_run(run).info.artifact_uri, self._uri)
            stored = self._adopt(run, draft, contents, place)
            if stored is None:
                # A run that began with training knows no lineage yet.
                self._server.describe(run, draft.params, draft.metrics, _lineage(draft))
                stored = self._create_version(run, draft, contents, self._upload(run, draft, place), place)
        if stored.version in self.log.state().versions:
            raise IntegrityError(
                f"MLflow at {self._uri} gave {draft.key} the number {stored.version}, which the release log knows as "
                "another version: this server's database and this log do not belong together"
            )
        return stored

    def _ensure_model(self) -> None:
        """The registered model; one that somebody deleted is made again, with the versions that the log knows.

        Without them MLflow would begin anew at 1, and give a number twice.
        """
        known = self.log.state().versions
        latest = max((number for number, record in known.items() if record.run), default=0)
        if not latest:
            if not known:
                self._server.create_model(self._model)
            return
        if self._server.has_version(self._model, latest) or not self._server.has_run(self._model, known[latest].run):
            return
        logger.warning("MLflow has lost versions of %s: they are made again from the release log", self._model)
        self._server.create_model(self._model)
        for number in range(self._server.highest(self._model) + 1, latest + 1):
            record = known.get(number)
            real = record is not None and record.run
            of = record if record is not None and real else known[latest]
            tags = {"key": of.key, "update": of.update, "checksum": of.checksum} if real else {"lost": "true"}
            self._server.client.create_model_version(self._model, of.uri, of.run, tags=tags, await_creation_for=None)

    def _settle(self, record: VersionRecord) -> None:
        if not record.run:
            return  # Registered before there was a server: its files have other neighbours.
        with self._server.answering():
            for run in self._server.runs(self._model, record.key):
                if run != record.run:
                    self._server.discard_run(run)
            for version in self._server.versions(self._model, record.run):
                if int(version.version) != record.version:
                    self._server.discard_version(self._model, version.version)
            place, attempt = record.uri.rsplit("/", 2)[:2]
            for other in children(place):
                if other != attempt:
                    delete(f"{place}/{other}")
            if self._server.client.get_run(record.run).info.status != "FINISHED":
                self._server.client.set_terminated(record.run)

    def _claim_run(self, draft: VersionDraft) -> str:
        """The one run of this key; of several writers' runs, the one that the log names."""
        claimed = self.log.state().runs.get(draft.key)
        if claimed and self._server.revive(claimed):
            return claimed
        run = next(iter(self._server.runs(self._model, draft.key)), None) or self._server.create_run(
            self._model, draft.key, run_name(draft.update, draft.window), _lineage(draft)
        )

        def decide(state: ReleaseState) -> Draft | None:
            if state.runs.get(draft.key) != claimed:
                return None
            return Draft(kind="registering", body={"key": draft.key, "run": run})

        self.log.commit(decide)
        return self.log.state().runs[draft.key]

    def _upload(self, run: str, draft: VersionDraft, place: str) -> str:
        """Copy both folders to a name of this attempt's own, so that a loser never touches the winner's files."""
        attempt = uuid.uuid4().hex[:8]
        self._server.client.log_artifacts(run, str(draft.folder), f"{attempt}/{_VERSION}")
        if draft.state_folder:
            self._server.client.log_artifacts(run, str(draft.state_folder), f"{attempt}/{_STATE}")
        if path := local_path(place):
            sync_tree(path / attempt)
        return attempt

    def _create_version(self, run: str, draft: VersionDraft, contents: Contents, attempt: str, place: str) -> Stored:
        tags = {**_lineage(draft), "checksum": contents.checksum, "state_checksum": contents.state_checksum}
        if contents.segment:
            tags["rows"] = str(contents.segment.rows)
        source = f"{place}/{attempt}/{_VERSION}"
        created = self._server.client.create_model_version(self._model, source, run, tags=tags, await_creation_for=None)
        return _stored(created, draft)

    def _adopt(self, run: str, draft: VersionDraft, contents: Contents, place: str) -> Stored | None:
        """The version that a killed writer created and did not record, if it holds just this."""
        wanted = (contents.checksum, contents.state_checksum)
        for version in self._server.versions(self._model, run):
            found = (version.tags.get("checksum"), version.tags.get("state_checksum"))
            if found == wanted and version.source.startswith(f"{place}/"):
                return _stored(version, draft)
        return None


def run_name(update: str, window: Window) -> str:
    """What MLflow's pages call the run of an update."""
    return f"{update} {window.key}"


def _lineage(draft: VersionDraft) -> dict[str, str]:
    """Tags that say what a version is made from, for the pages of MLflow."""
    numbers = {name: str(number) for name, number in draft.numbers.items()}
    return {"key": draft.key, "update": draft.update, "window": draft.window.key, **numbers, **draft.tags}


def _readable(uri: str, server: str) -> str:
    """Refuse artifacts that only the server can read: tower hosts and KServe know no such URI."""
    if uri.startswith("mlflow-artifacts:"):
        raise ConfigError(
            f"MLflow at {server} hands artifacts out itself ({uri}): start it with --no-serve-artifacts and "
            "--default-artifact-root set to a folder or a bucket that serving can read"
        )
    path = local_path(uri)
    if path is None:
        return uri
    # MLflow writes a URL of a file in its encoded form, `%20` for a space; the files themselves lie at the plain path.
    return unquote(str(path)) if "://" in uri else str(path)


def _stored(version: Any, draft: VersionDraft) -> Stored:
    attempt = version.source.rsplit("/", 1)[0]
    state = f"{attempt}/{_STATE}" if draft.state_folder else None
    return Stored(uri=version.source, state_uri=state, version=int(version.version), run=version.run_id)
