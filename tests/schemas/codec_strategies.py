"""Random schemas, records, evolutions and corruptions for the property tests of the codec."""

import copy
import json
import string
from typing import Any

from hypothesis import strategies as st

from streamrec.schemas.parsing import Type, parse

Json = Any

_INTS = {"int": 31, "long": 63}
_PROMOTED = {
    "int": ["long", "float", "double"],
    "long": ["float", "double"],
    "float": ["double"],
    "string": ["bytes"],
    "bytes": ["string"],
}
_LOGICAL = [
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
]


class _Names:
    """Fresh names, so that no named type of a schema is defined twice."""

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"N{self._count}"


def _leaf(draw: st.DrawFn, names: _Names) -> Json:
    kind = draw(
        st.sampled_from(
            ["int", "long", "float", "double", "boolean", "string", "bytes", "fixed", "enum", "log"]
        )
    )
    if kind == "fixed":
        return {"type": "fixed", "name": names.next(), "size": draw(st.integers(1, 17))}
    if kind == "enum":
        symbols = [f"S{i}" for i in range(draw(st.integers(1, 70)))]
        return {"type": "enum", "name": names.next(), "symbols": symbols}
    return draw(st.sampled_from(_LOGICAL)) if kind == "log" else kind


def _nullable(draw: st.DrawFn, schema: Json) -> Json:
    shape = draw(st.integers(0, 3))
    return [schema, ["null", schema], [schema, "null"], schema][shape]


def _record(draw: st.DrawFn, names: _Names, depth: int, in_array: bool, least: int) -> Json:
    fields = []
    for i in range(draw(st.integers(least, 6 if depth == 0 else 3))):
        shape = draw(st.integers(0, 9))
        schema: Json
        if shape == 0 and depth < 2:
            schema = _record(draw, names, depth + 1, in_array, 1)
        elif shape in (1, 2) and not in_array:
            items = (
                _record(draw, names, depth + 1, True, 1)
                if shape == 1
                else _nullable(draw, _leaf(draw, names))
            )
            schema = _nullable(draw, {"type": "array", "items": items})
        elif shape == 3:
            schema = "null"
        else:
            schema = _nullable(draw, _leaf(draw, names))
        fields.append({"name": f"f{i}", "type": schema})
    if least and not any(field["type"] != "null" for field in fields):
        fields.append({"name": "some", "type": "int"})
    return {"type": "record", "name": names.next(), "fields": fields}


@st.composite
def covered_schemas(draw: st.DrawFn) -> str:
    """JSON of a schema that the kernels cover."""
    return json.dumps(_record(draw, _Names(), 0, False, 0))


@st.composite
def uncovered_writers(draw: st.DrawFn) -> tuple[str, str]:
    """A writer with a field of any shape that is not read, and mostly one that the kernels do not
    cover (`odd`), and a reader that columns can hold."""
    reader = json.loads(draw(covered_schemas()))
    writer = copy.deepcopy(reader)
    strange = draw(
        st.sampled_from(
            [
                {"type": "map", "values": "long"},
                ["int", "string"],
                ["null", "int", "string"],
                {"type": "array", "items": {"type": "array", "items": "float"}},
                {"type": "map", "values": ["null", {"type": "array", "items": "string"}]},
            ]
        )
    )
    if draw(st.integers(0, 3)):
        reader["fields"].append({"name": "odd", "type": "long"})
        writer["fields"].append({"name": "odd", "type": ["long", "int"]})
    at = draw(st.integers(0, len(writer["fields"])))
    writer["fields"].insert(at, {"name": "strange", "type": strange})
    return json.dumps(writer), json.dumps(reader)


