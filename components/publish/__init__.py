"""Offer tower and collection together as one generation, and make it the stable one."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def publish(
    window: Input[Dataset],
    archive: Input[Artifact],
    collection: Input[Artifact],
    catch_up: str,
    generation: Output[Artifact],
) -> str:
    """Write the manifest, wait until the tower's host holds the generation, then one release record.

    Args:
        window: What was learned, from load_window.
        archive: From package_tower.
        collection: From build_index.
        catch_up: Up to when the version learns on its own base before it is offered, see `full_steps.publish`.
        generation: The manifest.

    Returns:
        The generation's id.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    manifest = full_steps.publish(FullUpdate.of(load_settings(), window.metadata), catch_up)
    generation.metadata.update({"generation": manifest.id, "collection": manifest.collection})
    return str(manifest.id)
