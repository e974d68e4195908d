"""The kernel that interprets a program over joined messages and fills the columns.

A failing message is reported and its row given up, so that the columns hold the good messages only,
in order, and its neighbours never see it.
"""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.schemas import opcodes as op
from streamrec.schemas.opcodes import (
    ARGUMENT,
    EXTRA,
    FIELD,
    NULL_BRANCH,
    SLOT,
    STORE,
    STORE_BOUNDS,
    STORE_BYTE,
    STORE_FLOAT32,
    STORE_FLOAT64,
    STORE_INT32,
    STORE_INT64,
    STORE_NONE,
    STORE_SPAN,
    VALID,
    WIDTH,
)
from streamrec.schemas.primitives import (
    ENDS_EARLY,
    byte_at,
    bytes_address,
    bytes_size,
    copy_bytes,
    int32_at,
    is_utf8,
    list_item,
    read_varint,
    word_at,
)
from streamrec.schemas.skip_kernel import DEPTH_MAX, skip_value

# Numba folds module-level ints into constants, but not members of an IntEnum.
_TRUNCATED = int(op.WireFault.TRUNCATED)
_BAD_VARINT = int(op.WireFault.BAD_VARINT)
_NEGATIVE_LENGTH = int(op.WireFault.NEGATIVE_LENGTH)
_INVALID_UTF8 = int(op.WireFault.INVALID_UTF8)
_BAD_BOOLEAN = int(op.WireFault.BAD_BOOLEAN)
_ENUM_RANGE = int(op.WireFault.ENUM_RANGE)
_BAD_BRANCH = int(op.WireFault.BAD_BRANCH)
_INT_RANGE = int(op.WireFault.INT_RANGE)
_TRAILING = int(op.WireFault.TRAILING)
_UNKNOWN_SYMBOL = int(op.WireFault.UNKNOWN_SYMBOL)
_UNEXPECTED_NULL = int(op.WireFault.UNEXPECTED_NULL)
_UNEXPECTED_BRANCH = int(op.WireFault.UNEXPECTED_BRANCH)
_NOT_WIRE_FORMAT = int(op.WireFault.NOT_WIRE_FORMAT)
_UNKNOWN_ID = int(op.WireFault.UNKNOWN_ID)
_TIME_RANGE = int(op.WireFault.TIME_RANGE)


@kernel("int64(int64, int64, int64[::1])")
def measure(values: int, none: int, bounds: NDArray[np.int64]) -> int:
    """Fill `bounds` (n + 1) with where each bytes object of a list lies once joined.

    Returns their end.

    `values` and `none` are the addresses of the list and of None, which takes no room. A value of
    another type makes Python raise TypeError (as the cause of a SystemError).
    """
    at = 0
    bounds[0] = 0
    for i in range(len(bounds) - 1):
        item = list_item(values, i)
        if item != none:
            size = bytes_size(item)
            if size < 0:
                return -1
            at += size
        bounds[i + 1] = at
    return at


