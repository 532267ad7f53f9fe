"""The losses by which a student learns a teacher's scores, against loops written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pagoda.model.losses.distillation import listwise_distillation, margin_distillation

TEMPERATURE = 2.0


def lists(seed: int) -> tuple[Tensor, Tensor]:
    """Scores of five users for at most six items; the last user has none, the one before a single one."""
    torch.manual_seed(seed)
    student, teacher = torch.randn(5, 6, dtype=torch.float64) * 3, torch.randn(5, 6, dtype=torch.float64) * 3
    there = torch.rand(5, 6) < 0.7
    there[3], there[4] = False, False
    there[3, 2] = True
    return student.requires_grad_(), teacher.masked_fill(~there, -torch.inf)


def listwise_by_hand(student: Tensor, teacher: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for row, wanted in zip(student, teacher, strict=True):
        at = [place for place in range(len(wanted)) if wanted[place] > -torch.inf]
        q, p = ((scores[at] / TEMPERATURE).softmax(0) for scores in (wanted, row))
        total = total + TEMPERATURE**2 * (q * (q.log() - p.log())).sum()
    return total / len(student)


def margin_by_hand(student: Tensor, teacher: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for row, wanted in zip(student, teacher, strict=True):
        at = [place for place in range(len(wanted)) if wanted[place] > -torch.inf]
        pairs = [((row[i] - row[j]) - (wanted[i] - wanted[j])) ** 2 for i in at for j in at]
        total = total + (torch.stack(pairs).mean() / 2 if pairs else 0)
    return total / len(student)


@given(st.integers(0, 10_000))
def test_losses_and_gradients_equal_the_formulas(seed: int) -> None:
    student, teacher = lists(seed)
    for loss, expected in (
        (listwise_distillation(student, teacher, TEMPERATURE), listwise_by_hand(student, teacher)),
        (margin_distillation(student, teacher), margin_by_hand(student, teacher)),
    ):
        torch.testing.assert_close(loss, expected)
        ours, theirs = (torch.autograd.grad(of, student, retain_graph=True)[0] for of in (loss, expected))
        torch.testing.assert_close(ours, theirs)
        assert not ours[3:].any(), "one item has no order"


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_a_student_that_scores_as_its_teacher_has_nothing_to_learn(shift: float) -> None:
    student, teacher = lists(7)
    same = student.detach().masked_fill(teacher == -torch.inf, -torch.inf) + shift
    for loss in (listwise_distillation(student, same, TEMPERATURE), margin_distillation(student, same)):
        assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-12
