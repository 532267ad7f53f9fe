"""How long samples stay: as long as the files of the version that the rollout brought."""

from __future__ import annotations

from collections.abc import Collection

from pagoda.generations.manifest import versions_in
from pagoda.generations.release_log import ReleaseLog
from pagoda.rollout.curves.samples import GateSamples
from pagoda.rollout.state.history import rollouts


def old_samples(log: ReleaseLog, samples: GateSamples, going: Collection[int] = ()) -> list[str]:
    """The rollouts whose samples are needed no more; what decided stays in the log.

    A candidate that was rolled back is retired within minutes, and why is asked for longer than that. So it is not the
    generation that counts but its full version, whose files retention keeps for some updates more.

    Args:
        log: The release log.
        samples: Beside it.
        going: Versions whose files are about to go.

    Raises:
        IntegrityError: A record is damaged.
        UnavailableError: The store does not answer.
    """
    if not (there := samples.rollouts()):
        return []
    versions, past = log.state().versions, {one.id: one for one in rollouts(log)}
    gone = {number for number, version in versions.items() if version.pruned or number in going}
    return [id_ for id_ in there if id_ in past and versions_in(past[id_].candidate)[0] in gone]
