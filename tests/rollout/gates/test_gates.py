"""What gates pass, hold and fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import ConfigError
from pagoda.rollout.gate_results import Verdict
from pagoda.rollout.gates.cluster_tests import compare
from pagoda.rollout.gates.offline import judge_offline
from pagoda.rollout.gates.online import judge_online, latency_limit
from pagoda.rollout.measures.base import ArmMeasure, Requests, UserSums
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows, VectorReport, inspect_vectors
from pagoda.rollout.online_gates import LatencyGate
from pagoda.rollout.policy import FULL, INCREMENTAL, OfflineGates, RolloutPolicy, Step, read_policy
from tests.rollout.worlds import Said, evidence

STEP = Step(percent=10)


def verdicts(stable: Said, canary: Said, limit_ms: float | None = 20.0) -> dict[str, Verdict]:
    results = judge_online(FULL, STEP, {"stable": stable.arm(), "canary": canary.arm()}, limit_ms)
    return {result.gate: result.verdict for result in results}


def test_equal_arms_pass_every_gate() -> None:
    assert set(verdicts(Said(), Said()).values()) == {Verdict.PASSED}


def test_no_traffic_is_hold() -> None:
    results = judge_online(FULL, STEP, {}, 20.0)
    by_gate = {result.gate: result.verdict for result in results}
    assert Verdict.FAILED not in by_gate.values()
    for gate in ("requests", "clicks", "short_answers", "fallbacks"):
        assert by_gate[gate] is Verdict.HELD


def test_few_users_with_many_requests_are_hold() -> None:
    found = verdicts(Said(), Said(users=20, click_rate=0.01))
    assert found["clicks"] is Verdict.HELD and found["requests"] is Verdict.PASSED


def test_one_busy_user_is_no_evidence() -> None:
    stable = ArmMeasure(clicks=UserSums.of(np.full(1_000, 10), np.full(1_000, 1)))
    n, y = np.full(200, 10), np.full(200, 1)
    n[0], y[0] = 50_000, 0
    results = judge_online(FULL, STEP, {"stable": stable, "canary": ArmMeasure(clicks=UserSums.of(n, y))}, None)
    assert next(result for result in results if result.gate == "clicks").verdict is Verdict.HELD


def test_a_canary_without_a_single_click_fails() -> None:
    assert verdicts(Said(), Said(click_rate=0.0))["clicks"] is Verdict.FAILED


HARMS = {
    "errors": Said(error_rate=0.2),
    "latency": Said(slow_rate=0.2),
    "short_answers": Said(short_rate=0.2),
    "fallbacks": Said(fallback_rate=0.2),
    "clicks": Said(click_rate=0.05),
}


@pytest.mark.parametrize("gate", FULL.online.names)
def test_each_online_gate_condemns_its_own_harm(gate: str) -> None:
    found = verdicts(Said(), HARMS[gate])
    assert [name for name, verdict in found.items() if verdict is Verdict.FAILED] == [gate]


def test_more_clicks_pass() -> None:
    assert verdicts(Said(), Said(click_rate=0.2))["clicks"] is Verdict.PASSED


def test_equal_trouble_in_both_arms_passes() -> None:
    both = Said(error_rate=0.4, slow_rate=0.4, fallback_rate=0.6, short_rate=0.5)
    assert Verdict.FAILED not in verdicts(both, both).values()


def test_results_say_values_and_intervals() -> None:
    results = judge_online(FULL, STEP, {"stable": Said().arm(), "canary": Said(click_rate=0.09).arm()}, 20.0)
    clicks = results[-1]
    assert clicks.low is not None and clicks.high is not None and clicks.value is not None
    assert clicks.low < clicks.value < clicks.high and clicks.value == pytest.approx(-0.1, abs=0.01)
    assert "9.000% against 10.000%" in clicks.detail


def test_clustered_error_matches_a_simulation() -> None:
    rng = np.random.default_rng(0)
    rate = rng.beta(2, 18, 400)
    n = rng.integers(1, 60, 400)
    differences, errors = [], []
    for _ in range(400):
        y, arm = rng.binomial(n, rate), rng.random(400) < 0.5
        difference, error = compare(UserSums.of(n[~arm], y[~arm]), UserSums.of(n[arm], y[arm]))
        differences.append(difference)
        errors.append(error)
    assert np.std(differences) == pytest.approx(np.mean(errors), rel=0.12)


def test_levels_add_up_to_the_family_error() -> None:
    outcomes = [{"event": "purchase"}, {"event": "hide", "worse": "higher"}]
    for policy in (
        FULL,
        INCREMENTAL,
        RolloutPolicy(shadow={}),
        RolloutPolicy(online={"clicks": None, "errors": None}),
        RolloutPolicy(online={"outcomes": outcomes}),
        RolloutPolicy(online={"clicks": None, "outcomes": outcomes}),
    ):
        phases = len(policy.steps) + (policy.shadow is not None)
        spent = phases * sum(policy.alpha(name) for name in policy.online.names)
        assert spent == pytest.approx(policy.online.family_error)


def test_the_latency_limit_follows_the_stable_arm() -> None:
    gate = LatencyGate(ratio=2, floor_ms=20)
    counts = np.array([500, 600])
    assert latency_limit(gate, Requests(counts, counts, counts, 30.0), 1_000) == 60.0
    assert latency_limit(gate, Requests(counts, counts, counts, 3.0), 1_000) == 20.0
    assert latency_limit(gate, Requests(counts, counts, counts, 30.0), 2_000) is None
    assert latency_limit(gate, Requests(), 1) is None


def judged(given: OfflineEvidence) -> dict[str, Verdict]:
    return {result.gate: result.verdict for result in judge_offline(OfflineGates(), given)}


def test_a_sound_candidate_passes_offline() -> None:
    assert set(judged(evidence()).values()) == {Verdict.PASSED}
    assert "recall" not in judged(evidence(champion_recall=None))


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"ann_recall": 0.5}, "ann_recall"),
        ({"items": 99}, "item_count"),
        ({"checksums": {"tower": ("a", "b")}}, "checksums"),
        ({"vectors": VectorReport(100, 1, 0, 0.9)}, "vectors"),
        ({"vectors": VectorReport(100, 0, 0.5, 0.9)}, "vectors"),
        ({"vectors": VectorReport(100, 0, 0, 0.001)}, "vectors"),
    ],
)
def test_each_damage_has_its_gate(changed: dict[str, object], gate: str) -> None:
    found = judged(OfflineEvidence(**{**vars(evidence()), **changed}))
    assert [name for name, verdict in found.items() if verdict is Verdict.FAILED] == [gate]


def test_recall_must_be_shown_not_to_fall() -> None:
    assert judged(evidence(candidate_recall=0.3))["recall"] is Verdict.FAILED
    assert judged(evidence(candidate_recall=0.6))["recall"] is Verdict.PASSED
    rng = np.random.default_rng(0)
    few = RecallRows(np.arange(120), (rng.random(120) < 0.5) * 1.0, (rng.random(120) < 0.5) * 1.0)
    unclear = OfflineEvidence(**{**vars(evidence()), "recall": few})
    assert judged(unclear)["recall"] is Verdict.HELD, "an interval that reaches far below rules nothing out"
    fewer = RecallRows(np.arange(20), np.ones(20), np.ones(20))
    assert judged(OfflineEvidence(**{**vars(evidence()), "recall": fewer}))["recall"] is Verdict.HELD


def test_vectors_are_inspected_in_blocks() -> None:
    rng = np.random.default_rng(0)
    good = rng.standard_normal((500, 16)).astype(np.float32)
    good /= np.linalg.norm(good, axis=1, keepdims=True)
    report = inspect_vectors(np.array_split(good, 7))
    assert report.rows == 500 and report.not_finite == 0 and report.norm_error < 1e-5 and report.spread > 0.9
    one_way = np.tile(good[:1], (500, 1))
    assert inspect_vectors([one_way]).spread < 1e-5
    broken = good.copy()
    broken[3, 2], broken[4] = np.nan, 0
    report = inspect_vectors([broken])
    assert report.not_finite == 1 and report.norm_error == pytest.approx(1)


def test_of_vectors_of_any_length_counts_where_they_point() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((500, 16)) * rng.gamma(1, 9, (500, 1))).astype(np.float32)
    report = inspect_vectors(np.array_split(vectors, 7), "dot")
    assert report.norm_error is None and report.spread > 0.9
    assert judged(OfflineEvidence(**{**vars(evidence()), "vectors": report}))["vectors"] is Verdict.PASSED
    one_way = np.tile(vectors[:1], (500, 1)) * rng.gamma(1, 9, (500, 1))
    assert inspect_vectors([one_way.astype(np.float32)], "dot").spread < 1e-5


def test_a_policy_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("steps: [{percent: 5, minimum_requests: 50}]\ngrace_seconds: 5\nonline: {clicks: null}\n")
    policy = read_policy(path)
    assert policy.steps[0].percent == 5 and policy.online.clicks is None
    for wrong, message in {
        "stpes: []": "stpes",
        "steps: [{percent: 50}, {percent: 10}]": "rise",
        "steps: [{percent: 0.5}]": "percent",
        "steps: [{percent: 5, minimum_seconds: 10, maximum_seconds: 5}]": "exceed",
        "{": "not YAML",
    }.items():
        path.write_text(wrong)
        with pytest.raises(ConfigError, match=message):
            read_policy(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_policy(tmp_path / "none.yaml")
