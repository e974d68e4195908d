"""Archives are unpacked below their folder, with a Python that has filters and with one that has
none."""

import io
import tarfile
from pathlib import Path

import pytest

from streamrec.connectors.local.unpacking import unpack_tar


@pytest.fixture(params=["with filters", "without"])
def _python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


def archive_of(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return path


@pytest.mark.usefixtures("_python")
def test_files_stand_where_the_archive_says(tmp_path: Path) -> None:
    unpack_tar(archive_of(tmp_path / "a.tar.gz", "one", "lib/two"), tmp_path / "out")
    assert (tmp_path / "out" / "one").read_text() == "one"
    assert (tmp_path / "out" / "lib" / "two").read_text() == "lib/two"


@pytest.mark.usefixtures("_python")
def test_what_would_stand_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tarfile.TarError):
        unpack_tar(archive_of(tmp_path / "a.tar.gz", "../three"), tmp_path / "out")
    assert not (tmp_path / "three").exists()
