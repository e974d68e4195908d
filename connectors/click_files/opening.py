"""Which files are meant, and their bytes: plain, or packed as .gz, .bz2, .xz, .zst or .zip.

How a file is packed is told by its first bytes, not by its name.
"""

import bz2
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any, cast

import pyarrow as pa

from streamrec.connectors.click_files.rejecting import ClickFileError, UnclearError, explained

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_ZIP = b"PK\x03\x04"
HEAD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to be read, perhaps inside a zip file."""

    path: Path
    member: str | None = None  # of a zip file

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name if self.member is None else f"{self.path.name}:{self.member}"

    @property
    def endings(self) -> list[str]:
        """In lower case, without those that say how the file is packed."""
        name = PurePath(self.member) if self.member is not None else self.path
        return [each.lower() for each in name.suffixes if each.lower() not in PACKED]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes. Raises ClickFileError, for what is read inside too."""
        with explained(self.name):
            if self.member is not None:
                with zipfile.ZipFile(self.path) as packed, packed.open(self.member) as file:
                    yield _unpacked(file, self._first())
            else:
                with self.path.open("rb") as file:
                    yield _unpacked(file, self._first())

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """The same, for a format that is read from its end: what is packed goes to a file of its
        own first, which is gone afterwards."""
        if self.member is None and _packing(self._first()) is None:
            with explained(self.name), self.path.open("rb") as file:
                yield file
            return
        with tempfile.TemporaryFile() as plain:
            with self.open() as file:
                shutil.copyfileobj(file, plain, 1 << 20)
            plain.seek(0)
            with explained(self.name):
                yield plain

    def head(self) -> bytes:
        """The first 64 kB, unpacked."""
        with self.open() as file:
            found = b""
            while len(found) < HEAD_BYTES and (more := file.read(HEAD_BYTES - len(found))):
                found += more
            return found

    def _first(self) -> bytes:
        """The first bytes as they are packed."""
        if self.member is not None:
            with zipfile.ZipFile(self.path) as packed, packed.open(self.member) as file:
                return file.read(8)
        with self.path.open("rb") as file:
            return file.read(8)


def sources(paths: Sequence[Path]) -> list[InputFile]:
    """The files that are meant: a folder stands for those in it, in order of their names, a zip
    file for the one in it, and `FILE.zip:NAME` for one of several. Raises ClickFileError."""
    found: list[InputFile] = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if _is_data(each, path)]
            if not inside:
                raise ClickFileError(f"{path} expected files in the folder, got none")
            found += [source for each in inside for source in _of_file(each)]
        else:
            found += _of_file(path)
    return found


def _is_data(path: Path, folder: Path) -> bool:
    """Not what Spark, Hive and others leave beside the data (`_SUCCESS`, `.crc`)."""
    return path.is_file() and not any(
        part.startswith((".", "_")) for part in path.relative_to(folder).parts
    )


def _of_file(path: Path) -> list[InputFile]:
    text, colon, member = str(path).partition(".zip:")
    if colon and not path.exists():
        path = Path(text + ".zip")
    if not path.exists():
        raise UnclearError(f"expected a file, got {str(path)!r}, which does not exist")
    with explained(path.name):
        if not path.is_file():
            raise ClickFileError(f"{path.name} expected a file or a folder, got neither")
        with path.open("rb") as file:
            if file.read(4) != _ZIP:
                return [InputFile(path)]
        with zipfile.ZipFile(path) as packed:
            names = [
                each.filename
                for each in packed.infolist()
                if not each.is_dir() and not each.filename.startswith("__MACOSX/")
            ]
    if member:
        if member not in names:
            raise UnclearError(f"{path.name} expected one of {names} after the colon, got {member}")
        return [InputFile(path, member)]
    if len(names) != 1:
        raise UnclearError(
            f"{path.name} expected one file in it, got {names}; name one as {path.name}:FILE"
        )
    return [InputFile(path, names[0])]


def _packing(first: bytes) -> str | None:
    return next((how for magic, how in _MAGIC.items() if first.startswith(magic)), None)


def _unpacked(file: IO[bytes], first: bytes) -> IO[bytes]:
    match _packing(first):
        case "gz":
            return cast(IO[bytes], gzip.GzipFile(fileobj=file))
        case "bz2":
            return bz2.BZ2File(file)
        case "xz":
            return lzma.LZMAFile(file)
        case "zst":
            unpacked: Any = pa.CompressedInputStream(file, "zstd")
            return io.BufferedReader(unpacked)  # which knows lines
        case _:
            return file
