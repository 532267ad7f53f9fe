"""Package the user tower for its server."""

from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.base import component


@component
def package_tower(window: Input[Dataset], version: Input[Model], archive: Output[Artifact]) -> None:
    """Write the TorchServe archive: exported program, encoder and handler, without any table.

    Args:
        window: What was learned, from load_window.
        version: The registered version.
        archive: The model archive.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate
    from serving.tower.archive import package

    archive.uri = full_steps.package_tower(FullUpdate.of(load_settings(), window.metadata), package).as_uri()