@kernel("void(int64, int64[::1], uint8[::1])")
def join(values: int, bounds: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
    """Copy the bytes objects of a list to where `measure` has put them."""
    base = data.ctypes.data
    for i in range(len(bounds) - 1):
        length = bounds[i + 1] - bounds[i]
        if length:
            copy_bytes(base + bounds[i], bytes_address(list_item(values, i)), length)


@kernel(
    "void(uint8[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1],"
    " int64[:, ::1])",
)
def decode_messages(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    program: NDArray[np.int64],
    writers: NDArray[np.int64],
    frame: NDArray[np.int64],
    arena: NDArray[np.int64],
    report: NDArray[np.int64],
) -> None:
    """Decode messages data[starts[i]:ends[i]] into the arena.

    `writers` holds (schema id, entry) per row; a negative entry is minus the fault of all messages
    with that id. Without a wire header its first row counts. `report` (3, >= n) takes fault, byte
    within the message, and field; byte and field only where there is a fault, and for faults of the
    header the schema id in place of the field. Stops with FRAME_STOP set when a list level is full.
    """
    narrow = arena.view(np.int32)
    singles = arena.view(np.float32)
    doubles = arena.view(np.float64)
    octets = arena.view(np.uint8)
    scratch = np.zeros(1, np.int32)
    scratch_single = scratch.view(np.float32)
    stack = np.empty(DEPTH_MAX, np.int64)

    header = frame[op.FRAME_HEADER]
    levels = frame[op.FRAME_LEVELS]
    capacities = op.FRAME_FIXED - 1  # indexed from level 1
    counts = capacities + levels
    bases = counts + levels + 1
    origin = data.ctypes.data  # positions below are addresses
    pool = origin + frame[op.FRAME_POOL]
    good = 0
    frame[op.FRAME_STOP] = -1
    kept = np.zeros(levels + 1, np.int64)  # item counts before the current message
    schema_id = writers[0, 0]
    entry = writers[0, 1]
    for level in range(1, levels + 1):
        frame[counts + level] = 0

    for message in range(len(starts)):
        pos = origin + starts[message]
        end = origin + ends[message]
        report[0, message] = 0
        if header:
            if end - pos < header or byte_at(pos) != 0:
                report[0, message] = _NOT_WIRE_FORMAT
                continue
            found = np.int64(0)
            for i in range(1, 5):
                found = (found << 8) | np.int64(byte_at(pos + i))
            if found != schema_id:
                schema_id = found
                entry = -_UNKNOWN_ID
                for row in range(len(writers)):
                    if writers[row, 0] == found:
                        entry = writers[row, 1]
                        break
            pos += header
        if entry < 0:
            report[0, message] = -entry
            report[1, message] = 0
            report[2, message] = schema_id
            continue

        for level in range(1, levels + 1):
            kept[level] = frame[counts + level]
        pc = entry
        index = good  # row that stores go to: of level 0, or an item of the list being read
        remaining = 0  # items left in the current block
        level = 0
        outer_pos = pos
        outer_end = end
        fault = 0
        at = pos
        while True:
            operation = program[pc]
            at = pos
            if operation == op.END:
                if pos != end:
                    fault = _TRAILING
                break
            is_null = operation == op.NULL
            branch = program[pc + NULL_BRANCH]
            if branch >= 0:
                value, pos = read_varint(pos, end)
                if pos < 0:
                    fault = _TRUNCATED if pos == ENDS_EARLY else _BAD_VARINT
                    break
                if value == branch:
                    is_null = True
                elif value != 1 - branch:
                    fault = _BAD_BRANCH
                    break
            valid = program[pc + VALID]
            if valid >= 0:
                octets[frame[bases + valid] + index] = not is_null
            slot = bases + program[pc + SLOT]
            store = program[pc + STORE]
            if is_null:
                if operation == op.BRANCH:
                    if program[pc + ARGUMENT] < 0:
                        fault = _UNEXPECTED_NULL
                        break
                    pc = program[pc + ARGUMENT]
                    continue
                if valid < 0 and store != STORE_NONE:
                    fault = _UNEXPECTED_NULL
                    break
                if store == STORE_INT64:
                    arena[frame[slot] + index] = 0
                elif store == STORE_SPAN:
                    arena[frame[slot] + index] = 0
                    arena[frame[slot + 1] + index] = 0
                elif store == STORE_INT32:
                    narrow[frame[slot] + index] = 0
                elif store == STORE_FLOAT64:
                    doubles[frame[slot] + index] = 0
                elif store == STORE_FLOAT32:
                    singles[frame[slot] + index] = 0
                elif store == STORE_BYTE:
                    octets[frame[slot] + index] = 0
                elif store == STORE_BOUNDS:
                    arena[frame[slot] + index + 1] = frame[counts + program[pc + EXTRA]]
                    pc = program[pc + ARGUMENT]
                pc += WIDTH
                continue

            if operation == op.VARINT or operation == op.ENUM:
                value, pos = read_varint(pos, end)
                if pos < 0:
                    fault = _TRUNCATED if pos == ENDS_EARLY else _BAD_VARINT
                    break
                if operation == op.ENUM:
                    if value < 0 or value >= program[pc + EXTRA]:
                        fault = _ENUM_RANGE
                        break
                    value = program[program[pc + ARGUMENT] + value]
                    if value < 0:
                        fault = _UNKNOWN_SYMBOL
                        break
                elif program[pc + ARGUMENT] and (value < -(1 << 31) or value >= 1 << 31):
                    fault = _INT_RANGE
                    break
                if store == STORE_INT64:
                    arena[frame[slot] + index] = value
                elif store == STORE_INT32:
                    narrow[frame[slot] + index] = value
                elif store == STORE_FLOAT64:
                    doubles[frame[slot] + index] = value
                elif store == STORE_FLOAT32:
                    # By way of a double, as fastavro's floats are, so that both round alike.
                    singles[frame[slot] + index] = np.float64(value)
            elif operation == op.SPAN or operation == op.FIXED:
                check_utf8 = False
                value = program[pc + ARGUMENT]
                if operation == op.SPAN:
                    check_utf8 = value != 0 and store == STORE_SPAN
                    value, pos = read_varint(pos, end)
                    if pos < 0:
                        fault = _TRUNCATED if pos == ENDS_EARLY else _BAD_VARINT
                        break
                    if value < 0:
                        fault = _NEGATIVE_LENGTH
                        break
                if value > end - pos:
                    fault = _TRUNCATED
                    break
                if check_utf8 and not is_utf8(pos, value):
                    fault = _INVALID_UTF8
                    break
                if store == STORE_SPAN:
                    arena[frame[slot] + index] = pos - origin
                    arena[frame[slot + 1] + index] = value
                pos += value
            elif operation == op.FLOAT4:
                if end - pos < 4:
                    fault = _TRUNCATED
                    break
                if store == STORE_FLOAT32:
                    narrow[frame[slot] + index] = np.int32(int32_at(pos))
                elif store == STORE_FLOAT64:
                    scratch[0] = np.int32(int32_at(pos))
                    doubles[frame[slot] + index] = scratch_single[0]
                pos += 4
            elif operation == op.FLOAT8:
                if end - pos < 8:
                    fault = _TRUNCATED
                    break
                if store == STORE_FLOAT64:
                    arena[frame[slot] + index] = np.int64(word_at(pos))
                pos += 8
            elif operation == op.BOOLEAN:
                if pos >= end:
                    fault = _TRUNCATED
                    break
                if byte_at(pos) > 1:
                    fault = _BAD_BOOLEAN
                    break
                octets[frame[slot] + index] = byte_at(pos)
                pos += 1
            elif operation == op.ARRAY or operation == op.NEXT:
                if operation == op.ARRAY:
                    array_at = pc
                    level = program[pc + EXTRA]
                    remaining = 0
                    if level > 0:
                        index = frame[counts + level]
                else:
                    array_at = program[pc + ARGUMENT]
                    remaining -= 1
                    index += 1
                if remaining == 0:
                    next_at = program[array_at + ARGUMENT]
                    value, pos = read_varint(pos, end)
                    size = 0
                    if pos >= 0 and value < 0:
                        size, pos = read_varint(pos, end)
                    if pos < 0:
                        fault = _TRUNCATED if pos == ENDS_EARLY else _BAD_VARINT
                        break
                    if value == 0:
                        if level > 0:
                            frame[counts + level] = index
                            arena[frame[bases + program[array_at + SLOT]] + good + 1] = index
                        index = good
                        level = 0
                        pc = next_at + WIDTH
                        continue
                    if value < 0 and level < 0:
                        # A skipped block is passed over by its size in bytes, as fastavro does; one
                        # that is read is read by its count, and its size ignored.
                        if size < 0 or size > end - pos:
                            fault = _NEGATIVE_LENGTH if size < 0 else _TRUNCATED
                            break
                        pos += size
                        pc = array_at
                        continue
                    value = abs(value)
                    # Each item takes at least so many bytes: a count that cannot be true ends here.
                    # (The least int64 has no positive counterpart and stays negative.)
                    if value < 0 or value > (end - pos) // program[next_at + EXTRA]:
                        fault = _TRUNCATED
                        break
                    if level > 0 and index + value > frame[capacities + level]:
                        frame[op.FRAME_STOP] = level
                        return
                    remaining = value
                pc = array_at
            elif operation == op.DEFAULT:
                outer_pos = pos
                outer_end = end
                pos = pool + program[pc + ARGUMENT]
                end = pool + program[pc + EXTRA]
            elif operation == op.RESUME:
                pos = outer_pos
                end = outer_end
            elif operation == op.JUMP:
                pc = program[pc + ARGUMENT]
                continue
            elif operation == op.SCALED:
                value, pos = read_varint(pos, end)
                if pos < 0:
                    fault = _TRUNCATED if pos == ENDS_EARLY else _BAD_VARINT
                    break
                factor = program[pc + EXTRA]
                if factor > 0:
                    value //= factor  # towards the past, also before 1970
                elif abs(value) > np.iinfo(np.int64).max // -factor:
                    fault = _TIME_RANGE
                    break
                else:
                    value *= -factor
                arena[frame[slot] + index] = value
            elif operation == op.SKIP:
                pos = skip_value(program, program[pc + ARGUMENT], pos, end, stack)
                if pos < 0:
                    fault = -pos
                    break
            elif operation == op.FAIL:
                fault = _UNEXPECTED_BRANCH
                break
            pc += WIDTH

        if fault:
            for level in range(1, levels + 1):
                frame[counts + level] = kept[level]
            report[0, message] = fault
            report[1, message] = at - origin - starts[message]
            report[2, message] = program[pc + FIELD]
        else:
            good += 1
    frame[op.FRAME_GOOD] = good
