"""Pagoda's pipelines in Kubeflow Pipelines: upload, run, schedule. Every call can be repeated."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api as api
from kfp.client import ServiceAccountTokenVolumeCredentials
from urllib3.exceptions import HTTPError

from pagoda.errors import ConfigError, UnavailableError
from pipelines.pipeline_package import Package
from pipelines.recurring import RecurringRuns, is_paused
from pipelines.schedule import Schedule

EXPERIMENT = "pagoda"
_DATABASE = """. It keeps pipelines in a database and reads no Pipeline resources: for pipelines.publish=resources \
install its environment env/cert-manager/platform-agnostic-k8s-native, or with several users \
env/cert-manager/platform-agnostic-multi-user-k8s-native"""
_NATIVE = """, or apply the Pipeline resource with this displayName: it reads those in the namespace of {where}"""
# backend/src/apiserver/client_manager/client_manager.go:227
_OWN = "its API server alone, since it has a single user (chart: pipelines.kubeflow.namespace)"
TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class PipelineVersion:
    """An uploaded version of a pipeline."""

    pipeline_id: str
    version_id: str
    name: str


@dataclass(frozen=True, slots=True)
class KubeflowOutcome:
    """What a call did: `created`, `replaced` or `unchanged`, and the id of what is there now."""

    done: str
    id: str


class Kubeflow:
    """Kubeflow Pipelines at one address."""

    def __init__(self, host: str, namespace: str = "") -> None:
        """Connect.

        Args:
            host: Of the API or the UI, with http:// or https://.
            namespace: Where runs are kept, if Kubeflow has several users; ignored otherwise.

        Raises:
            UnavailableError: It does not answer.
        """
        self._host = host
        token = os.environ.get(TOKEN_VARIABLE, "")
        credentials = ServiceAccountTokenVolumeCredentials(path=token) if token and Path(token).exists() else None
        with self._errors(), warnings.catch_warnings(action="ignore"):
            # kfp trusts certifi's list alone, unless it is told; our other clients read the variable themselves.
            trusted = os.environ.get("SSL_CERT_FILE")
            self._client = kfp.Client(host=host, credentials=credentials, ssl_ca_cert=trusted)
            health = self._client.get_kfp_healthz(sleep_duration=1)
        self._namespace = namespace if health.multi_user else ""
        self._store = health.pipeline_store or ""
        if health.multi_user and not namespace:
            raise ConfigError(
                f"{host}: Kubeflow has several users here; say whose namespace the runs go to (--namespace)"
            )

    def upload(self, package: Package) -> tuple[PipelineVersion, KubeflowOutcome]:
        """Make `package` the newest version of its pipeline; nothing happens if it is there already.

        Raises:
            UnavailableError: Kubeflow does not answer or refuses.
        """
        with self._errors(), _file(package) as path:
            pipeline_id = self._pipeline(package.name)
            if pipeline_id is None:
                made = self._client.upload_pipeline(path, package.name, package.description, self._namespace or None)
                pipeline_id = made.pipeline_id
            if version := self._version(pipeline_id, package.version):
                return version, KubeflowOutcome("unchanged", version.version_id)
            new = self._client.upload_pipeline_version(path, package.version, pipeline_id=pipeline_id)
            return _version_of(new), KubeflowOutcome("created", new.pipeline_version_id)

    def run(self, name: str, parameters: Mapping[str, Any], service_account: str = "") -> str:
        """Start a run of the newest version of a pipeline and return its id.

        Raises:
            ConfigError: The pipeline was not uploaded.
            UnavailableError: Kubeflow does not answer or refuses.
        """
        with self._errors():
            version = self._uploaded(name, "")
            run = self._client.run_pipeline(
                self._experiment(),
                name,
                params=dict(parameters),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                service_account=service_account or None,
            )
            return str(run.run_id)

    def schedule(
        self, name: str, schedule: Schedule, parameters: Mapping[str, Any], service_account: str = "", version: str = ""
    ) -> KubeflowOutcome:
        """Have a version of a pipeline run at these times, under the schedule's name.

        A schedule that somebody has paused stays paused. One that is replaced begins nothing more; it is deleted when
        its last run has ended, by this call or by a later one (pipelines/recurring.py says why).

        Args:
            name: Of the pipeline.
            schedule: When.
            parameters: Of each run.
            service_account: Of the steps; empty: Kubeflow's default.
            version: Name of the version; empty: the newest. An installation that went back to an older one names it,
                since that was not uploaded again and so is not the newest.

        Raises:
            ConfigError: The pipeline or this version of it was not uploaded.
            UnavailableError: Kubeflow does not answer or refuses.
        """
        with self._errors():
            chosen = self._uploaded(name, version)
            runs = RecurringRuns(self._client, self._experiment(), schedule.name)
            present = runs.newest_first()
            if present and _is(present[0], chosen, schedule, parameters, service_account):
                runs.retire(present[1:])
                return KubeflowOutcome("unchanged", present[0].recurring_run_id)
            # The new one comes first: after a crash there is one too many, and the next call retires it.
            made = self._client.create_recurring_run(
                runs.experiment,
                schedule.name,
                **schedule.trigger,
                max_concurrency=1,
                no_catchup=True,
                params=dict(parameters),
                pipeline_id=chosen.pipeline_id,
                version_id=chosen.version_id,
                enabled=not (present and is_paused(present[0])),
                service_account=service_account or None,
            )
            runs.retire(present)
            return KubeflowOutcome("replaced" if present else "created", made.recurring_run_id)

    def _pipeline(self, name: str) -> str | None:
        found = self._client.list_pipelines(filter=_named(name), namespace=self._namespace or None).pipelines or []
        return str(found[0].pipeline_id) if found else None

    def _version(self, pipeline_id: str, name: str) -> PipelineVersion | None:
        answer = self._client.list_pipeline_versions(pipeline_id, filter=_named(name))
        return _version_of(answer.pipeline_versions[0]) if answer.pipeline_versions else None

    def _uploaded(self, name: str, version: str) -> PipelineVersion:
        """A version by its name, the newest without one."""
        pipeline_id = self._pipeline(name)
        if pipeline_id is None:
            raise self._missing(f"pipeline {name!r}")
        found = self._version(pipeline_id, version) if version else self._last(pipeline_id)
        if found is None:
            raise self._missing(f"{f'version {version!r}' if version else 'any version'} of pipeline {name!r}")
        return found

    def _last(self, pipeline_id: str) -> PipelineVersion | None:
        answer = self._client.list_pipeline_versions(pipeline_id, page_size=1, sort_by="created_at desc")
        return _version_of(answer.pipeline_versions[0]) if answer.pipeline_versions else None

    def _missing(self, what: str) -> ConfigError:
        """Where this Kubeflow looks, only it knows (2.17.0: backend/src/apiserver/main.go:397, pipeline_store)."""
        hint = _NATIVE.format(where=self._namespace or _OWN) if self._store == "kubernetes" else _DATABASE
        return ConfigError(
            f"{what} is not in Kubeflow at {self._host}; run `pagoda pipelines upload` (chart: pipelines.publish=job)"
            f"{hint}"
        )

    def _experiment(self) -> str:
        made = self._client.create_experiment(EXPERIMENT, "Pagoda's updates", self._namespace or None)
        return str(made.experiment_id)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        # Kubeflow's client prints links; standard output is for what scripts read.
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except api.ApiException as error:
            raise UnavailableError(f"Kubeflow at {self._host} answers {error.status}: {_reason(error)}") from error
        except (HTTPError, TimeoutError) as error:
            raise UnavailableError(f"Kubeflow at {self._host} does not answer: {error}") from error


def _reason(error: api.ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _version_of(version: api.V2beta1PipelineVersion) -> PipelineVersion:
    return PipelineVersion(version.pipeline_id, version.pipeline_version_id, version.display_name)


def _is(
    run: api.V2beta1RecurringRun,
    version: PipelineVersion,
    schedule: Schedule,
    parameters: Mapping[str, Any],
    service_account: str,
) -> bool:
    reference = run.pipeline_version_reference
    return (
        reference is not None
        and (reference.pipeline_id, reference.pipeline_version_id) == (version.pipeline_id, version.version_id)
        and schedule.matches(run.trigger)
        # Kubeflow leaves out a configuration that says nothing (backend/src/apiserver/server/api_converter.go:2330).
        and ((run.runtime_config and run.runtime_config.parameters) or {}) == dict(parameters)
        and int(run.max_concurrency) == 1
        and bool(run.no_catchup)
        and (not service_account or run.service_account == service_account)
    )


@contextlib.contextmanager
def _file(package: Package) -> Iterator[str]:
    """The package as a file, which is what Kubeflow's client uploads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{package.name}.yaml"
        path.write_text(package.text)
        yield str(path)
