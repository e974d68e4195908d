"""The instruction set that schemas compile to and that the kernels interpret.

An instruction is `WIDTH` consecutive int64 values in a program; the names below are offsets into
it. One interpreter serves all schemas: a kernel per schema would cost seconds each at start-up.
"""

from enum import IntEnum

# Offsets within an instruction.
OP = 0
NULL_BRANCH = 1  # which union branch is null on the wire, 0 or 1; -1: no union
SLOT = 2  # where the value goes or comes from: index into the slots of the layout
VALID = 3  # slot of the null mask; -1: the column has none
STORE = 4  # how the value lies in its slot, one of the STORE_ values
ARGUMENT = 5
EXTRA = 6
FIELD = 7  # index of the field's name, for messages
WIDTH = 8

# Operations; ARGUMENT and EXTRA in brackets.
END = 0  # the record is complete
VARINT = 1  # int or long [1: must fit 32 bits]
FLOAT4 = 2
FLOAT8 = 3
BOOLEAN = 4
SPAN = 5  # length and bytes [1: must be UTF-8]
FIXED = 6  # [size in bytes]
ENUM = 7  # [program index of the symbol map, number of symbols]
NULL = 8  # nothing on the wire
BRANCH = 9  # a union before a record or a skipped value [where to go for null, -1: null fails]
ARRAY = 10  # [program index of its NEXT, level of the list or -1 when skipped]
NEXT = 11  # end of an item [program index of its ARRAY, least bytes per item]
DEFAULT = 12  # read on from the pool of defaults [its start and end there]
RESUME = 13  # read on from the message
FAIL = 14  # a union branch that the reader cannot take
JUMP = 15  # [where to]
SKIP = 16  # a value that is passed over by `skip_kernel` [where its instructions begin]
SCALED = 17  # a time in the writer's unit [unused, what to divide by, or minus to multiply by]

# Operations of `skip_kernel`, beside VARINT, SPAN, FIXED and JUMP.
CALL = 18  # pass over a record [where its instructions begin]
RETURN = 19  # they end
CHOOSE = 20  # a union [program index of where each branch begins, number of branches]
BLOCKS = 21  # a list or a map [program index of its BLOCK_NEXT]
BLOCK_NEXT = 22  # end of an item [program index of its BLOCKS, least bytes per item]

# Stores. SPAN keeps starts in its slot and lengths in the next one.
STORE_NONE = 0
STORE_INT32 = 1
STORE_INT64 = 2
STORE_FLOAT32 = 3
STORE_FLOAT64 = 4
STORE_BYTE = 5
STORE_SPAN = 6
STORE_BOUNDS = 7

# The frame of a call: fixed entries, then capacity and count by list level, then slot bases.
FRAME_HEADER = 0  # bytes of wire header before each message: 0 or 5
FRAME_POOL = 1  # where the pool of defaults starts in the data
FRAME_LEVELS = 2  # number of list levels
FRAME_GOOD = 3  # out: rows decoded or encoded
FRAME_STOP = 4  # out: level whose capacity was too small, -1: none
FRAME_FIXED = 5


class WireFault(IntEnum):
    """Why a row failed, as the kernels report it; 0 is success."""

    NONE = 0
    TRUNCATED = 1
    BAD_VARINT = 2
    NEGATIVE_LENGTH = 3
    INVALID_UTF8 = 4
    BAD_BOOLEAN = 5
    ENUM_RANGE = 6
    BAD_BRANCH = 7
    INT_RANGE = 8
    TRAILING = 9
    UNKNOWN_SYMBOL = 10
    UNEXPECTED_NULL = 11
    UNEXPECTED_BRANCH = 12
    NOT_WIRE_FORMAT = 13
    UNKNOWN_ID = 14
    UNRESOLVED_ID = 15
    SLOW_ID = 16
    FLOAT_RANGE = 17
    BAD_SPAN = 18
    FIXED_SIZE = 19
    TOO_DEEP = 20
    TIME_RANGE = 21
    NOT_JSON = 22  # of values without a schema


# What was expected of a row that failed, for messages.
EXPECTED = {
    WireFault.TRUNCATED: "more bytes",
    WireFault.BAD_VARINT: "a variable-length integer of at most 64 bits",
    WireFault.NEGATIVE_LENGTH: "a length >= 0",
    WireFault.INVALID_UTF8: "valid UTF-8",
    WireFault.BAD_BOOLEAN: "a boolean byte 0 or 1",
    WireFault.ENUM_RANGE: "an enum index within its symbols",
    WireFault.BAD_BRANCH: "a union branch 0 or 1",
    WireFault.INT_RANGE: "an int within 32 bits",
    WireFault.TRAILING: "the end of the message",
    WireFault.UNKNOWN_SYMBOL: "a symbol known to the reader (its enum has no default)",
    WireFault.UNEXPECTED_NULL: "a value that is not null",
    WireFault.UNEXPECTED_BRANCH: "a union branch that the reader's schema takes",
    WireFault.FLOAT_RANGE: "a float within 32 bits",
    WireFault.BAD_SPAN: "a span within its buffer",
    WireFault.FIXED_SIZE: "as many bytes as the schema fixes",
    WireFault.TOO_DEEP: "records and lists within each other at most 1,000 deep",
    WireFault.TIME_RANGE: "a time within 64 bits in the reader's unit",
}

RESOLUTION_FAULTS = frozenset(
    {
        WireFault.UNKNOWN_SYMBOL,
        WireFault.UNEXPECTED_NULL,
        WireFault.UNEXPECTED_BRANCH,
        WireFault.UNRESOLVED_ID,
    }
)
