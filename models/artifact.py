"""Artifacts: a folder of plain files with a digest, read without running anything from them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANIFEST = "manifest.json"


class BadArtifact(ValueError):
    """A folder that is not an artifact, or whose files are not those that were written."""


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """One NPZ file of arrays without objects."""
    for name, array in arrays.items():
        assert array.dtype.hasobject is False, name
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote. Raises BadArtifact for anything else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as error:
        raise BadArtifact(f"{path.name} expected an NPZ file of plain arrays: {error}") from error


def write_manifest(folder: Path, about: dict[str, Any], files: list[str]) -> str:
    """Seal the files with their SHA-256; returns the digest of them all, the artifact's version."""
    digests = {name: _sha256(folder / name) for name in sorted(files)}
    version = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
    manifest = {"version": version, "about": about, "files": digests}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return version


def read_manifest(folder: Path) -> tuple[str, dict[str, Any]]:
    """Version and `about`. Raises BadArtifact where a file is missing or was changed."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BadArtifact(f"{folder} expected a model artifact with a {MANIFEST}, found none")
    try:
        manifest = json.loads(path.read_text())
        version, about, files = manifest["version"], manifest["about"], manifest["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadArtifact(f"{path} expected version, about and files: {error!r}") from error
    for name, expected in files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise BadArtifact(f"{folder} expected the file {name!r} of its {MANIFEST}, found none")
        got = _sha256(folder / name)
        if got != expected:
            raise BadArtifact(f"{folder / name} expected sha256 {expected}, got {got}")
    return str(version), dict(about)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
