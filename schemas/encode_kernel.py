"""The kernel that interprets a program over columns and makes a bytes object per row."""

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import kernel
from streamrec.schemas import opcodes as op
from streamrec.schemas.opcodes import ARGUMENT, EXTRA, FIELD, NULL_BRANCH, SLOT, VALID, WIDTH
from streamrec.schemas.primitives import (
    copy_bytes,
    is_utf8,
    make_bytes,
    put_byte,
    put_int32,
    put_word,
    set_list_item,
    write_varint,
)

_INVALID_UTF8 = int(op.WireFault.INVALID_UTF8)
_ENUM_RANGE = int(op.WireFault.ENUM_RANGE)
_INT_RANGE = int(op.WireFault.INT_RANGE)
_FLOAT_RANGE = int(op.WireFault.FLOAT_RANGE)
_UNEXPECTED_NULL = int(op.WireFault.UNEXPECTED_NULL)
_BAD_SPAN = int(op.WireFault.BAD_SPAN)
_FIXED_SIZE = int(op.WireFault.FIXED_SIZE)
_VARINT_BYTES_MAX = 10


@kernel(
    "void(int64, int64, int64, int64[::1], int64[::1], int64[::1], uint8[::1], int64[:, ::1])",
)
def encode_rows(
    values: int,
    start: int,
    schema_id: int,
    program: NDArray[np.int64],
    frame: NDArray[np.int64],
    arena: NDArray[np.int64],
    out: NDArray[np.uint8],
    report: NDArray[np.int64],
) -> None:
    """Encode rows from `start` on, putting a bytes object per good row into a list.

    `values` is the address of a list of one entry per row; `schema_id` < 0: no wire header. `out`
    is room for one row: when it is too small, FRAME_STOP is that row and the call may be repeated
    from there with more. `report` (3, n) takes fault, item within the row's list, and field.
    """
    doubles = arena.view(np.float64)
    octets = arena.view(np.uint8)
    scratch = np.zeros(1, np.float32)
    scratch_bits = scratch.view(np.uint32)
    address = out.ctypes.data
    limit = address + len(out)
    levels = frame[op.FRAME_LEVELS]
    counts = op.FRAME_FIXED - 1
    bases = counts + levels + 1
    good = frame[op.FRAME_GOOD]
    frame[op.FRAME_STOP] = -1

    for row in range(start, report.shape[1]):
        pos = address
        if schema_id >= 0:
            put_byte(pos, np.uint8(0))
            for i in range(4):
                put_byte(pos + 1 + i, np.uint8(schema_id >> (24 - 8 * i)))
            pos += 5
        pc = 0
        index = row
        last = 0  # end of the items of the list being written
        fault = 0
        report[0, row] = 0
        while True:
            operation = program[pc]
            if operation == op.END:
                break
            if limit - pos < 3 * _VARINT_BYTES_MAX:  # branch, count or value, end of list
                frame[op.FRAME_STOP] = row
                frame[op.FRAME_GOOD] = good
                return
            if operation == op.NEXT:
                index += 1
                array_at = program[pc + ARGUMENT]
                if index < last:
                    pc = array_at + WIDTH
                    continue
                put_byte(pos, np.uint8(0))
                pos += 1
                index = row
                pc += WIDTH
                continue
            branch = program[pc + NULL_BRANCH]
            valid = program[pc + VALID]
            if valid >= 0:
                valid = frame[bases + valid]  # -1: the column has no null mask
            is_null = valid >= 0 and octets[valid + index] == 0
            if is_null:
                if branch < 0 and operation != op.NULL:
                    fault = _UNEXPECTED_NULL
                    break
                if branch >= 0:
                    put_byte(pos, np.uint8(2 * branch))
                    pos += 1
                if operation == op.ARRAY:
                    pc = program[pc + ARGUMENT]
                pc += WIDTH
                continue
            if branch >= 0:
                put_byte(pos, np.uint8(2 - 2 * branch))
                pos += 1
            slot = program[pc + SLOT]
            base = frame[bases + slot]
            if operation == op.VARINT:
                value = arena[base + index]
                if program[pc + ARGUMENT] and (value < -(1 << 31) or value >= 1 << 31):
                    fault = _INT_RANGE
                    break
                pos = write_varint(pos, value)
            elif operation == op.ENUM:
                value = arena[base + index]
                if value < 0 or value >= program[pc + EXTRA]:
                    fault = _ENUM_RANGE
                    break
                pos = write_varint(pos, value)
            elif operation == op.FLOAT4:
                wide = doubles[base + index]
                scratch[0] = wide
                if np.isinf(scratch[0]) and not np.isinf(wide):
                    fault = _FLOAT_RANGE
                    break
                put_int32(pos, scratch_bits[0])
                pos += 4
            elif operation == op.FLOAT8:
                put_word(pos, np.uint64(arena[base + index]))
                pos += 8
            elif operation == op.BOOLEAN:
                put_byte(pos, np.uint8(octets[base + index] != 0))
                pos += 1
            elif operation == op.SPAN or operation == op.FIXED:
                # Three more entries of the frame follow: lengths, the buffer's address, its size.
                at = arena[base + index]
                length = arena[frame[bases + slot + 1] + index]
                size = frame[bases + slot + 3]
                if length < 0 or at < 0 or length > size - at:
                    fault = _BAD_SPAN
                    break
                if operation == op.FIXED and length != program[pc + ARGUMENT]:
                    fault = _FIXED_SIZE
                    break
                if limit - pos < length + _VARINT_BYTES_MAX:
                    frame[op.FRAME_STOP] = row
                    frame[op.FRAME_GOOD] = good
                    return
                source = frame[bases + slot + 2] + at
                if operation == op.SPAN:
                    if program[pc + ARGUMENT] and not is_utf8(source, length):
                        fault = _INVALID_UTF8
                        break
                    pos = write_varint(pos, length)
                copy_bytes(pos, source, length)
                pos += length
            elif operation == op.ARRAY:
                first = arena[base + index]
                last = arena[base + index + 1]
                if first < 0 or last < first or last > frame[counts + program[pc + EXTRA]]:
                    fault = _BAD_SPAN
                    break
                if first == last:
                    put_byte(pos, np.uint8(0))
                    pos += 1
                    pc = program[pc + ARGUMENT] + WIDTH
                    continue
                item = pc + WIDTH
                if (
                    program[item] == op.FLOAT4
                    and program[item + NULL_BRANCH] < 0
                    and frame[bases + program[item + VALID]] < 0  # the column has no null mask
                    and program[item + WIDTH] == op.NEXT
                ):
                    # Lists of plain floats, such as features, are most of a record: a loop of their
                    # own takes a quarter of the time of three instructions an item.
                    if limit - pos < 4 * (last - first) + 2 * _VARINT_BYTES_MAX:
                        frame[op.FRAME_STOP] = row
                        frame[op.FRAME_GOOD] = good
                        return
                    pos = write_varint(pos, last - first)
                    base = frame[bases + program[item + SLOT]]
                    for at in range(first, last):
                        wide = doubles[base + at]
                        scratch[0] = wide
                        if np.isinf(scratch[0]) and not np.isinf(wide):
                            fault = _FLOAT_RANGE
                            index, pc = at, item
                            break
                        put_int32(pos, scratch_bits[0])
                        pos += 4
                    if fault:
                        break
                    put_byte(pos, np.uint8(0))
                    pos += 1
                    pc = program[pc + ARGUMENT] + WIDTH
                    continue
                pos = write_varint(pos, last - first)
                index = first
            elif operation == op.JUMP:
                pc = program[pc + ARGUMENT]
                continue
            pc += WIDTH
        if fault:
            report[0, row] = fault
            report[1, row] = index
            report[2, row] = program[pc + FIELD]
        else:
            message = make_bytes(address, pos - address)
            if message == 0:  # out of memory: Python raises it on return
                return
            set_list_item(values, good, message)
            good += 1
    frame[op.FRAME_GOOD] = good
