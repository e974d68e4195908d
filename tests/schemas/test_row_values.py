"""Rows of columns are the records that they were, and chosen rows stay what they are."""

import pickle

import numpy as np
from codec_reference import join, parsed, read, rows_of, write
from codec_strategies import covered_schemas, records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrec.schemas.codec import Decoder
from streamrec.schemas.columns import select
from streamrec.schemas.row_values import AvroRows

bounded = settings(
    max_examples=80,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(data=st.data(), schema=covered_schemas())
def test_rows_and_chosen_rows_read_as_the_reference_reads_them(
    data: st.DataObject, schema: str
) -> None:
    writer = parsed(schema)
    messages = [write(writer, record) for record in data.draw(records(schema))]
    columns = Decoder(schema, schema).decode(*join(messages)).columns
    reader: AvroRows = pickle.loads(pickle.dumps(AvroRows(schema)))
    expected = [read(writer, None, message) for message in messages]
    # By their text: NaN is not itself.
    assert repr([reader.record(columns, row) for row in range(len(messages))]) == repr(expected)

    rows = data.draw(st.lists(st.integers(0, len(messages) - 1), max_size=8))
    chosen = select(columns, np.array(rows, np.int64))
    found = [reader.record(chosen, row) for row in range(len(rows))]
    assert repr(found) == repr([expected[row] for row in rows])
    if columns and rows:
        all_rows = rows_of(columns, schema)
        assert repr(rows_of(chosen, schema)) == repr([all_rows[row] for row in rows])


def test_a_field_is_found_by_the_name_of_its_column() -> None:
    inner = '{"type": "record", "name": "I", "fields": [{"name": "n", "type": ["null", "long"]}]}'
    rows = AvroRows(
        '{"type": "record", "name": "O", "fields": ['
        f'{{"name": "a", "type": {inner}}}, {{"name": "b", "type": "string"}}]}}'
    )
    kinds = {name: rows.type_of(name) for name in ("a.n", "b", "a", "a.x", "b.x", "", "c")}
    assert {name: node and node.kind for name, node in kinds.items()} == {
        "a.n": "union",
        "b": "string",
        "a": "record",
        "a.x": None,
        "b.x": None,
        "": None,
        "c": None,
    }
