"""Answers that came as values, as Avro: each the fields of the output schema, without a header."""

from collections.abc import Sequence
from typing import Any

from streamrec.models.serving.contract import Fault
from streamrec.schemas.header_ids import HEADER_BYTES
from streamrec.schemas.json_codec import JsonEncoder, MisfitError
from streamrec.schemas.reasons import Reason


class AvroAnswers:
    """Encodes under the schema that was made of a model's outputs."""

    def __init__(self, schema: str) -> None:
        self._encoder = JsonEncoder(schema, 0)

    def __call__(self, answers: Sequence[Any]) -> list[bytes | Fault]:
        """The body of each; a Fault for one that does not fit, as a number beyond 64 bits."""
        found: list[bytes | Fault] = []
        for answer in answers:
            try:
                found.append(self._encoder.encode(answer)[HEADER_BYTES:])
            except MisfitError as error:
                found.append(Fault(Reason.OUTPUT_UNENCODABLE, f"answer {error}"))
        return found


__all__ = ["AvroAnswers"]
