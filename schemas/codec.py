"""The batch Avro codec in one place.

Kernels have explicit signatures, so importing this module compiles them: seconds on the first run
after an installation, a fraction of one from numba's cache afterwards.
"""

from streamrec.schemas.decoder import Decoder, DecodeResult
from streamrec.schemas.encoder import Encoded, EncodeFailure, Encoder
from streamrec.schemas.opcodes import WireFault
from streamrec.schemas.parsing import InvalidSchemaError, UnsupportedSchemaError
from streamrec.schemas.resolution import ResolutionError

__all__ = [
    "DecodeResult",
    "Decoder",
    "EncodeFailure",
    "Encoded",
    "Encoder",
    "InvalidSchemaError",
    "ResolutionError",
    "UnsupportedSchemaError",
    "WireFault",
]
