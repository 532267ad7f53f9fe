"""A full version's user tower as a TorchServe model archive: exported program, encoder, handler; no table."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from importlib.resources import files
from pathlib import Path

import orjson

from pagoda.errors import IntegrityError
from pagoda.storage.atomic import write_atomic
from pagoda.storage.checksums import SHA256, checksum_file

MODEL = "pagoda"
"""Name of the model on the server; its versions are the full versions."""
PROGRAM, ENCODER, HANDLER = "user_tower.pt2", "encoder.json", "handler.py"
_NAME = re.compile(rf"{MODEL}-(\d+)\.mar")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_log = logging.getLogger(__name__)


def archive_name(version: int) -> str:
    """File name of a full version's archive."""
    return f"{MODEL}-{version}.mar"


def archive_version(archive: Path) -> int:
    """The full version of an archive.

    Raises:
        IntegrityError: The file is not named as one.
    """
    match = _NAME.fullmatch(archive.name)
    if match is None:
        raise IntegrityError(f"{archive}: a model archive is named {archive_name(7)}, say")
    return int(match[1])


def archives(store: Path) -> list[Path]:
    """The archives in a folder, oldest version first."""
    return sorted((path for path in store.glob("*.mar") if _NAME.fullmatch(path.name)), key=archive_version)


def place(archive: Path, version: int, store: Path) -> None:
    """Copy a verified archive into the folder `store`, whole or not at all; what else lies in its place is replaced.

    Raises:
        IntegrityError: It is another version's.
    """
    if archive_version(archive) != version:
        raise IntegrityError(f"{archive} is the archive of version {archive_version(archive)}, not {version}")
    target = store / archive.name
    if target.exists():
        if target.samefile(archive) or checksum_file(target, SHA256) == checksum_file(archive, SHA256):
            return
        # The archive given is what its manifest says; whatever lies in its place was changed here.
        _log.error("%s was changed; it is replaced by %s", target, archive)
    # Flushed before it has its name: half an archive would be refused as another one, for good.
    write_atomic(target, archive.read_bytes())


def unpack(content: bytes, folder: Path) -> None:
    """Write the program and the encoder of an archive into `folder`: its handler is code, and not needed there.

    Raises:
        IntegrityError: It is no archive, or lacks one of them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in (PROGRAM, ENCODER):
                (folder / name).write_bytes(archive.read(name))
    except (zipfile.BadZipFile, KeyError) as error:
        raise IntegrityError(f"not the archive of a user tower: {error}") from error


def package(folder: Path, version: int, store: Path) -> Path:
    """Write the archive of full version `version` into the folder `store`; the same version gives the same bytes.

    Args:
        folder: The version's files, of which the program and the encoder are taken.
        version: Its number.
        store: Where to; an archive that is there already is replaced only when it is finished.

    Returns:
        The archive.

    Raises:
        IntegrityError: A file is missing.
    """
    archive = store / archive_name(version)
    write_atomic(archive, _zipped(_contents(folder, version)))
    return archive


def _contents(folder: Path, version: int) -> dict[str, bytes]:
    try:
        parts = {name: (folder / name).read_bytes() for name in (PROGRAM, ENCODER)}
    except OSError as error:
        raise IntegrityError(
            f"{error.filename}: cannot be read ({error.strerror}); the version is incomplete"
        ) from None
    handler = files("serving.tower").joinpath(HANDLER).read_bytes()
    return {"MAR-INF/MANIFEST.json": _manifest(version), HANDLER: handler, **parts}


def _manifest(version: int) -> bytes:
    # Here, since who only unpacks has no archiver. And only the manifest is its: its packing goes through one folder in
    # /tmp that all processes share, and stamps the time into every entry.
    from model_archiver.model_archiver_config import ModelArchiverConfig
    from model_archiver.model_packaging_utils import ModelExportUtils

    config = ModelArchiverConfig(MODEL, HANDLER, f"{version}.0", serialized_file=PROGRAM, extra_files=ENCODER)
    manifest = orjson.loads(ModelExportUtils.generate_manifest_json(config))
    del manifest["createdOn"]
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE
            archive.writestr(entry, content)
    return buffer.getvalue()
