"""Several interests of a user: as the papers have them, event by event, and what training reads of them."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pagoda.config.model import ModelConfig, Routing, SelfAttentive
from pagoda.config.training import DriftConfig, TrainConfig
from pagoda.errors import GateError
from pagoda.model.history.factory import build_history
from pagoda.model.history.routing import RoutingHistory
from pagoda.model.history.self_attentive import SelfAttentiveHistory
from pagoda.model.losses.comparisons import Pointwise, TripletHinge, TripletLogistic
from pagoda.model.losses.nearest import by_nearest
from pagoda.model.losses.objective import Candidates, LearnedTemperature, ListwiseSoftmax, Objective
from pagoda.training.drift import check_interests

from .test_towers import history_of, past

DIM, LENGTH = 6, 20


def a_history(events: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows [1, L, D] and mask of one user with so many events, the last ones; the others' rows are anything."""
    rows = torch.randn(1, LENGTH, DIM, generator=torch.Generator().manual_seed(seed))
    return rows, torch.arange(LENGTH)[None] >= LENGTH - events


def interests(declared: SelfAttentive | Routing, events: int) -> Tensor:
    torch.manual_seed(1)
    rows, mask = a_history(events)
    encoded: Tensor = history_of(declared, dim=DIM, length=LENGTH)(past(rows, mask, torch.zeros(1, LENGTH)))
    return encoded[0, :, 0]


def test_self_attention_is_the_papers_for_each_interest_and_event() -> None:
    encoder = build_history(ModelConfig(dim=DIM, history=SelfAttentive(interests=3, hidden=5)), LENGTH)
    assert isinstance(encoder, SelfAttentiveHistory)
    rows, mask = a_history(4)
    scale = math.sqrt(DIM)
    for interest, found in enumerate(encoder.encode(rows, mask)[0]):
        logits = []
        for event in range(LENGTH - 4, LENGTH):
            hidden = torch.tanh(encoder.hidden.weight @ ((rows[0, event] + encoder.positions[event]) * scale))
            logits.append(encoder.attended.weight[interest] @ hidden)
        weights = torch.stack(logits).softmax(0)
        torch.testing.assert_close(found, (weights[:, None] * rows[0, -4:]).sum(0))


def test_routing_is_the_papers_event_by_event() -> None:
    declared = Routing(interests=3, iterations=3)
    encoder = build_history(ModelConfig(dim=DIM, history=declared), LENGTH)
    assert isinstance(encoder, RoutingHistory)
    torch.nn.init.normal_(encoder.shared.weight)
    rows, mask = a_history(17)
    events = [encoder.shared.weight @ row * math.sqrt(DIM) for row in rows[0, -17:]]
    logits = [[float(encoder.start[number, LENGTH - 17 + event]) for event in range(17)] for number in range(3)]
    for _ in range(3):
        found = []
        for number in range(3):
            shares = [functional.softmax(torch.tensor([row[event] for row in logits]), 0) for event in range(17)]
            total = torch.stack([share[number] * event for share, event in zip(shares, events, strict=True)]).sum(0)
            found.append(total.norm() / (1 + total.norm() ** 2) * total)
        logits = [
            [before + float(interest @ event) for before, event in zip(row, events, strict=True)]
            for row, interest in zip(logits, found, strict=True)
        ]
    torch.testing.assert_close(encoder.encode(rows, mask)[0], torch.stack(found), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("events", "expected"), [(1, 1), (3, 1), (4, 2), (8, 3), (15, 3), (16, 4), (20, 4)])
def test_by_routing_a_user_of_few_events_has_few_interests(events: int, expected: int) -> None:
    """What is not there is the first once more, to the bit: the best of all is then the best of those that are."""
    found = interests(Routing(interests=4), events)
    assert len({tuple(interest.tolist()) for interest in found}) == expected
    assert torch.equal(found[expected:], found[:1].expand(4 - expected, -1))


def test_one_interest_is_a_vector_as_any_other_encoder_gives_it() -> None:
    for declared in (SelfAttentive(interests=1), Routing(interests=1)):
        rows, mask = a_history(5)
        encoded = history_of(declared, dim=DIM, length=LENGTH)(past(rows, mask, torch.zeros(1, LENGTH)))
        assert encoded.shape == (1, 1, DIM)


def test_an_item_meets_the_nearest_interest_which_alone_learns_of_it() -> None:
    users, items = functional.normalize(torch.randn(5, 3, DIM), dim=2).requires_grad_(), torch.randn(7, DIM)
    found = by_nearest(lambda user: user @ items.T, users)
    for row, item in product(range(5), range(7)):
        products = [float(interest @ items[item]) for interest in users[row]]
        assert float(found[row, item]) == pytest.approx(max(products), abs=1e-6)
        (gradient,) = torch.autograd.grad(found[row, item], [users], retain_graph=True)
        assert gradient.any(2).nonzero().tolist() == [[row, max(range(3), key=products.__getitem__)]]


@pytest.mark.parametrize("own", [False, True], ids=["shared candidates", "a user's own beside them"])
@pytest.mark.parametrize(
    "objective",
    [ListwiseSoftmax(0.1), LearnedTemperature(0.1), Pointwise(), TripletHinge(0.4), TripletLogistic(10.0)],
    ids=lambda objective: type(objective).__name__,
)
def test_several_equal_interests_are_one_to_every_objective(objective: Objective, own: bool) -> None:
    users, vectors = (functional.normalize(torch.randn(count, DIM), dim=1) for count in (6, 9))
    targets, drawn = torch.arange(6), torch.randint(0, 9, (6, 2))
    hard = {"hard": drawn, "hard_log_q": torch.zeros(6, 2)} if own else {}
    candidates = Candidates(vectors, torch.randn(9), negatives=drawn, **hard)
    found, expected = (objective(one, candidates, targets) for one in (users[:, None].expand(-1, 3, -1), users))
    torch.testing.assert_close(found, expected)


def test_interests_that_have_become_one_are_stopped() -> None:
    apart = functional.normalize(torch.randn(40, 4, 64), dim=2)
    expected = torch.stack([(one @ one.T)[~torch.eye(4, dtype=torch.bool)].mean() for one in apart]).mean()
    assert check_interests(apart, DriftConfig())["interest_cosine"] == pytest.approx(float(expected), abs=1e-5)
    together = functional.normalize(apart[:, :1] + 0.005 * torch.randn(40, 4, 64), dim=2)
    with pytest.raises(GateError, match=r"interests have collapsed.* drift\.max_interest_cosine 0\.99"):
        check_interests(together, DriftConfig())
    check_interests(together[:31], DriftConfig())


def test_what_has_no_meaning_with_interests_or_without_is_refused() -> None:
    sampled = {"in_batch": False, "uniform": 512}
    for kind in ("self_attentive", "routing"):
        with pytest.raises(ValueError, match=rf"model\.history\.kind {kind} reads each history as a whole"):
            TrainConfig(learn="sequences", negatives=sampled, model={"history": {"kind": kind}})
    with pytest.raises(ValueError, match=r"drift\.max_interest_cosine compares several interests"):
        TrainConfig(drift={"max_interest_cosine": 0.9})
