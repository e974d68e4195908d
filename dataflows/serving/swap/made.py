"""A version of a published model, made of its unpacked archive."""

from dataclasses import replace
from pathlib import Path

from streamrec.dataflows.serving.apart_models import apart_predictor
from streamrec.dataflows.serving.pipelines import Variant
from streamrec.models.learning.archives import BadArchive
from streamrec.models.learning.in_folder import model_in
from streamrec.models.loading import BadModel
from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.contract import Predictor
from streamrec.models.serving.loading import load_predictor
from streamrec.user_code import told


class Refused(Exception):
    """A version that will not answer."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason  # as in schemas/model_events.avsc


def made_of(folder: Path, variant: Variant, label: str) -> tuple[Predictor, list[ApartPredictor]]:
    """The model of a folder as a variant runs it. Raises Refused."""
    if not variant.apart:
        return _loaded(folder), []
    made = apart_model(folder, variant, label)
    try:
        made.wait_until_warm()
    except BadModel as error:
        made.close()
        raise Refused("cannot_load", str(error)) from error
    return made, [made]


def apart_model(folder: Path, variant: Variant, label: str) -> ApartPredictor:
    """The same in a process of its own, which loads meanwhile. Raises Refused."""
    try:
        path = model_in(folder)
    except (BadModel, BadArchive) as error:
        raise Refused("cannot_load", str(error)) from error
    return apart_predictor(replace(variant, model=str(path)), folder, label)


def _loaded(folder: Path) -> Predictor:
    """The model of an unpacked archive. Raises Refused."""
    try:
        return load_predictor(str(model_in(folder)))
    except (BadModel, BadArchive, ValueError, OSError) as error:
        raise Refused("cannot_load", str(error)) from error
    except Exception as error:  # the file's own, while it is made
        raise Refused("cannot_load", told(error)) from error


__all__ = ["Refused", "apart_model", "made_of"]
