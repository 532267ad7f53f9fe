"""Why an arm answered."""

from __future__ import annotations

from pagoda.client.explanation import ArmExplained, WhyArm
from pagoda.generations.arms import Arm
from pagoda.rollout.state.split import Split
from serving.recall.api import Prediction
from serving.recall.generations.follower import Serving
from serving.users.keys import Key


def explained_arm(serving: Serving, user: Key, chosen: Arm, answer: Prediction, header: str | None) -> ArmExplained:
    """Why a user's answer is from its arm.

    Args:
        serving: What the request was answered by.
        user: Whose it is.
        chosen: The arm that was to answer.
        answer: The answer.
        header: Value of `ARM_HEADER`.
    """
    split = serving.split
    return {
        "arm": answer["arm"],
        "generation": answer["generation"],
        "why": _why(split, split.choose(user, header).arm, chosen, answer["arm"], header),
        "canary": split.canary,
        "canary_percent": float(split.percent),
    }


def _why(split: Split, own: Arm, chosen: Arm, answered: str, header: str | None) -> WhyArm:
    if split.canary is None:
        return "no_rollout"
    if answered != chosen:
        return "canary_failed"
    if own != chosen:
        return "canary_not_warm"
    if header:
        return "header"
    return "shadow" if split.shadow else "share"
