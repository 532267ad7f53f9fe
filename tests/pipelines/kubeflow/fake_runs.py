"""Kubeflow's runs and recurring runs, with the Workflows behind them, as kubeflow/pipelines 2.17.0 keeps them.

Paths are below backend/src of that version, main of 2026-08-21 (7b70c7b) being the same where nothing is said.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api as api

Row = dict[str, Any]
_PAGE = 2
"""Small pages, whatever is asked."""


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class FakeRuns:
    """What the server knows of runs, and what became of their Workflows."""

    multi_user: bool = False
    orphans: bool = True
    """Whether it knows `propagation_policy`: since 2.16.0 (#12574). Before, grpc-gateway ignores the parameter."""
    versions: list[Row] = field(default_factory=list)
    recurring: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    unreported: list[Row] = field(default_factory=list)
    """Runs whose Workflow is there, and of which the persistence agent has not told the API server."""
    killed: list[str] = field(default_factory=list)
    """Runs whose Workflow was deleted while it ran. Nobody tells the API server: they stay RUNNING in its database."""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self, kind: str, rows: list[Row], row: Row) -> Row:
        """Add a row with an id and a moment, in whole seconds as the database has it (model/job.go)."""
        number = next(self._ids)
        row = {f"{kind}_id": f"{kind}-{number}", "created_at": f"2026-11-22T00:00:{number:02d}Z", **row}
        rows.append(row)
        return row

    def start(self, recurring_run_id: str, *, reported: bool = True) -> Row:
        """The controller makes a Workflow of a recurring run; the API server hears of it from the persistence agent."""
        row = {"recurring_run_id": recurring_run_id, "state": "RUNNING"}
        return self.new("run", self.runs if reported else self.unreported, row)

    def report(self) -> None:
        """The persistence agent tells of the Workflows that there are."""
        self.runs += self.unreported
        self.unreported = []

    def list_runs(self, query: dict[str, str], *_: Any) -> Row:
        """Newest first, if asked."""
        rows = filtered(self.runs, query)[:: -1 if query.get("sort_by") == "created_at desc" else 1]
        return {"runs": rows[: int(query.get("page_size", 10))]}

    def create_run(self, _: dict[str, str], body: bytes, __: str) -> Row:
        """A run of a version that there is."""
        row = checked(api.V2beta1Run, body)
        self._check_inputs(row)
        return self.new("run", self.runs, {**row, "state": "PENDING"})

    def list_recurring(self, query: dict[str, str], *_: Any) -> Row:
        """By pages."""
        rows = [one for one in self.recurring if one["experiment_id"] == query["experiment_id"]]
        start = int(query.get("page_token") or 0)
        more = str(start + _PAGE) if start + _PAGE < len(rows) else ""
        return {"recurringRuns": rows[start : start + _PAGE], "next_page_token": more}

    def create_recurring(self, _: dict[str, str], body: bytes, __: str) -> Row:
        """As it is answered afterwards (apiserver/server/api_converter.go:2330, toApiRecurringRun).

        `runtime_config` is absent where it would say nothing, numbers of 64 bits are text (protojson), and a service
        account is filled in (apiserver/template/template.go:310; manifests: base/installs/multi-user/api-service).
        """
        row = checked(api.V2beta1RecurringRun, body)
        if not 1 <= int(row["max_concurrency"]) <= 10:  # api_converter.go:2085
            raise RefusedError(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
        self._check_inputs(row)
        runtime = row.pop("runtime_config", {})
        if runtime.get("parameters") or runtime.get("pipeline_root"):
            row["runtime_config"] = runtime
        account = row.get("service_account") or ("default-editor" if self.multi_user else "pipeline-runner")
        told = {"max_concurrency": str(row["max_concurrency"]), "service_account": account, "status": f"{row['mode']}D"}
        return self.new("recurring_run", self.recurring, row | told)

    def disable_recurring(self, _: dict[str, str], __: bytes, ___: str, run_id: str) -> Row:
        """Begin nothing more; what runs goes on (apiserver/resource/resource_manager.go:1421, ChangeJobMode)."""
        self._recurring(run_id).update(mode="DISABLE", status="DISABLED")
        return {}

    def delete_recurring(self, query: dict[str, str], _: bytes, __: str, run_id: str) -> Row:
        """Delete the ScheduledWorkflow, and by its owner references the Workflows (common/util/workflow.go:725).

        ORPHAN keeps them (resource_manager.go:1458, DeleteJob). But a Workflow without an owner that no run is known of
        is deleted when the persistence agent tells of it, after 120 s (:1575, ReportWorkflowResource).
        """
        self.recurring.remove(self._recurring(run_id))
        kept = self.orphans and query.get("propagation_policy") == "ORPHAN"
        lost = self.unreported if kept else [*self.runs, *self.unreported]
        self.killed += [
            one["run_id"] for one in lost if one.get("recurring_run_id") == run_id and one["state"] == "RUNNING"
        ]
        return {}

    def _recurring(self, run_id: str) -> Row:
        for one in self.recurring:
            if one["recurring_run_id"] == run_id:
                return one
        raise RefusedError(404, f"recurring run {run_id} not found")

    def _check_inputs(self, row: Row) -> None:
        """The version is there, each parameter given or with a default (apiserver/template/v2_template.go:471)."""
        wanted = row["pipeline_version_reference"]["pipeline_version_id"]
        found = [one for one in self.versions if one["pipeline_version_id"] == wanted]
        if not found:
            raise RefusedError(404, "no such pipeline version")
        parameters = (
            found[0]["pipeline_spec"]["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        )
        given = row.get("runtime_config", {}).get("parameters") or {}
        for name, about in parameters.items():
            if name not in given and not about.get("isOptional") and "defaultValue" not in about:
                raise RefusedError(400, f"parameter {name} is not optional, yet has neither default nor value")


def filtered(rows: list[Row], query: dict[str, str]) -> list[Row]:
    """The rows that a filter of equalities lets through; a field that is not set equals nothing."""
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    return [row for row in rows if all(row.get(one["key"]) == one["stringValue"] for one in predicates)]


def checked(model: type, body: bytes) -> Row:
    """A body that has the shape of a model of the API."""
    row: Row = json.loads(body)
    unknown = set(row) - set(model.attribute_map.values())  # type: ignore[attr-defined]
    if unknown:
        raise RefusedError(400, f"unknown fields {unknown}")
    return row
