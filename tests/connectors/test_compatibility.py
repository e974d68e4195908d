"""Our verdicts on Avro compatibility against Apache Avro's own checker, over random schemas."""

import json
import random

import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from streamrec.connectors.compatibility import Schema, first_break, unreadable

_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def random_schema(rng: random.Random, depth: int = 0) -> Schema:
    kind = rng.choice(("primitive",) * 4 + ("record", "enum", "fixed", "array", "map", "union"))
    if depth > 2 or kind == "primitive":
        return rng.choice(_PRIMITIVES)
    # The depth in a name keeps two definitions within a schema apart.
    name = f"{rng.choice('AB')}{depth}_{rng.randrange(10**9) if depth else 0}"
    if kind == "record":
        fields = []
        for field in rng.sample("abc", rng.randint(1, 3)):
            entry: dict[str, Schema] = {"name": field, "type": random_schema(rng, depth + 1)}
            if rng.random() < 0.4:
                entry["type"], entry["default"] = "int", 0
            fields.append(entry)
        return {"type": "record", "name": name, "fields": fields}
    if kind == "enum":
        return {"type": "enum", "name": name, "symbols": rng.sample("XYZ", rng.randint(1, 3))}
    if kind == "fixed":
        return {"type": "fixed", "name": name, "size": rng.choice((4, 8))}
    if kind == "array":
        return {"type": "array", "items": random_schema(rng, depth + 1)}
    if kind == "map":
        return {"type": "map", "values": random_schema(rng, depth + 1)}
    return rng.sample(_PRIMITIVES, rng.randint(1, 3))


def mutated(rng: random.Random, schema: Schema) -> Schema:
    """The schema with one thing changed somewhere, so that pairs are often nearly compatible."""
    if isinstance(schema, dict) and schema["type"] == "record" and rng.random() < 0.8:
        fields = [dict(field) for field in schema["fields"]]
        index = rng.randrange(len(fields))
        fields[index]["type"] = mutated(rng, fields[index]["type"])
        fields[index].pop("default", None)
        if rng.random() < 0.3:
            fields.pop(rng.randrange(len(fields)))
        return {**schema, "fields": fields}
    if isinstance(schema, dict) and schema["type"] == "array":
        return {**schema, "items": mutated(rng, schema["items"])}
    return random_schema(rng, 3) if rng.random() < 0.5 else schema


@pytest.mark.parametrize("seed", range(8))
def test_verdicts_agree_with_apache_avro(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        writer = random_schema(rng)
        reader = mutated(rng, writer) if rng.random() < 0.8 else random_schema(rng)
        found = unreadable(reader, writer)
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        theirs = checker.get_compatibility(
            avro.schema.parse(json.dumps(reader)), avro.schema.parse(json.dumps(writer))
        )
        compatible = theirs.compatibility is SchemaCompatibilityType.compatible
        assert (found is None) == compatible, (seed, reader, writer, found, theirs.messages)


def test_the_place_of_the_first_break_is_named() -> None:
    item = {"type": "record", "name": "item", "fields": [{"name": "price", "type": "long"}]}
    old = {"type": "record", "name": "click", "fields": [{"name": "item", "type": item}]}
    changed = json.loads(json.dumps(old))
    changed["fields"][0]["type"]["fields"][0]["type"] = "int"
    found = first_break(changed, old, "BACKWARD")
    assert found == "/item/price/: expected 'int', got 'long' (new schema cannot read old records)"
    assert first_break(changed, old, "FORWARD") is None
    assert first_break(changed, old, "NONE") is None


def test_aliases_rename_fields_and_records() -> None:
    old = {"type": "record", "name": "a", "fields": [{"name": "x", "type": "int"}]}
    new = {
        "type": "record",
        "name": "b",
        "aliases": ["a"],
        "fields": [{"name": "y", "aliases": ["x"], "type": "int"}],
    }
    assert unreadable(new, old) is None
    assert unreadable(old, new) is not None


def test_a_schema_that_contains_itself_is_compared() -> None:
    tree = {
        "type": "record",
        "name": "tree",
        "fields": [
            {"name": "value", "type": "int"},
            {"name": "next", "type": ["null", "tree"]},
        ],
    }
    wider = json.loads(json.dumps(tree))
    wider["fields"][0]["type"] = "long"
    assert unreadable(wider, tree) is None
    assert unreadable(tree, wider) is not None
