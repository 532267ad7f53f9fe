"""The queue: first in, first out, each item once, by its newest vector; and q counts all batches in it."""

from __future__ import annotations

import numpy as np
import torch

from pagoda.config.negatives import NegativesConfig
from pagoda.model.losses.objective import ListwiseSoftmax
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.negatives.cross_batch_queue import CrossBatchQueue, Drawn


def drawn(*places: int, at: float = 0.0) -> Drawn:
    found = torch.tensor(places)
    return Drawn(found, found[:, None] + at + torch.zeros(1, 2), -found / 100.0)


def test_it_holds_the_last_batches_and_each_item_once_by_its_newest_vector() -> None:
    queue = CrossBatchQueue(2, 0, 10)
    assert queue.others(torch.tensor([1])) is None
    for number, places in enumerate([(1, 2), (2, 3, 4), (4, 5)]):
        queue.push(drawn(*places, at=number / 10))
    others = queue.others(torch.tensor([5, 9]))
    assert others is not None
    assert others.places.tolist() == [2, 3, 4]  # 1 fell out, 5 is in the batch itself
    torch.testing.assert_close(others.vectors[:, 0], torch.tensor([2.1, 3.1, 4.2]))
    torch.testing.assert_close(others.log_missed, torch.tensor([-0.02, -0.03, -0.04]))
    assert not others.vectors.requires_grad


def test_it_waits_until_vectors_have_settled_and_can_be_saved() -> None:
    queue = CrossBatchQueue(3, 2, 10)
    for places in ((1, 2), (3,), (4, 5)):
        queue.push(drawn(*places))
    again = CrossBatchQueue(3, 2, 10)
    again.load_state_dict(queue.state_dict())
    for each in (queue, again):
        each.push(drawn(6))
        others = each.others(torch.tensor([6]))
        assert len(each) == 2
        assert others is not None
        assert others.places.tolist() == [4, 5]


class Batch:
    """What `CandidateMaker` takes, of items few of which come often."""

    shares = torch.arange(1, 13, dtype=torch.float64) ** -1.2
    shares /= shares.sum()

    def __init__(self, items: torch.Tensor) -> None:
        self.places, self.targets = torch.unique(items, return_inverse=True)
        self.log_missed = len(items) * torch.log1p(-self.shares[self.places])
        self.first_shared = 0
        self.negatives = self.hard = self.hard_missed = self.masked = None


def test_true_preferences_are_the_optimum_with_a_queue_too() -> None:
    """As for in-batch negatives: the mean gradient vanishes where a softmax over all items has its optimum."""
    gradients = {}
    for correction in ("exact", "streaming", "none"):
        config = NegativesConfig(queue=2, queue_warm_up=0, correction=correction)
        maker, scores = CandidateMaker(config, 12), Batch.shares.log()[None].requires_grad_()
        torch.manual_seed(0)
        for number in range(400):
            batch = Batch(torch.multinomial(Batch.shares, 4, replacement=True))
            if correction == "streaming":
                batch.log_missed = torch.zeros_like(batch.log_missed)
            candidates = maker.of(batch, torch.eye(12, dtype=torch.float64)[batch.places])
            if number >= 100:  # until then, the estimator knows little
                (ListwiseSoftmax(1.0)(scores.expand(4, 12), candidates, batch.targets) / 300).backward()
        assert scores.grad is not None
        gradients[correction] = float(scores.grad.abs().sum())
    assert 4 * gradients["exact"] < gradients["none"], gradients
    assert 4 * gradients["streaming"] < gradients["none"], gradients


def test_q_is_the_share_of_moments_at_which_an_item_is_a_candidate() -> None:
    maker, held = CandidateMaker(NegativesConfig(queue=3, queue_warm_up=0), 12), np.zeros(12)
    torch.manual_seed(1)
    log_q = torch.zeros(12, dtype=torch.float64)
    for number in range(3000):
        batch = Batch(torch.multinomial(Batch.shares, 4, replacement=True))
        candidates = maker.of(batch, torch.eye(12, dtype=torch.float64)[batch.places])
        found = candidates.vectors.argmax(1)
        assert len(found.unique()) == len(found)
        if number >= 3:
            log_q[found] = candidates.log_q
            held[found.numpy()] += 1
    np.testing.assert_allclose(log_q.exp().numpy(), held / 2997, atol=0.03)


def test_hard_negatives_of_one_user_are_still_the_queues_for_the_others() -> None:
    maker = CandidateMaker(NegativesConfig(queue=1, queue_warm_up=0, mined=1, correction="none"), 12)
    maker.of(Batch(torch.tensor([1, 2, 3, 4])), torch.eye(12, dtype=torch.float64)[1:5])
    batch = Batch(torch.tensor([5, 6]))
    # Items 2 and 9 are hard ones, of a user each; 2 was also drawn for all by the batch before.
    batch.places, batch.log_missed = torch.tensor([9, 2, 5, 6]), torch.full((4,), -1.0, dtype=torch.float64)
    batch.targets, batch.first_shared = torch.tensor([2, 3]), 2
    batch.hard, batch.hard_missed = torch.tensor([[1], [0]]), torch.full((2, 1), -1.0, dtype=torch.float64)
    users = torch.randn(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = ListwiseSoftmax(1.0)(users, maker.of(batch, torch.eye(12, dtype=torch.float64)[batch.places]), batch.targets)
    # Each sees what both batches drew for all, and its own hard one, all of them once.
    asked = [(users[0], 5, [1, 2, 3, 4, 5, 6]), (users[1], 6, [1, 2, 3, 4, 5, 6, 9])]
    expected = torch.stack([user[items].logsumexp(0) - user[own] for user, own, items in asked]).mean()
    torch.testing.assert_close(loss, expected)
