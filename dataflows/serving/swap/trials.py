"""A version on trial: compared with what answers now, and tried on inputs, all beside it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamrec.dataflows.serving.schema_changes import first_change
from streamrec.dataflows.serving.swap.made import Refused
from streamrec.models.serving.avro import avro_schema_of
from streamrec.models.serving.contract import Fault, JsonSchema, Metadata, Predictor
from streamrec.models.serving.examples import examples_of
from streamrec.schemas.columns import Columns, select
from streamrec.schemas.reasons import Reason

# What a model does wrong, whatever its inputs are.
MODEL_FAULTS = frozenset(
    {
        Reason.MODEL_FAILED,
        Reason.MODEL_TIMEOUT,
        Reason.MODEL_MEMORY,
        Reason.MODEL_CRASHED,
        Reason.OUTPUT_INVALID,
    }
)
SLOWER_MAX = 5.0  # times as slow as what answers now
_FAST_S = 0.0001  # a record; what is not slower than this is not slow
_TIMES = 5
SAMPLE_MAX = 32  # inputs that a version is tried on
# What two versions may differ in: what they admit, not what fields there are.
_LIMITS = frozenset(
    {
        "enum",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "pattern",
        "examples",
    }
)


@dataclass(frozen=True, slots=True)
class TrialInputs:
    """n inputs, as they came."""

    values: list[Any] | None = None
    columns: Columns | None = None
    count: int = 0

    def cut(self) -> "TrialInputs":
        """As many as are tried."""
        count = min(self.count, SAMPLE_MAX)
        if self.columns is None:
            return TrialInputs((self.values or [])[:count], None, count)
        return TrialInputs(None, select(self.columns, np.arange(count)), count)

    @property
    def first(self) -> "TrialInputs":
        """One of them."""
        return replace(self, count=1).cut()


@dataclass(frozen=True, slots=True)
class TrialRules:
    """What a version must do."""

    name: str  # of the pipeline, for Avro
    is_avro: bool  # outputs are
    by_column: bool
    failing_share: float
    slow_ms: float | None  # of one input; None: by what answers now


def check_fits(new: Predictor, base: Metadata, rules: TrialRules) -> None:
    """Whether a version takes and gives what the pipeline's topics hold. Raises Refused."""
    metadata = new.metadata
    if bool(metadata.content_types) != bool(base.content_types):
        kinds = ["bytes" if each.content_types else "JSON" for each in (base, metadata)]
        raise Refused("wrong_inputs", f"expected a model of {kinds[0]}, got one of {kinds[1]}")
    for what, before, after in (
        ("inputs", base.input_schema, metadata.input_schema),
        ("outputs", base.output_schema, metadata.output_schema),
    ):
        change = first_change(_shape(before), _shape(after))
        if change is not None:
            raise Refused(
                "wrong_inputs",
                f"{what}: {change.path or 'schema'} expected {change.before}, got {change.after}",
            )
        if rules.is_avro and _avro(before, rules) != _avro(after, rules):
            raise Refused("wrong_inputs", f"{what}: expected the same schema in Avro, got another")
    if rules.by_column and not hasattr(new, "predict_columns"):
        raise Refused("wrong_inputs", "expected a model that takes columns, got one that does not")


def self_test(
    new: Predictor,
    old: Predictor | None,
    live: TrialInputs | None,
    about: Mapping[str, Any],
    rules: TrialRules,
    turns: Callable[[], Any],
) -> None:
    """Try a version on the inputs that its `about` has under `self_test`, on made ones, and on some
    that came last; the last also with the old one, which takes turns. Raises Refused."""
    given = about.get("self_test", [])
    given = given if isinstance(given, list) else []
    _try_each(new, given, "self_test of its about.json", 0.0)
    made = examples_of(new.metadata.input_schema) if not new.metadata.content_types else []
    if made and old is not None:
        with turns():
            before = _faulty(old.predict(made))
        if not before:
            _try_each(new, made, "inputs made of its schema", 0.0)
    if live is not None and live.count:
        _try_live(new, old, live, rules, turns)


def _try_live(
    new: Predictor,
    old: Predictor | None,
    live: TrialInputs,
    rules: TrialRules,
    turns: Callable[[], Any],
) -> None:
    found = _ask(new, live)
    wrong = [each for each in found if each.reason in MODEL_FAULTS]
    refused = [each for each in found if each.reason not in MODEL_FAULTS]
    if old is not None:
        with turns():
            before = len(_ask(old, live))
        if len(refused) - before > rules.failing_share * live.count:
            raise Refused(
                "wrong_inputs",
                f"expected to take the last {live.count} inputs, refused {len(refused)}: "
                f"{refused[0].message}",
            )
    if len(wrong) > rules.failing_share * live.count:
        raise Refused(
            "self_test_failed",
            f"expected to answer the last {live.count} inputs, failed at {len(wrong)}: "
            f"{wrong[0].message}",
        )
    for sample, what in ((live.first, "one input"), (live, f"each of {live.count} inputs")):
        took_s = _seconds(new, sample) / sample.count
        if rules.slow_ms is not None:
            limit_s, why = rules.slow_ms / 1000, "slow_ms"
        elif old is not None:
            with turns():
                old_s = _seconds(old, sample) / sample.count
            limit_s, why = max(SLOWER_MAX * old_s, _FAST_S), f"{SLOWER_MAX:g} times the present one"
        else:
            continue
        if took_s > limit_s:
            raise Refused(
                "too_slow",
                f"{what} expected at most {limit_s * 1000:.3g} ms ({why}), took "
                f"{took_s * 1000:.3g} ms",
            )


def _try_each(new: Predictor, inputs: Sequence[Any], what: str, share: float) -> None:
    wrong = _faulty(new.predict(inputs)) if inputs else []
    if len(wrong) > share * len(inputs):
        raise Refused("self_test_failed", f"{what}: {wrong[0].message}")


def _faulty(answers: Sequence[Any]) -> list[Fault]:
    return [each for each in answers if type(each) is Fault]


def _ask(predictor: Predictor, sample: TrialInputs) -> list[Fault]:
    if sample.values is not None:
        return _faulty(predictor.predict(sample.values))
    asked: Any = predictor
    return list(asked.predict_columns(sample.columns, sample.count)[1].values())


def _seconds(predictor: Predictor, sample: TrialInputs) -> float:
    """The least of some calls: other threads take their part of each."""
    least = float("inf")
    for _ in range(_TIMES):
        begun = time.perf_counter()
        _ask(predictor, sample)
        least = min(least, time.perf_counter() - begun)
    return least


def _shape(schema: Any, of_names: bool = False) -> Any:
    """A schema without what it admits of each field."""
    if isinstance(schema, Mapping):
        return {
            name: _shape(each, not of_names and name == "properties")
            for name, each in schema.items()
            if of_names or name not in _LIMITS
        }
    return [_shape(each) for each in schema] if isinstance(schema, list) else schema


def _avro(schema: JsonSchema | None, rules: TrialRules) -> str | None:
    return avro_schema_of(schema, f"{rules.name}Trial")


__all__ = [
    "MODEL_FAULTS",
    "SAMPLE_MAX",
    "TrialInputs",
    "TrialRules",
    "check_fits",
    "self_test",
]
