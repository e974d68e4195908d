"""Unpacks an archive below a folder, on each Python that is supported."""

import tarfile
from pathlib import Path


def unpack_tar(archive: Path, folder: Path) -> None:
    """Files and folders of a tar, of whatever compression, and nothing that would come to stand
    elsewhere. Raises tarfile.TarError, EOFError, OSError."""
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
            return
        # Python before 3.11.4 has no filters.
        for member in tar:
            place = (folder / member.name).resolve()
            if not place.is_relative_to(folder.resolve()):
                raise tarfile.ExtractError(f"{member.name!r} expected a place below the folder")
            if member.isfile() or member.isdir():
                tar.extract(member, folder, set_attrs=False)


__all__ = ["unpack_tar"]
