"""`pagoda data export`: datasets for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

exporting = typer.Typer(name="export", help="Write a dataset for other programs.", no_args_is_help=True)


@exporting.callback()
def _() -> None:
    """Keep the name of the format, also while there is one."""


@exporting.command("tfrecord")
def tfrecord(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Dataset folder or URL.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder; an existing one is not overwritten.")],
    *,
    gzip: Annotated[
        bool, typer.Option("--gzip", help="Compress the files (TensorFlow: compression_type GZIP).")
    ] = False,
) -> None:
    """Write users, items and each date's interactions as TFRecord files of tf.train.Example."""
    from pagoda.data.mirror import open_local_or_mirrored
    from pagoda.data.tfrecord.export import export_tfrecord

    with tempfile.TemporaryDirectory() as scratch:
        done = export_tfrecord(open_local_or_mirrored(dataset, Path(scratch)), folder, compressed=gzip)
    typer.echo(f"{folder}: " + ", ".join(f"{count:,} {table}" for table, count in done.rows.items()))
    for column, count in done.rounded.items():
        typer.echo(f"{column}: {count:,} numbers were rounded to 7 digits: TFRecord's floats have 32 bits")
    for column, count in done.left_out.items():
        typer.echo(f"{column}: {count:,} numbers are too large for 32 bits, and missing in the files")
