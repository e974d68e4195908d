"""The codec and fastavro agree, value by value, over random schemas, records and damage."""

from typing import Any

import numpy as np
import pytest
from codec_reference import flat, join, parsed, read, rows_of, write
from codec_strategies import corrupted, covered_schemas, evolved, records, uncovered_writers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.schemas.codec import Decoder, Encoder, ResolutionError, WireFault
from streamrec.schemas.wire import WireDecoder

bounded = settings(
    max_examples=120,
    deadline=None,
    print_blob=True,  # the blob reproduces a failure from one line
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# What the codec refuses and fastavro lets pass: integers beyond 64 or 32 bits, booleans other than
# 0 and 1, enum indexes and union branches counted from the end, skipped spans of negative length.
STRICTER = {
    WireFault.BAD_VARINT,
    WireFault.NEGATIVE_LENGTH,
    WireFault.INT_RANGE,
    WireFault.BAD_BOOLEAN,
    WireFault.ENUM_RANGE,
    WireFault.BAD_BRANCH,
}


def expected_row(writer: Any, reader: Any, reader_json: str, message: bytes) -> Any:
    try:
        record = read(writer, reader, message)
    except Exception as error:  # noqa: BLE001  # fastavro raises what it likes for bad bytes
        return error
    return flat(record, reader_json) if reader_json else record


def is_whole(writer: Any, message: bytes) -> bool:
    return not isinstance(expected_row(writer, None, "", message), Exception)


def check(writer_json: str, reader_json: str, messages: list[bytes], intact: list[bool]) -> None:
    writer, reader = parsed(writer_json), parsed(reader_json)
    expected = [expected_row(writer, reader, reader_json, message) for message in messages]
    try:
        decoder = Decoder(writer_json, reader_json)
    except ResolutionError:
        assert all(isinstance(row, Exception) for row in expected)
        return
    decoded = decoder.decode(*join(messages))
    good = rows_of(decoded.columns, reader_json)
    faults = [WireFault(int(fault)) for fault in decoded.status]
    if len(decoded.columns):
        assert len(good) == faults.count(WireFault.NONE)
    else:
        good = [{}] * faults.count(WireFault.NONE)
    rows = iter(good)
    for i, (row, fault) in enumerate(zip(expected, faults, strict=True)):
        if fault == WireFault.NONE:
            assert next(rows) == row
            continue
        assert 0 <= decoded.position[i] <= len(messages[i])
        assert decoder.field_names[decoded.field[i]] is not None
        # fastavro does not look closely at what it skips.
        damaged = isinstance(row, Exception) or not is_whole(writer, messages[i])
        assert damaged or (fault in STRICTER and not intact[i])


@bounded
@given(st.data())
def test_decodes_what_fastavro_wrote(data: st.DataObject) -> None:
    schema_json = data.draw(covered_schemas())
    schema = parsed(schema_json)
    messages = [write(schema, record) for record in data.draw(records(schema_json))]
    check(schema_json, schema_json, messages, [True] * len(messages))


@bounded
@given(st.data())
def test_resolves_as_fastavro_does(data: st.DataObject) -> None:
    writer_json = data.draw(covered_schemas())
    reader_json = data.draw(evolved(writer_json))
    writer = parsed(writer_json)
    messages = [write(writer, record) for record in data.draw(records(writer_json))]
    check(writer_json, reader_json, messages, [True] * len(messages))


@bounded
@given(st.data())
def test_damage_is_found_and_neighbours_are_not_harmed(data: st.DataObject) -> None:
    writer_json = data.draw(covered_schemas())
    reader_json = data.draw(evolved(writer_json)) if data.draw(st.booleans()) else writer_json
    writer = parsed(writer_json)
    messages = [write(writer, record) for record in data.draw(records(writer_json))]
    intact = [data.draw(st.booleans()) for _ in messages]
    messages = [
        message if ok else data.draw(corrupted(message))
        for message, ok in zip(messages, intact, strict=True)
    ]
    check(writer_json, reader_json, messages, intact)


@bounded
@given(st.data())
def test_encodes_what_fastavro_writes(data: st.DataObject) -> None:
    schema_json = data.draw(covered_schemas())
    schema = parsed(schema_json)
    messages = [write(schema, record) for record in data.draw(records(schema_json))]
    decoded = Decoder(schema_json, schema_json).decode(*join(messages))
    if not decoded.columns:
        return  # a record without fields has no columns, so no rows to count
    encoded = Encoder(schema_json).encode(decoded.columns, 258)
    assert encoded.values == [b"\0\0\0\1\2" + message for message in messages]
    assert encoded.failures == []
    assert encoded.rows.tolist() == list(range(len(messages)))


@settings(bounded, max_examples=40)
@given(st.data())
def test_writers_of_any_shape_are_read_by_the_kernel_or_slowly(
    data: st.DataObject,
) -> None:
    writer_json, reader_json = data.draw(uncovered_writers())
    writer = parsed(writer_json)
    messages = [write(writer, record) for record in data.draw(records(writer_json))]
    assert Decoder(writer_json, reader_json).is_fast is ('"odd"' not in reader_json)
    check(writer_json, reader_json, messages, [True] * len(messages))
    intact = [data.draw(st.booleans()) for _ in messages]
    messages = [
        message if ok else data.draw(corrupted(message))
        for message, ok in zip(messages, intact, strict=True)
    ]
    check(writer_json, reader_json, messages, intact)


@settings(bounded, max_examples=60)
@given(st.data())
def test_mixed_writers_decode_as_each_would_alone(data: st.DataObject) -> None:
    """Several ids, one of them mostly read slowly, with damage, garbage and tombstones between."""
    slow_json, reader_json = data.draw(uncovered_writers())
    schemas = {3: reader_json, 70_000: slow_json}
    sources = {schema_id: parsed(text) for schema_id, text in schemas.items()}
    reader = parsed(reader_json)
    values: list[bytes | None] = []
    expected = []
    for schema_id, text in schemas.items():
        for record in data.draw(records(text)):
            message = write(sources[schema_id], record)
            if data.draw(st.integers(0, 3)) == 0:
                message = data.draw(corrupted(message))
            values.append(b"\0" + schema_id.to_bytes(4, "big") + message)
            expected.append(expected_row(sources[schema_id], reader, reader_json, message))
    for junk in (None, b"", b"\0\0\0\0", b"\1\0\0\0\3"):
        values.append(junk)
        expected.append(ValueError("not wire format"))
    order = data.draw(st.permutations(range(len(values))))
    values = [values[i] for i in order]
    expected = [expected[i] for i in order]

    decoded = WireDecoder(reader_json, schemas.__getitem__).decode(values)

    failed = {failure.row for failure in decoded.failures}
    assert [failure.row for failure in decoded.failures] == sorted(failed)
    assert sorted(failed | set(decoded.rows.tolist())) == list(range(len(values)))
    assert len(failed) + len(decoded.rows) == len(values)
    assert (np.diff(decoded.rows) > 0).all()
    rows = rows_of(decoded.columns, reader_json) or [{}] * len(decoded.rows)
    assert rows == [expected[row] for row in decoded.rows.tolist()]
    for failure in decoded.failures:
        stricter = not isinstance(expected[failure.row], Exception)
        assert not stricter or "expected" in failure.message
    junk_rows = {i for i, value in enumerate(values) if value is None or len(value) < 5}
    assert junk_rows <= failed


def test_the_reference_itself_refuses_trailing_bytes() -> None:
    schema = parsed('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}')
    with pytest.raises(EOFError, match="trailing bytes"):
        read(schema, schema, b"\2\2")
