"""Archives as folders on disk: each once, under its digest, and looked at before it is used."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from streamrec.models.learning.archives import (
    BadArchive,
    BadDigest,
    digest_of,
    files_of,
    pack_folder,
)


def default_cache() -> Path:
    """Where a user's archives are unpacked."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streamrec" / "models"


def cached(digest: str, cache: Path) -> Path | None:
    """The folder of an archive that was unpacked before; None: there is none. One whose files were
    changed is removed."""
    folder = cache / digest
    if not folder.is_dir():
        return None
    with suppress(BadArchive):
        if pack_folder(folder).digest == digest:
            return folder
    shutil.rmtree(folder, ignore_errors=True)
    return None


def unpack(content: bytes, digest: str, cache: Path) -> Path:
    """The folder of an archive with this digest. Raises BadArchive where it has another, OSError
    where the cache cannot be written."""
    got = digest_of(content)
    if got != digest:
        raise BadDigest(f"archive expected SHA-256 {digest}, got {got}")
    if found := cached(digest, cache):
        return found
    files = files_of(content)
    cache.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
    try:
        for name, data in files.items():
            (made / name).write_bytes(data)
        try:
            made.rename(cache / digest)
        except OSError:  # another was first
            if not (cache / digest).is_dir():
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return cache / digest


__all__ = ["cached", "default_cache", "unpack"]
