"""Learn one full version."""

from kfp.dsl import Dataset, Input, Model, Output

from components.base import component


@component
def train(window: Input[Dataset], config: str, model: Output[Model]) -> None:
    """Warm-start from the parent, shuffle the window, one epoch, all parameters.

    Args:
        window: What to learn, from load_window.
        config: Training configuration as YAML; empty: the defaults.
        model: The files of the version.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    model.uri = full_steps.train(FullUpdate.of(load_settings(), window.metadata), config).as_uri()
