"""Another look at a dataset without a copy of it."""

from __future__ import annotations

from pathlib import Path

from pagoda.data.layout import FEATURES_FILE
from pagoda.data.spec import PastText, read_spec, write_spec


def view_without_history(path: Path, view: Path) -> Path:
    """Make the new folder `view`: the dataset in `path`, linked, with a feature file that declares no history.

    Nor the texts of its events.

    Raises:
        ConfigError: The feature file is wrong.
        DataError: It cannot be read.
    """
    spec = read_spec(path / FEATURES_FILE)
    view.mkdir(parents=True)
    for table in ("interactions", "users", "items"):
        (view / table).symlink_to((path / table).resolve(), target_is_directory=True)
    others = tuple(feature for feature in spec.features if not isinstance(feature, PastText))
    write_spec(spec.model_copy(update={"history": None, "features": others}), view / FEATURES_FILE)
    return view