def values(node: Type) -> st.SearchStrategy[Any]:
    """Values of a type, as fastavro writes them."""
    if node.kind == "record":
        return st.fixed_dictionaries({field.name: values(field.type) for field in node.fields})
    if node.kind == "array":
        return st.lists(values(node.branches[0]), max_size=5)
    if node.kind == "map":
        return st.dictionaries(st.text(max_size=3), values(node.branches[0]), max_size=3)
    if node.kind == "union":
        return st.one_of([values(branch) for branch in node.branches])
    if node.kind in _INTS:
        top = 1 << _INTS[node.kind]
        return st.one_of(st.integers(-70, 70), st.integers(-top, top - 1))
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "float": st.floats(width=32),
        "double": st.floats(),
        "bytes": st.binary(max_size=20),
        "fixed": st.binary(min_size=node.size, max_size=node.size),
        "string": st.one_of(
            st.text(max_size=20), st.text(string.ascii_letters, min_size=7, max_size=80)
        ),
    }
    if node.kind == "enum":
        return st.sampled_from(node.symbols)
    return simple[node.kind]


def records(schema_json: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(values(parse(schema_json)), min_size=1, max_size=6)


@st.composite
def evolved(draw: st.DrawFn, writer_json: str) -> str:
    """A reader's schema made from a writer's by random steps, most of them compatible."""
    return json.dumps(_evolve(draw, json.loads(writer_json)))


def _evolve(draw: st.DrawFn, record: Json, in_array: bool = False) -> Json:
    fields = []
    for field in record["fields"]:
        step = draw(st.integers(0, 9))
        changed = dict(field)
        if step == 0 and len(record["fields"]) > 1:
            continue
        if step == 1:
            changed["name"], changed["aliases"] = field["name"] + "_new", [field["name"]]
        changed["type"] = _evolve_type(draw, field["type"], step, in_array)
        fields.append(changed)
    for i in range(draw(st.integers(0, 2))):
        kind, default = draw(
            st.sampled_from(
                [
                    ("string", "dé"),
                    ("long", -(2**40)),
                    ("bytes", "\u00ff\u0000"),
                    (["null", "string"], None),
                    (["double", "null"], 0.5),
                    ({"type": "array", "items": "string"}, ["a", "bc"]),
                    ({"type": "array", "items": "long"}, []),
                ]
            )
        )
        if not (in_array and isinstance(kind, dict)):
            fields.append({"name": f"added{i}", "type": kind, "default": default})
    if in_array and not any(field["type"] != "null" for field in fields):
        return record  # items of no bytes are refused
    return {**record, "fields": draw(st.permutations(fields))}


def _evolve_type(draw: st.DrawFn, schema: Json, step: int, in_array: bool) -> Json:
    if isinstance(schema, list):
        value = schema[0] if schema[1] == "null" else schema[1]
        if step == 2:
            return value
        changed = _evolve_type(draw, value, 0 if step == 7 else step, in_array)
        return ["null", changed] if draw(st.booleans()) else [changed, "null"]
    if isinstance(schema, dict) and schema["type"] == "record":
        return _evolve(draw, schema, in_array)
    if isinstance(schema, dict) and schema["type"] == "array":
        items = _evolve_type(draw, schema["items"], step, True)
        return {"type": "array", "items": items}
    if isinstance(schema, dict) and schema["type"] == "enum" and step in (3, 4):
        symbols = [*draw(st.permutations(schema["symbols"]))[: draw(st.integers(0, 5))], "OTHER"]
        return {**schema, "symbols": symbols} | ({"default": "OTHER"} if step == 3 else {})
    if step in (5, 6) and isinstance(schema, str) and schema in _PROMOTED:
        return draw(st.sampled_from(_PROMOTED[schema]))
    if step == 7 and schema != "null":
        return ["null", schema]
    if step == 8 and draw(st.integers(0, 9)) == 0:
        return "boolean"
    return schema


@st.composite
def corrupted(draw: st.DrawFn, message: bytes) -> bytes:
    """A message damaged in one of the ways that messages are."""
    kind = draw(st.sampled_from(["flip", "cut", "append", "garbage", "byte", "drop"]))
    if kind == "garbage":
        return draw(st.binary(max_size=40))
    if kind == "append":
        return message + draw(st.binary(min_size=1, max_size=9))
    if not message:
        return b"\xff"
    at = draw(st.integers(0, len(message) - 1))
    if kind == "cut":
        return message[:at]
    if kind == "drop":
        return message[:at] + message[at + 1 :]
    byte = message[at] ^ (1 << draw(st.integers(0, 7)))
    if kind == "byte":
        byte = draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]))
    return message[:at] + bytes([byte]) + message[at + 1 :]
