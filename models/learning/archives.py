"""A model as one archive: the same files make the same bytes, and their digest is the version.

A ZIP without compression, of files by name, each dated 1980: a trained file and its description
(`models.serving.files`), or an artifact's folder (`models.artifact`). Beside them stands
`about.json`, what is known of the model. Reading one runs nothing of it.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ABOUT = "about.json"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can say
_VERSION_DIGITS = 16
_MODE = 0o644 << 16


class BadArchive(ValueError):
    """Bytes that are no archive of a model, or files that can make none."""


class BadDigest(BadArchive):
    """An archive that is not the one that was published."""


class Archive(NamedTuple):
    """A packed model."""

    content: bytes
    digest: str  # SHA-256 of the content, hex

    @property
    def version(self) -> str:
        """By which it is known: how its digest begins."""
        return version_of(self.digest)

    @property
    def about(self) -> dict[str, Any]:
        """What it says of itself. Raises BadArchive."""
        return about_in(files_of(self.content))


def version_of(digest: str) -> str:
    """The version of what has such a digest.

    >>> version_of("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    '9f86d081884c7d65'
    """
    return digest[:_VERSION_DIGITS]


def pack(files: Mapping[str, bytes]) -> Archive:
    """The archive of such files. Raises BadArchive for a name with a folder in it.

    >>> one = {"m.toml": b"", "about.json": b"{}"}
    >>> pack(one) == pack(dict(reversed(one.items())))
    True
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            _check_name(name)
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, _MODE  # whoever packs it
            archive.writestr(entry, files[name])
    content = out.getvalue()
    return Archive(content, digest_of(content))


def digest_of(content: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def pack_folder(folder: Path, about: Mapping[str, Any] | None = None) -> Archive:
    """The archive of a folder's files; `about` is in the place of its about.json. Names that begin
    with a dot are left out. Raises BadArchive."""
    files = files_in(folder)
    if about is not None:
        files[ABOUT] = about_json(about)
    if not files.keys() - {ABOUT}:
        raise BadArchive(f"{folder} expected files of a model, found none")
    return pack(files)


def files_in(folder: Path) -> dict[str, bytes]:
    """A folder's files by name. Raises BadArchive where it has folders, or cannot be read."""
    found = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if not path.is_file():
                raise BadArchive(f"{folder} expected files only, got {path.name!r}")
            found[path.name] = path.read_bytes()
    except OSError as error:
        raise BadArchive(f"{folder} expected a folder that can be read, got {error}") from error
    return found


def files_of(content: bytes) -> dict[str, bytes]:
    """The files of an archive by name. Raises BadArchive."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                _check_name(entry.filename)
                # Stored only, so that it never grows beyond what arrived.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                    raise BadArchive(f"archive expected {entry.filename!r} as it is, got packed")
                found[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"archive expected a ZIP of files, got {error}") from error
    return found


def about_in(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What `about.json` of such files says; nothing where there is none. Raises BadArchive."""
    try:
        found = json.loads(files.get(ABOUT, b"{}"))
    except ValueError as error:
        raise BadArchive(f"{ABOUT} expected JSON, got {error}") from error
    if not isinstance(found, dict):
        raise BadArchive(f"{ABOUT} expected an object, got {type(found).__name__}")
    return found


def about_json(about: Mapping[str, Any]) -> bytes:
    """The same text for the same content."""
    return json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _check_name(name: str) -> None:
    if not name or Path(name).name != name or name.startswith(".") or "\\" in name or "\0" in name:
        raise BadArchive(f"archive expected names of files without folders, got {name!r}")


__all__ = [
    "ABOUT",
    "Archive",
    "BadArchive",
    "BadDigest",
    "about_in",
    "about_json",
    "digest_of",
    "files_in",
    "files_of",
    "pack",
    "pack_folder",
    "version_of",
]
