"""The kernel that passes over values of any type: unions, maps, lists in lists, records in records.

It keeps what it still has to do on a stack of its own, so that values which nest without end, as a
few bytes can claim, are a fault and never the end of the process.
"""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.schemas import opcodes as op
from streamrec.schemas.opcodes import ARGUMENT, EXTRA, WIDTH
from streamrec.schemas.primitives import ENDS_EARLY, read_varint

DEPTH_MAX = 1_000

_TRUNCATED = int(op.WireFault.TRUNCATED)
_BAD_VARINT = int(op.WireFault.BAD_VARINT)
_NEGATIVE_LENGTH = int(op.WireFault.NEGATIVE_LENGTH)
_BAD_BRANCH = int(op.WireFault.BAD_BRANCH)
_TOO_DEEP = int(op.WireFault.TOO_DEEP)


@kernel("int64(int64[::1], int64, int64, int64, int64[::1])")
def skip_value(
    program: NDArray[np.int64], start: int, pos: int, end: int, stack: NDArray[np.int64]
) -> int:
    """The address after the value at `pos`, or minus a fault.

    `start` is where its instructions begin in the program; they end with RETURN. `stack` holds
    where to go on behind a CALL, and the items left of a block.
    """
    pc = start
    depth = 0
    while True:
        operation = program[pc]
        value = 0
        if operation == op.VARINT or operation == op.SPAN or operation == op.CHOOSE:
            value, pos = read_varint(pos, end)
            if pos < 0:
                return -_TRUNCATED if pos == ENDS_EARLY else -_BAD_VARINT
        if operation == op.SPAN or operation == op.FIXED:
            if operation == op.FIXED:
                value = int(program[pc + ARGUMENT])
            if value < 0:
                return -_NEGATIVE_LENGTH
            if value > end - pos:
                return -_TRUNCATED
            pos += value
        elif operation == op.CHOOSE:
            if value < 0 or value >= program[pc + EXTRA]:
                return -_BAD_BRANCH
            pc = int(program[program[pc + ARGUMENT] + value])
            continue
        elif operation == op.JUMP:
            pc = int(program[pc + ARGUMENT])
            continue
        elif operation == op.CALL:
            if depth == len(stack):
                return -_TOO_DEEP
            stack[depth] = pc + WIDTH
            depth += 1
            pc = int(program[pc + ARGUMENT])
            continue
        elif operation == op.RETURN:
            if depth == 0:
                return pos
            depth -= 1
            pc = int(stack[depth])
            continue
        elif operation == op.BLOCKS:
            value, pos = read_varint(pos, end)
            size = 0
            if pos >= 0 and value < 0:
                size, pos = read_varint(pos, end)
            if pos < 0:
                return -_TRUNCATED if pos == ENDS_EARLY else -_BAD_VARINT
            if value < 0:  # passed over by its size in bytes, as fastavro does
                if size < 0 or size > end - pos:
                    return -_NEGATIVE_LENGTH if size < 0 else -_TRUNCATED
                pos += size
                continue
            next_at = int(program[pc + ARGUMENT])
            if value == 0:
                pc = next_at + WIDTH
                continue
            # Each item takes at least so many bytes: a count that cannot be true ends here.
            if value > (end - pos) // program[next_at + EXTRA]:
                return -_TRUNCATED
            if depth == len(stack):
                return -_TOO_DEEP
            stack[depth] = value
            depth += 1
        elif operation == op.BLOCK_NEXT:
            stack[depth - 1] -= 1
            pc = int(program[pc + ARGUMENT])
            if stack[depth - 1] == 0:
                depth -= 1
                continue
        pc += WIDTH


__all__ = ["DEPTH_MAX", "skip_value"]
