"""Somebody else's class as a predictor: told by the names of its attributes, nothing imported.

`display_name`, `qualified_name`, `description` (else its docstring), `major_version`,
`minor_version`, `input_schema`, `output_schema`, as attributes or properties; a constructor without
arguments; `predict(data)`.

*Several predict methods.* Every public method whose name begins with `predict` is one, but for the
batch forms. `module:Thing` is `predict` where the class has it, `module:Thing.predict_proba`
another. What that takes and gives is said by `predict_proba_input_schema` and
`predict_proba_output_schema` where the class has these, else by `input_schema` and
`output_schema`.

*Batches.* `predict_batch(list)` is the batch form of `predict`; `predict_proba_batch` or
`predict_batch_proba` that of `predict_proba`. It answers as many as it was given.

*Bytes.* With `content_types` the method is given bytes, and the content type where it asks for a
second value; schemas of the input then say nothing and may be left out.
"""

import inspect
from collections.abc import Callable
from typing import Any

from streamrec.models.loading import BadModel
from streamrec.models.serving.calling import CallPredictor
from streamrec.models.serving.checking import Checker
from streamrec.models.serving.described import Facts, complaint_of_call, metadata_of
from streamrec.models.serving.raw import RawChecker, of_raw, of_raws
from streamrec.user_code import told

PREDICT = "predict"


def class_predictor(name: str, make: Any, method: str | None) -> CallPredictor:
    """Make the model and read what it says. `make` is a class, or an object that is one already.
    Raises BadModel that names all that is missing."""
    model = made(name, make) if inspect.isclass(make) else make
    facts = Facts(name, model)
    chosen = method or default_method(model)
    if method is not None and method not in methods_of(model):
        held = ", ".join(methods_of(model)) or "none"
        facts.problems.append(f"expected a predict method {method!r}, got {held}")
        chosen = PREDICT
    content_types = facts.content_types()
    inputs: Checker = facts.schema(
        f"{chosen}_input_schema",
        "input_schema",
        may_be_missing=bool(content_types),
        is_output=False,
    )
    if content_types and inputs.json_schema is not None:
        facts.problems.append("expected content_types or an input_schema, got both")
    outputs = facts.schema(
        f"{chosen}_output_schema", "output_schema", may_be_missing=False, is_output=True
    )
    one = facts.method(chosen) if method is None or not facts.problems else None
    many = _batch_form(model, chosen)
    metadata = metadata_of(facts, model, chosen, inputs, outputs)
    facts.refuse()
    assert one is not None  # or it would have been refused
    if content_types:
        inputs = RawChecker(content_types)
        one, many = of_raw(one), None if many is None else of_raws(many)
    return CallPredictor(metadata, one, many, inputs=inputs, outputs=outputs)


def made(name: str, make: Callable[[], Any]) -> Any:
    """What the constructor makes without arguments. Raises BadModel."""
    try:
        return make()
    except (Exception, SystemExit) as error:  # user code: the model cannot be had
        raise BadModel(
            f"model {name!r} could not be made without arguments: {told(error)}"
        ) from error


def default_method(model: Any) -> str:
    """`predict`, or the only other that there is."""
    methods = methods_of(model)
    return methods[0] if len(methods) == 1 else PREDICT


def methods_of(thing: Any) -> list[str]:
    """The predict methods of a class or of what it made, `predict` first, then as they stand.

    >>> class Two:
    ...     def predict_proba(self, data): ...
    ...     def predict(self, data): ...
    ...     def predict_batch(self, data): ...
    >>> methods_of(Two)
    ['predict', 'predict_proba']
    """
    kind = thing if inspect.isclass(thing) else type(thing)
    own = {} if inspect.isclass(thing) else getattr(thing, "__dict__", {})
    places = [*(vars(each) for each in reversed(kind.__mro__)), own]
    found: dict[str, Any] = {name: held for place in places for name, held in place.items()}
    names = [
        name
        for name, held in found.items()
        if name.startswith(PREDICT)
        and not _is_batch_form(name)
        and (callable(held) or isinstance(held, classmethod))
    ]
    return sorted(names, key=lambda each: each != PREDICT)


def _is_batch_form(name: str) -> bool:
    return name == "predict_batch" or name.endswith("_batch") or name.startswith("predict_batch_")


def _batch_form(model: Any, method: str) -> Callable[..., Any] | None:
    """The batch form of a method; one that cannot be called with a list is none."""
    rest = method.removeprefix(PREDICT)
    for name in (f"{method}_batch", f"{PREDICT}_batch{rest}"):
        found = getattr(model, name, None)
        if found is not None and complaint_of_call(found) is None:
            batch: Callable[..., Any] = found
            return batch
    return None


__all__ = ["class_predictor", "default_method", "made", "methods_of"]
