import io
import zipfile
from pathlib import Path

import pytest

from streamrec.models.learning.archives import (
    BadArchive,
    files_of,
    pack,
    pack_folder,
    version_of,
)
from streamrec.models.learning.unpacked import cached, unpack

FILES = {"iris.toml": b'name = "iris"\n', "iris.txt": bytes(range(256)) * 40}


def folder(path: Path, files: dict[str, bytes] = FILES) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def test_the_same_files_make_the_same_archive_wherever_and_whenever(tmp_path: Path) -> None:
    one = pack_folder(folder(tmp_path / "one"), {"b": 1, "a": 2})
    other = folder(tmp_path / "other", dict(reversed(FILES.items())))
    (other / ".hidden").write_text("not of the model")
    (other / "iris.txt").chmod(0o600)
    assert pack_folder(other, {"a": 2, "b": 1}) == one
    assert one.about == {"a": 2, "b": 1}
    assert one.version == version_of(one.digest)
    assert pack_folder(other, {"a": 3}).digest != one.digest


def test_a_folder_comes_back_as_it_was_packed(tmp_path: Path) -> None:
    archive = pack_folder(folder(tmp_path / "one"), {"rows": 7})
    made = unpack(archive.content, archive.digest, tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in made.iterdir()} == files_of(archive.content)
    assert cached(archive.digest, tmp_path / "cache") == made


def test_a_cached_folder_that_was_changed_is_made_anew(tmp_path: Path) -> None:
    archive = pack_folder(folder(tmp_path / "one"))
    made = unpack(archive.content, archive.digest, tmp_path / "cache")
    (made / "iris.txt").write_bytes(b"changed")
    assert unpack(archive.content, archive.digest, tmp_path / "cache") == made
    assert (made / "iris.txt").read_bytes() == FILES["iris.txt"]
    (made / "more.txt").write_bytes(b"added")
    assert cached(archive.digest, tmp_path / "cache") is None


def test_another_digest_is_refused(tmp_path: Path) -> None:
    archive = pack(FILES)
    with pytest.raises(BadArchive, match=f"expected SHA-256 {'0' * 64}, got {archive.digest}"):
        unpack(archive.content, "0" * 64, tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", "", ".x", "a\\b"])
def test_an_archive_with_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name or "x"), b"x")
    content = out.getvalue() if name else b""
    with pytest.raises(BadArchive):
        files_of(content)
    with pytest.raises(BadArchive, match="names of files without folders"):
        pack({name: b"x"})


def test_a_packed_entry_is_refused_before_it_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(1_000_000))
    with pytest.raises(BadArchive, match="'x' as it is, got packed"):
        files_of(out.getvalue())


def test_a_damaged_archive_is_refused() -> None:
    content = bytearray(pack(FILES).content)
    content[content.index(bytes(range(100)))] ^= 1
    with pytest.raises(BadArchive, match="expected a ZIP of files"):
        files_of(bytes(content))


def test_a_folder_of_nothing_or_of_folders_makes_no_archive(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="expected files of a model, found none"):
        pack_folder(folder(tmp_path / "none", {}), {"a": 1})
    (folder(tmp_path / "deep") / "more").mkdir()
    with pytest.raises(BadArchive, match="expected files only, got 'more'"):
        pack_folder(tmp_path / "deep")
    with pytest.raises(BadArchive, match="expected a folder that can be read"):
        pack_folder(tmp_path / "nowhere")
