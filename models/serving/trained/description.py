"""The description beside a trained file: TOML, checked here; `models.serving.files` says what each
part means."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamrec.models.loading import BadModel
from streamrec.models.serving.contract import NAME, JsonSchema, Metadata
from streamrec.models.serving.functions import version_of
from streamrec.models.serving.misfit import path_of, shown

MODEL_SUFFIXES = (".skops", ".txt", ".lgb", ".onnx", ".linear")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputField(_Strict):
    """One input; their order is that of the model's features."""

    name: str = Field(min_length=1)
    type: Literal["number", "integer", "boolean", "string", "category"]
    description: str = ""
    min: float | None = None
    max: float | None = None
    nullable: bool = False
    categories: tuple[str, ...] = ()
    unseen: Literal["refuse", "pass"] = "refuse"

    @model_validator(mode="after")
    def _fits(self) -> "InputField":
        if (self.min is not None or self.max is not None) and not self.is_number:
            raise ValueError(f"min and max expected type number or integer, got {self.type}")
        if self.categories and self.type != "category":
            raise ValueError(f"categories expected type category, got {self.type}")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("categories expected each once")
        return self

    @property
    def is_number(self) -> bool:
        return self.type in ("number", "integer")

    @property
    def is_text(self) -> bool:
        return self.type in ("string", "category")

    @property
    def refuses_unseen(self) -> bool:
        return bool(self.categories) and self.unseen == "refuse"

    def json_schema(self) -> JsonSchema:
        kind: Any = "string" if self.is_text else self.type
        made: dict[str, Any] = {"type": [kind, "null"] if self.nullable else kind}
        if self.description:
            made["description"] = self.description
        if self.min is not None:
            made["minimum"] = self.min
        if self.max is not None:
            made["maximum"] = self.max
        if self.refuses_unseen:
            made["enum"] = [*self.categories, None] if self.nullable else [*self.categories]
        return made


class OutputFields(_Strict):
    """What is made of the model's answer."""

    name: str = ""
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    probability: str = ""
    probabilities: str = ""
    threshold: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "OutputFields":
        if bool(self.name) == bool(self.names):
            raise ValueError("expected either name or names")
        if self.names and (self.labels or self.probability or self.probabilities):
            raise ValueError("labels and probabilities expected name, got names")
        if self.labels and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels expected each once")
        if self.threshold is not None and self.labels and len(self.labels) != 2:
            raise ValueError(f"threshold expected two labels, got {len(self.labels)}")
        return self


class Description(_Strict):
    """A description as it stands in its file."""

    name: str = ""
    display_name: str = ""
    description: str = ""
    version: str = "1.0"
    file: str = ""
    trust: tuple[str, ...] = ()
    inputs: tuple[InputField, ...] = Field(min_length=1)
    output: OutputFields

    def metadata(self, labels: tuple[str, ...]) -> Metadata:
        """`labels` are those of the output: the description's, or the model's own."""
        version = version_of(self.version)
        assert version is not None  # or it would have been refused
        return Metadata(
            qualified_name=self.name,
            display_name=self.display_name or self.name,
            description=self.description,
            major_version=version[0],
            minor_version=version[1],
            input_schema={
                "type": "object",
                "properties": {each.name: each.json_schema() for each in self.inputs},
                "required": [each.name for each in self.inputs if not each.nullable],
            },
            output_schema=output_schema(self.output, labels),
        )


def output_schema(output: OutputFields, labels: tuple[str, ...]) -> JsonSchema:
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    fields: dict[str, Any] = {name: {"type": "number"} for name in output.names}
    if output.name:
        of_label = {"type": "string", "enum": [*labels]}
        fields[output.name] = of_label if labels else {"type": "number"}
    if output.probability:
        fields[output.probability] = chance
    if output.probabilities:
        fields[output.probabilities] = {
            "type": "object",
            "properties": dict.fromkeys(labels, chance),
            "required": [*labels],
            "additionalProperties": False,
        }
    return {
        "type": "object",
        "properties": fields,
        "required": [*fields],
        "additionalProperties": False,
    }


def described_file(path: Path) -> tuple[Path, Description]:
    """The trained file and its description, given either. Raises BadModel."""
    told_by = path if path.suffix == ".toml" else path.with_suffix(".toml")
    if path.suffix != ".toml" and not path.is_file():
        raise BadModel(f"model {str(path)!r} expected a file, found none")
    try:
        text = told_by.read_text()
    except OSError as error:
        raise BadModel(
            f"model {str(path)!r} expected its description in {told_by}: {error.strerror}"
        ) from None
    except UnicodeDecodeError as error:
        raise BadModel(f"{told_by} expected UTF-8: {error}") from None
    description = parsed(text, told_by)
    if path.suffix != ".toml":
        return path, description
    if description.file:
        return _held(path.parent / description.file, told_by), description
    found = [path.with_suffix(s) for s in MODEL_SUFFIXES if path.with_suffix(s).is_file()]
    if len(found) != 1:
        got = ", ".join(each.name for each in found) or "none"
        raise BadModel(
            f"{told_by} expected one trained file of its name beside it "
            f'({", ".join(MODEL_SUFFIXES)}), got {got}; or name it: file = "..."'
        )
    return found[0], description


def _held(path: Path, told_by: Path) -> Path:
    if not path.is_file():
        raise BadModel(f"{told_by}: file expected a trained file at {path}, found none")
    return path


def parsed(text: str, path: Path) -> Description:
    """A description's text. Raises BadModel that names what is wrong, all of it."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadModel(f"{path} expected TOML: {error}") from None
    said.setdefault("name", path.stem)
    try:
        made = Description.model_validate(said)
    except ValidationError as error:
        wrong = [
            f"{path_of(each['loc'])[2:] or 'it'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
        raise BadModel(f"{path} " + "; ".join(wrong)) from None
    problems = []
    if not NAME.fullmatch(made.name):
        problems.append(f"name expected letters, digits, - and _ only, got {made.name!r}")
    if version_of(made.version) is None:
        problems.append(f"version expected major.minor, as '1.0', got {shown(made.version)}")
    names = [each.name for each in made.inputs]
    if len(set(names)) != len(names):
        problems.append(f"inputs expected each name once, got {names}")
    if problems:
        raise BadModel(f"{path} " + "; ".join(problems))
    return made


__all__ = ["MODEL_SUFFIXES", "Description", "InputField", "OutputFields", "described_file"]
