"""Offer tower and collection together as one generation, and begin its rollout."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def publish(  # noqa: PLR0917 - Kubeflow passes them by name
    window: Input[Dataset],
    archive: Input[Artifact],
    collection: Input[Artifact],
    catch_up: str,
    release: str,
    generation: Output[Artifact],
) -> str:
    """Write the manifest, then one record that begins the rollout, or once hosts hold it, one that releases it.

    Args:
        window: What was learned, from load_window.
        archive: From package_tower.
        collection: From build_index.
        catch_up: Up to when the version learns on its own base before it is offered, see `full_steps.caught_up`.
        release: `rollout`, `now`, or `auto`: by a rollout where a driver runs.
        generation: The manifest.

    Returns:
        The generation's id.
    """
    from pagoda.rollout.releasing import Release, release_full
    from pagoda.settings import load_settings
    from pagoda.updates.full import FullUpdate

    manifest = release_full(FullUpdate.of(load_settings(), window.metadata), catch_up, Release(release))
    generation.metadata.update({"generation": manifest.id, "collection": manifest.collection})
    return str(manifest.id)
