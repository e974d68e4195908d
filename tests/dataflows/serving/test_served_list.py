"""Which models of a list answer, and what is told where some cannot be had."""

from pathlib import Path

import pytest

from streamrec import PaperJob
from streamrec.dataflows.job.report import ServedModel
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.scorer import build_flow
from tests.dataflows.serving.on_paper import MODELS

LIST = f"""
[[models]]
model = "{MODELS}:Thrice"

[[experiments]]
name = "which"

[[experiments.variants]]
name = "old"
model = "{MODELS}:Twice"
weight = 0.9

[[experiments.variants]]
name = "new"
model = "{MODELS}:TwiceNewer"
weight = 0.1
"""


def test_scorer_tells_name_and_version_of_each_model(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(LIST)
    job = PaperJob("scorer", settings=load_settings(models=str(path)))

    build_flow(job)

    versions = {model.name: model.version for model in job.report.models}
    assert versions.keys() == {"thrice", "which:old", "which:new"}
    assert versions["which:old"] != versions["which:new"]
    assert all(
        isinstance(model, ServedModel) and model.made_s is None for model in job.report.models
    )


def test_all_models_that_cannot_be_had_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f'{LIST}\n[[models]]\nmodel = "nowhere:Model"\n'.replace(":TwiceNewer", ":No"))
    with pytest.raises(StartError) as refused:
        build_flow(PaperJob("scorer", settings=load_settings(models=str(path))))
    first, second = str(refused.value).splitlines()
    assert first.startswith("models.toml: models[1].model ") and "nowhere" in first
    assert second.startswith("models.toml: experiments[0].variants[1].model ") and "No" in second
