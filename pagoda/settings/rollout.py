"""How generations come to their traffic."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pagoda.settings.section import SettingsSection

ON_CLUSTERS = ("kserve", "pods")
"""Backends whose drivers are pods, of which one leads."""


class RolloutSettings(SettingsSection):
    """How a new generation gets its traffic."""

    backend: Literal["", "local", "kserve", "pods"] = ""
    """Where the driver of this installation runs generations. Empty: there is none, so updates release at once.
    `pagoda up` records `local`; `pods` are recall's, with tower and search in them."""
    incremental: Literal["rollout", "now"] = "rollout"
    """How incremental versions come to their users where a driver runs: by a rollout with the short policy, or at once.
    `pagoda up` records `now`: where few requests come, there is nothing to judge rows by."""
    full_policy: str = ""
    """File with the policy of full versions, or the policy itself as `{…}`; see docs/rollout.md. Empty: the default."""
    incremental_policy: str = ""
    """The same for incremental versions."""
    inference_service: str = ""
    """KServe: name of the user tower's InferenceService."""
    lease: str = ""
    """On a cluster: name of the Lease that keeps what the driver must remember."""
    namespace: str = ""
    """On a cluster: where it is."""
    min_replicas: int = Field(default=1, ge=1)
    """KServe: fewest pods of the stable arm; the driver is the one who tells KServe."""
    max_replicas: int = Field(default=0, ge=0)
    """KServe: most pods of the stable arm where an autoscaler sets them; 0 where none does."""
