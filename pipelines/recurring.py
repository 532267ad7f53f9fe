"""The recurring runs that stand for one schedule in Kubeflow: the newest is in force, the others go.

What is relied on was read in kubeflow/pipelines 2.17.0, paths below backend/src; main of 2026-08-21 does the same.
- Deleting a recurring run deletes its Workflows, those at work too: they have it as their owner
  (common/util/workflow.go:725). `propagation_policy=ORPHAN` keeps them, but servers before 2.16 ignore it, and an
  orphan of which the persistence agent has not yet told is deleted as unknown after two minutes
  (apiserver/resource/resource_manager.go:1458, 1575).
- Disabling one touches no Workflow (resource_manager.go:1421).
- One at a time counts the Workflows of one recurring run (crd/controller/scheduledworkflow/util/scheduled_workflow.go,
  GetNextScheduledEpoch): an update that goes on beside its schedule's successor is not waited for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import kfp
import kfp_server_api as api

SETTLING_SECONDS = 30
"""Until Kubeflow's API knows of every Workflow that a recurring run began before it was disabled. It is told of one at
once, unless it is restarting; its controllers look at everything twice a minute."""
_PAGE = 100
_ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}


@dataclass(frozen=True, slots=True)
class RecurringRuns:
    """Those of one name in an experiment."""

    client: kfp.Client
    experiment: str
    name: str

    def newest_first(self) -> list[api.V2beta1RecurringRun]:
        """All of them; the first is in force, the others wait for their last run to end."""
        found, page = [], ""
        while True:
            answer = self.client.list_recurring_runs(page, _PAGE, experiment_id=self.experiment)
            found += [one for one in answer.recurring_runs or [] if one.display_name == self.name]
            page = answer.next_page_token
            if not page:
                return sorted(found, key=_age)

    def retire(self, old: Iterable[api.V2beta1RecurringRun]) -> None:
        """Let `old` begin nothing more, and delete those with no run at work; a later call deletes the others."""
        for one in (retired := list(old)):
            if not is_paused(one):
                self.client.disable_recurring_run(one.recurring_run_id)
        if idle := [one for one in retired if not self._at_work(one)]:
            time.sleep(SETTLING_SECONDS)
        for one in idle:
            if not self._at_work(one):
                self._delete(one)

    def _at_work(self, one: api.V2beta1RecurringRun) -> bool:
        """Whether a run of it has not ended, among the newest: one at a time, so older ones are not at work."""
        of_it = {"operation": "EQUALS", "key": "recurring_run_id", "stringValue": one.recurring_run_id}
        runs = self.client.list_runs(
            page_size=_PAGE,
            sort_by="created_at desc",
            experiment_id=self.experiment,
            filter=json.dumps({"predicates": [of_it]}),
        ).runs
        return any(run.state not in _ENDED for run in runs or [])

    def _delete(self, one: api.V2beta1RecurringRun) -> None:
        # kfp's own call has no propagation policy. Nothing is at work any more; should that be wrong, it goes on.
        service = api.RecurringRunServiceApi(self.client._recurring_run_api.api_client)
        service.recurring_run_service_delete_recurring_run(one.recurring_run_id, propagation_policy="ORPHAN")


def is_paused(one: api.V2beta1RecurringRun) -> bool:
    """Whether it begins nothing by itself."""
    return bool(one.mode == api.RecurringRunMode.DISABLE)


def _age(one: api.V2beta1RecurringRun) -> tuple[float, bool]:
    """For sorting: newest first; of one second, which is all that Kubeflow keeps, the one that is not disabled."""
    made = one.created_at or datetime.min.replace(tzinfo=UTC)
    return -made.timestamp(), is_paused(one)
