"""The batch Avro codec in one place."""

from schemas.decoder import Decoder, DecodeResult
from schemas.encoder import Encoded, EncodeFailure, Encoder
from schemas.opcodes import Fault
from schemas.parsing import InvalidSchemaError, UnsupportedSchemaError
from schemas.resolution import ResolutionError

__all__ = [
    "DecodeResult",
    "Decoder",
    "EncodeFailure",
    "Encoded",
    "Encoder",
    "Fault",
    "InvalidSchemaError",
    "ResolutionError",
    "UnsupportedSchemaError",
]
