"""A model that is called: inputs checked, the call, answers checked, and each fault its own.

Whatever user code raises is a `Fault` of the record that was asked for, SystemExit too; only what
ends a process from outside (KeyboardInterrupt) passes.
"""

import logging
import marshal
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from streamrec.models.serving.checking import Checker
from streamrec.models.serving.contract import Answer, Fault, Input, Metadata
from streamrec.models.serving.misfit import Misfit
from streamrec.models.serving.plain_values import plain
from streamrec.schemas.reasons import Reason
from streamrec.user_code import told

_logger = logging.getLogger(__name__)

One = Callable[[Any], Any]
Many = Callable[[list[Any]], Any]


class CallPredictor:
    """Asks `one` for each input, or `many` for all of a batch.

    Where `many` raises, or answers too many or too few, each is asked alone, as if there were no
    `many`: a bad record fails itself and not its neighbours. Each input is handed over once more as
    it was, whatever the first call did to it.
    """

    def __init__(
        self,
        metadata: Metadata,
        one: One,
        many: Many | None = None,
        *,
        inputs: Checker,
        outputs: Checker,
    ) -> None:
        self.metadata = metadata
        self.batched = many is not None  # as `Predictor` has it
        self._one = one
        self._many = many
        self._take = inputs.check
        self._give = answer_check(outputs)
        self._warned = False

    def predict(self, inputs: Sequence[Input]) -> list[Answer | Fault]:
        """As the contract says."""
        if self._many is None or len(inputs) < 2:
            return [self._answer(value) for value in inputs]
        return self._answers(inputs, self._many)

    def _answer(self, value: Input) -> Answer | Fault:
        try:
            prepared = self._take(value)
            if type(prepared) is Misfit:
                return refused(prepared)
            found = self._give(self._one(prepared))
        except BaseException as error:  # noqa: BLE001  # user code may raise anything
            return raised(self.metadata.qualified_name, error)
        return output_refused(found) if type(found) is Misfit else found

    def _answers(self, inputs: Sequence[Input], many: Many) -> list[Answer | Fault]:
        results: list[Any] = [None] * len(inputs)
        rows, prepared = [], []
        kept = _kept(inputs)
        for row, value in enumerate(inputs):
            try:
                found = self._take(value)
            except BaseException as error:  # noqa: BLE001  # user code may raise anything
                results[row] = raised(self.metadata.qualified_name, error)
                continue
            if type(found) is Misfit:
                results[row] = refused(found)
            else:
                rows.append(row)
                prepared.append(found)
        answers = self._asked(many, prepared) if prepared else []
        if answers is None:
            again = inputs if kept is None else marshal.loads(kept)
            for row in rows:
                results[row] = self._answer(again[row])
            return results
        for row, answer in zip(rows, answers, strict=True):
            results[row] = self._finished(answer)
        return results

    def _asked(self, many: Many, prepared: list[Any]) -> list[Any] | None:
        """One answer for each, or None: each is to be asked alone."""
        count = len(prepared)
        try:
            found = many(prepared)
            answers = None if isinstance(found, dict | str | bytes) else list(found)
        except BaseException as error:  # noqa: BLE001  # user code may raise anything
            _pass_on(error)
            self._warn(f"raised {_said(error)}")
            return None
        if answers is None or len(answers) != count:
            got = type(found).__name__ if answers is None else len(answers)
            self._warn(f"expected {count} answers, got {got}")
            return None
        return answers

    def _finished(self, answer: Any) -> Answer | Fault:
        try:
            found = self._give(answer)
        except BaseException as error:  # noqa: BLE001  # user code may raise anything
            return raised(self.metadata.qualified_name, error)
        return output_refused(found) if type(found) is Misfit else found

    def _warn(self, what: str) -> None:
        if not self._warned:
            name = self.metadata.qualified_name
            _logger.warning("model %s: a batch %s; one by one (told once)", name, what)
            self._warned = True


def answer_check(outputs: Checker) -> Callable[[Any], Any]:
    """What an answer is as JSON, finite numbers only, or a Misfit."""
    own = getattr(outputs, "check_answer", None)
    check = outputs.check
    if own is not None:
        return lambda answer: _plain_or_misfit(own(answer))
    is_valid = getattr(outputs, "is_valid", None)
    if is_valid is not None:  # of JSON Schema: without a call more for each record

        def by_schema(answer: Any) -> Any:
            found = plain(answer)
            if type(found) is Misfit or is_valid(found):
                return found
            return check(found)

        return by_schema

    def by_object(answer: Any) -> Any:
        found = plain(answer)
        if type(found) is Misfit:
            return found
        made = check(found)
        return made if made is found or type(made) is Misfit else plain(made)

    return by_object


def _plain_or_misfit(found: Any) -> Any:
    return found if type(found) is Misfit else plain(found)


def _kept(inputs: Sequence[Input]) -> bytes | None:
    """The inputs as they are; None: they cannot be changed, or not be kept so."""
    try:
        return marshal.dumps(list(inputs))
    except ValueError:  # Raw: bytes, which nobody changes
        return None


def refused(misfit: Misfit) -> Fault:
    """The fault of an input that its schema refuses."""
    return Fault(Reason.INVALID_VALUE, str(misfit))


def output_refused(misfit: Misfit) -> Fault:
    """The fault of an answer that its schema refuses, or that is no JSON."""
    return Fault(Reason.OUTPUT_INVALID, f"answer {misfit}")


def raised(name: str, error: BaseException) -> Fault:
    """The fault of what a model raised, with its traceback. What ends a process passes."""
    _pass_on(error)
    try:
        stack = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  # its own text is user code, too
        stack = "".join(traceback.format_tb(error.__traceback__))
    message = f"model {name} raised {_said(error)}"
    return Fault(Reason.MODEL_FAILED, message, type(error).__name__, stack)


def _pass_on(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        raise error


def _said(error: BaseException) -> str:
    try:
        return told(error)
    except Exception:  # noqa: BLE001  # user code, too
        return f"a {type(error).__name__} that cannot be told as text"


__all__ = ["CallPredictor", "answer_check", "output_refused", "raised", "refused"]
