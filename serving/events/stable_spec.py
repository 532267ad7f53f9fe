"""Which feature declaration events and item changes are checked against: the stable generation's."""

from __future__ import annotations

from pagoda.data.spec import FeatureSpec
from pagoda.errors import UnavailableError
from serving.release_follower import ReleaseFollower


class StableSpec:
    """Takes it from the release log, so that events are taken while the parts that recall needs are down."""

    def __init__(self, releases: ReleaseFollower) -> None:
        self._releases = releases

    async def spec(self) -> FeatureSpec:
        """The stable generation's declaration, as of the last look at the log.

        Raises:
            UnavailableError: No generation was released yet, or the log cannot be read.
        """
        try:
            state = await self._releases.seen()
        except UnavailableError as error:
            raise UnavailableError(f"events: {error}") from error
        if state.stable is None:
            raise UnavailableError("events: no generation was released yet, so what they may hold is unknown")
        return state.generations[state.stable].spec
