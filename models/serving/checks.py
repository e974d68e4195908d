"""The battery of checks that every model on a stream passes, for those of others too.

    streamrec model check my_module:Iris

or, in a test of one's own:

    def test_it_keeps_the_contract():
        check_predictor("my_module:Iris")
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from streamrec.models.loading import BadModel
from streamrec.models.serving.avro import avro_schema_of, why_no_avro
from streamrec.models.serving.contract import Fault, Predictor, Raw
from streamrec.models.serving.examples import broken_of, examples_of
from streamrec.models.serving.loading import load_predictor
from streamrec.models.serving.misfit import path_of, shown
from streamrec.schemas.reasons import Reason

Make = Callable[[], Predictor]


class BrokenPredictorError(AssertionError):
    """A model does not keep the contract; the message says where, and what was expected."""


class Finding(NamedTuple):
    """One check, and what it found."""

    name: str
    complaint: str | None  # None: it passed
    note: str = ""


def check_predictor(make: str | Make) -> None:
    """Check a model, by its name or by what makes one anew each time. Raises
    BrokenPredictorError with all that is wrong, a line each."""
    by_name = (lambda: load_predictor(make)) if isinstance(make, str) else make
    complaints = [f"{c.name}: {c.complaint}" for c in predictor_checks(by_name) if c.complaint]
    if complaints:
        raise BrokenPredictorError("\n".join(complaints))


def predictor_checks(make: Make) -> Iterator[Finding]:
    """Run the checks one after the other; a model that cannot be loaded ends them."""
    try:
        predictor = make()
    except BadModel as error:
        yield Finding("it can be loaded", str(error))
        return
    yield Finding("it can be loaded", None)
    metadata = predictor.metadata
    examples: list[Any] = (
        [Raw(b"", _concrete(metadata.content_types[0]))]
        if metadata.content_types
        else examples_of(metadata.input_schema)
    )
    made = "bytes" if metadata.content_types else "inputs that fit its schema"
    if not metadata.content_types:
        examples = _judged(predictor, examples)
    if not examples:
        note = "none could be made: give input_schema `examples`"
        yield Finding("it answers inputs that fit its schema", None, note)
    elif not metadata.content_types:
        yield Finding(f"it answers {made}", _unanswered(predictor, examples))
        yield Finding("a field that is wrong is named", _unnamed(predictor, examples[0]))
    yield Finding("what is no input is refused", _not_refused(predictor))
    yield Finding("a batch is answered as each by itself is", _differs(make, examples))
    yield _avro(predictor)


def _judged(predictor: Predictor, examples: list[Any]) -> list[Any]:
    """Without those that were made up, and that the model need not take: its own check may say more
    than JSON Schema can, and with a schema that says
    nothing nobody knows what it takes."""
    schema = predictor.metadata.input_schema
    own = () if schema is None else schema.get("examples", ())
    says_much = schema is not None and schema.keys() - {"type", "title", "description"}
    refusals = {Reason.INVALID_VALUE} if says_much else {*Reason}
    return [
        example
        for example, answer in zip(examples, predictor.predict(examples), strict=True)
        if example in own or not (isinstance(answer, Fault) and answer.reason in refusals)
    ]


def _concrete(content_type: str) -> str:
    return content_type.replace("*", "x")


def _unanswered(predictor: Predictor, examples: list[Any]) -> str | None:
    for example, answer in zip(examples, predictor.predict(examples), strict=True):
        if isinstance(answer, Fault):
            return f"expected an answer to {shown(example)}, got {answer.reason}: {answer.message}"
        json.dumps(answer, allow_nan=False)
    return None


def _unnamed(predictor: Predictor, example: Any) -> str | None:
    for name, broken in broken_of(example, predictor.metadata.input_schema):
        answer = predictor.predict([broken])[0]
        if not isinstance(answer, Fault) or answer.reason is not Reason.INVALID_VALUE:
            return f"expected {shown(broken)} to be refused, got {shown(answer)}"
        if path_of([name]) not in answer.message:
            return f"expected {path_of([name])} in the message, got {answer.message!r}"
    return None


def _not_refused(predictor: Predictor) -> str | None:
    wrong: Any = {"not": "bytes"} if predictor.metadata.content_types else Raw(b"", "")
    answer = predictor.predict([wrong])[0]
    if isinstance(answer, Fault) and answer.reason is Reason.INVALID_VALUE:
        return None
    return f"expected {shown(wrong)} to be refused, got {shown(answer)}"


def _differs(make: Make, examples: list[Any]) -> str | None:
    """Of two that are as new, so that one that learns as it answers may do so."""
    wrong: Any = Raw(b"", "no/type")
    asked = [*examples, wrong, *examples]
    batched = make().predict(asked)
    if len(batched) != len(asked):
        return f"expected {len(asked)} answers to a batch, got {len(batched)}"
    alone = make()
    for value, in_batch in zip(asked, batched, strict=True):
        by_itself = alone.predict([value])[0]
        if _comparable(by_itself) != _comparable(in_batch):
            asked_for = f"{shown(by_itself)} for {shown(value)} as by itself"
            return f"expected {asked_for}, got {shown(in_batch)}"
    return None


def _comparable(answer: Any) -> Any:
    return (answer.reason, answer.message) if isinstance(answer, Fault) else answer


def _avro(predictor: Predictor) -> Finding:
    """What is no fault, but good to know: whether records may be Avro."""
    metadata = predictor.metadata
    notes = []
    for what, schema in (("input", metadata.input_schema), ("output", metadata.output_schema)):
        if avro_schema_of(schema, what) is None:
            notes.append(f"{what} as JSON only: {why_no_avro(schema, what)}")
    return Finding("its records have a format", None, "; ".join(notes) or "JSON or Avro")


__all__ = ["BrokenPredictorError", "Finding", "check_predictor", "predictor_checks"]
