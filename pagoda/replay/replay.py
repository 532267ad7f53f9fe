"""Walks a log in event time and answers every positive before any version learns it, policy beside policy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError
from pagoda.evaluation.channels.asking import BoolArray
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.offline import Questions, ask
from pagoda.evaluation.ranking import Ranks
from pagoda.replay.answers import Answering
from pagoda.replay.estimates import Estimating
from pagoda.replay.learning import FullVersions, Incrementals, Spent
from pagoda.replay.plan import Policy, ReplayConfig, ReplayPlan, make_plan
from pagoda.replay.report import Cost, ReplayReport


class ReplayProgress(Protocol):
    """Watches a replay."""

    def begin(self, steps: int) -> None:
        """The first version is being trained; so many steps will follow."""

    def advance(self, step: Window) -> None:
        """A step was answered and learned."""


class SilentReplay:
    """Watches nothing."""

    def begin(self, steps: int) -> None:
        """See `ReplayProgress`."""

    def advance(self, step: Window) -> None:
        """See `ReplayProgress`."""


def replay(
    dataset: Dataset,
    config: ReplayConfig,
    train: TrainConfig,
    scratch: Path,
    *,
    progress: ReplayProgress | None = None,
) -> ReplayReport:
    """Replay the log of `dataset` under every policy of `config`.

    The protocol of answers is that of `pagoda.evaluation.offline`, the same for every policy. A version serves from the
    end of the window it learned: updates take no event time.

    Args:
        dataset: Whose log.
        config: When to update, under which policies.
        train: How all versions are trained.
        scratch: An existing folder for the versions, which are removed at the end; a few hundred MB for 10,000 users.
        progress: Watches.

    Raises:
        DataError: The log is too short for a first version and something to replay, or the dataset breaks its contract.
        ConfigError: The configuration does not fit the dataset, or a replay.
        GateError: An update was stopped by its checks.
    """
    if train.validation is not None:
        raise ConfigError(
            "validation holds back the end of a window, and versions of a replay learn all that happened; take it out"
        )
    plan = make_plan(dataset.span(), config)
    watching = progress or SilentReplay()
    watching.begin(plan.step_count)
    questions = ask(dataset, plan.window, protocol="each", limit=config.rows, seed=config.seed)
    with tempfile.TemporaryDirectory(prefix="replay-", dir=scratch) as folder:
        full = FullVersions(dataset, plan.first, train, Path(folder) / "full")
        chains = {
            policy: Incrementals(dataset, full.newest, train, Path(folder) / policy.value)
            for policy in config.policies
            if policy.incremental
        }
        users = KnownUsers(dataset, questions.rows, questions.histories["live"]) if train.channels else None
        answering = {policy: Answering(questions, full.newest.served(), users) for policy in config.policies}
        walk = _Walk(plan, full, answering, chains)
        walk.run(watching)
        return _report(dataset, config, plan, questions, walk)


class _Walk:
    """The state of a replay at a moment."""

    def __init__(
        self,
        plan: ReplayPlan,
        full: FullVersions,
        answering: dict[Policy, Answering],
        chains: dict[Policy, Incrementals],
    ) -> None:
        self._plan, self.full, self.answering, self.chains = plan, full, answering, chains

    def run(self, progress: ReplayProgress) -> None:
        """Go through all days. What ends with the log would serve nobody, so it is not trained."""
        for day in self._plan.days:
            for step in self._plan.steps(day):
                if step.end < self._plan.window.end:
                    self._incremental(step)
                progress.advance(step)
            if day.end < self._plan.window.end:
                self._full(day)

    def _incremental(self, step: Window) -> None:
        for policy, chain in self.chains.items():
            if (served := chain.learn(step)) is not None:
                self.answering[policy].switch(served, step.end_us)

    def _full(self, day: Window) -> None:
        policies = [policy for policy in self.answering if policy.full]
        # Policies with full updates share their versions: overlays are dropped, so these do not depend on them.
        if policies and self.full.learn(day):
            for policy in policies:
                self.answering[policy].switch(self.full.newest.served(), day.end_us)
                if policy in self.chains:
                    self.chains[policy].restart(self.full.newest)

    def ranks(self) -> dict[Policy, Ranks]:
        """Where each policy ranks the targets."""
        return {policy: answering.finish() for policy, answering in self.answering.items()}

    def found(self) -> dict[Policy, BoolArray]:
        """After `ranks`: whose merged answers had the targets; empty without channels."""
        return {policy: one.found for policy, one in self.answering.items() if one.found is not None}

    def cost(self, policy: Policy) -> Cost:
        """What the policy's updates took."""
        full = self.full.spent if policy.full else Spent()
        incremental = self.chains[policy].spent if policy.incremental else Spent()
        return Cost(
            seconds=full.seconds + incremental.seconds,
            cpu_seconds=full.cpu_seconds + incremental.cpu_seconds,
            full_updates=full.updates,
            incremental_updates=incremental.updates,
        )


def _report(
    dataset: Dataset, config: ReplayConfig, plan: ReplayPlan, questions: Questions, walk: _Walk
) -> ReplayReport:
    estimating = Estimating(questions, walk.ranks(), walk.found(), config.seed)
    history = dataset.spec.history
    return ReplayReport(
        config=config,
        first=plan.first,
        first_seconds=walk.full.first_spent.seconds,
        window=plan.window,
        history=history.length if history else 0,
        available=questions.available,
        repeats=questions.repeats,
        items=len(questions.clicks),
        overall=estimating.overall(),
        costs={policy: walk.cost(policy) for policy in config.policies},
        hours=estimating.hours(),
        since_full=estimating.since_full(plan),
    )
