"""Which model a folder holds: that of an unpacked archive, or of one that is to be packed."""

from pathlib import Path

from streamrec.models.artifact import MANIFEST
from streamrec.models.learning.archives import BadArchive, files_in
from streamrec.models.serving.trained.description import described_file


def model_in(folder: Path) -> Path:
    """What `load_predictor` takes: the folder itself where it is an artifact, else the description
    of its trained file. Raises BadArchive, BadModel."""
    if (folder / MANIFEST).is_file():
        return folder
    found = sorted(folder.glob("*.toml"))
    if len(found) != 1:
        got = ", ".join(path.name for path in found) or "none"
        raise BadArchive(f"{folder} expected a {MANIFEST} or one description (.toml), got {got}")
    trained, _ = described_file(found[0])
    _check_beside(trained, found[0])
    return found[0]


def model_files(path: Path) -> dict[str, bytes]:
    """The files that make a model: all of a folder, or a trained file and its description, either
    of which may be named. Raises BadArchive, BadModel."""
    if path.is_dir():
        model_in(path)
        return files_in(path)
    trained, _ = described_file(path)
    told_by = path if path.suffix == ".toml" else path.with_suffix(".toml")
    _check_beside(trained, told_by)
    return {each.name: each.read_bytes() for each in (trained, told_by)}


def _check_beside(trained: Path, told_by: Path) -> None:
    if trained.parent.resolve() != told_by.parent.resolve():
        raise BadArchive(f"{told_by}: file expected a trained file beside it, got {trained}")


__all__ = ["model_files", "model_in"]
