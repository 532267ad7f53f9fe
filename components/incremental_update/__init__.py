"""Bring what users did since the last update into what serves."""

from kfp.dsl import Metrics, Output

from components.base import component


@component
def incremental_update(dataset: str, now: str, release: str, metrics: Output[Metrics]) -> str:
    """Train, check, register and publish one segment for each full version that answers requests.

    Args:
        dataset: Folder or URL of the dataset; empty: the one that events are written into.
        now: The present, ISO 8601 with zone; empty: the clock's.
        release: `rollout`, `now`, or `auto`: by a rollout where a driver runs.
        metrics: Rows touched, positives and late interactions, summed over the full versions.

    Returns:
        The ids of the new generations, separated by commas; empty when nothing had happened.
    """
    from pagoda.data.window import parse_moment
    from pagoda.rollout.releasing import Release, update_users
    from pagoda.settings import load_settings
    from pagoda.updates.exclusive import exclusive
    from pagoda.updates.incremental_steps import Done

    settings = load_settings()
    with exclusive(settings.home, "incremental"):
        moment = parse_moment(now, "now") if now else None
        outcomes = update_users(settings, settings.dataset(dataset), moment, Release(release))
    done = [outcome for outcome in outcomes.values() if isinstance(outcome, Done)]
    for name in ("rows", "positives", "late"):
        metrics.log_metric(name, sum(outcome.record.metrics[name] for outcome in done))
    return ",".join(outcome.manifest.id for outcome in done)
