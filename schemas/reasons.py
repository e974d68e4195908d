"""Why a record is on the topic `errors`: the values of the field `reason` of `errors.avsc`."""

from enum import StrEnum


class Reason(StrEnum):
    """A stable short name to count and filter by, and the class that the error names beside it.

    A new reason is one row here, and nothing else: what `errors.avsc` says of the field stays as it
    is, since a registry compares a schema with its docs, and running jobs look for theirs.

    >>> Reason("too_late").exception
    'TooLateError'
    """

    exception: str  # class that `errors` names where no exception of user code was raised

    NOT_WIRE_FORMAT = "not_wire_format", "NotWireFormatError"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id", "UnknownSchemaError"
    UNDECODABLE = "undecodable", "UndecodableError"
    FAILS_RESOLUTION = "fails_resolution", "ResolutionError"
    INVALID_VALUE = "invalid_value", "InvalidValueError"
    TOO_LATE = "too_late", "TooLateError"
    REPEATED = "repeated", "RepeatedError"
    STATE_FULL = "state_full", "StateFullError"
    MODEL_FAILED = "model_failed", "ValueError"
    MODEL_TIMEOUT = "model_timeout", "ModelTimeoutError"
    MODEL_MEMORY = "model_memory", "ModelMemoryError"
    MODEL_CRASHED = "model_crashed", "ModelCrashedError"
    OUTPUT_INVALID = "output_invalid", "InvalidOutputError"
    OUTPUT_UNENCODABLE = "output_unencodable", "EncodeError"
    OUTPUT_TOO_LARGE = "output_too_large", "RecordTooLargeError"

    def __new__(cls, value: str, exception: str) -> "Reason":
        made = str.__new__(cls, value)
        made._value_ = value
        made.exception = exception
        return made
