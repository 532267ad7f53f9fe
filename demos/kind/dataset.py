"""`python -m demos.kind.dataset FOLDER URL`: a dataset into a bucket, as often as you like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pagoda.data.dataset import Dataset
from pagoda.data.layout import FEATURES_FILE
from pagoda.storage.copies import sizes, upload
from serving import process


def copy(folder: Path, url: str) -> int:
    """Upload the files of the dataset in `folder` that are not below `url` yet, and return how many these were.

    Raises:
        DataError: `folder` is no dataset.
        UnavailableError: The store does not answer.
    """
    Dataset.open(folder)
    there = sizes(url)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    # Without its feature file a dataset is none, so nobody takes half of one for the whole.
    files.sort(key=lambda path: path.name == FEATURES_FILE)
    absent = [path for path in files if there.get(path.relative_to(folder).as_posix()) != path.stat().st_size]
    for path in absent:
        upload(path, f"{url}/{path.relative_to(folder).as_posix()}")
    return len(absent)


def main(
    folder: Annotated[Path, typer.Argument(help="The dataset.")],
    url: Annotated[str, typer.Argument(help="Where to: s3://BUCKET/FOLDER; keys and address as of AWS' own clients.")],
) -> None:
    """Copy a dataset into a bucket."""
    typer.echo(f"{url}: {copy(folder, url.rstrip('/'))} files uploaded")


if __name__ == "__main__":
    process.run(main)
