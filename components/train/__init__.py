"""Learn one full version."""

from kfp.dsl import Dataset, Input, Model, Output

from components.base import component


@component
def train(window: Input[Dataset], config: str, teacher: str, teacher_scale: str, model: Output[Model]) -> None:
    """Warm-start from the parent, shuffle the window, one epoch, all parameters.

    Args:
        window: What to learn, from load_window.
        config: Training configuration as YAML; empty: the defaults.
        teacher: Path or URL of a ranker's scores, where the configuration declares `distillation`.
        teacher_scale: What they are: `logit` or `probability`.
        model: The files of the version.
    """
    from pagoda.settings import load_settings
    from pagoda.updates import full_steps
    from pagoda.updates.full import FullUpdate

    update = FullUpdate.of(load_settings(), window.metadata)
    model.uri = full_steps.train(update, config, teacher, teacher_scale).as_uri()
