"""What a model says of itself, as a page for people and as one JSON document."""

import json
from collections.abc import Mapping
from typing import Any

from streamrec.models.serving.avro import avro_schema_of, why_no_avro
from streamrec.models.serving.contract import JsonSchema, Metadata


def document_of(metadata: Metadata) -> dict[str, Any]:
    """All of it; `input_avro` and `output_avro` are null where Avro cannot say what JSON does."""
    return {
        "qualified_name": metadata.qualified_name,
        "display_name": metadata.display_name,
        "description": metadata.description,
        "version": metadata.version,
        "major_version": metadata.major_version,
        "minor_version": metadata.minor_version,
        "method": metadata.method,
        "content_types": list(metadata.content_types),
        "input_schema": metadata.input_schema,
        "output_schema": metadata.output_schema,
        "input_avro": _avro(metadata.input_schema, f"{metadata.qualified_name}_input"),
        "output_avro": _avro(metadata.output_schema, f"{metadata.qualified_name}_output"),
    }


def page_of(metadata: Metadata) -> str:
    """A page of plain text."""
    title = f"{metadata.display_name} ({metadata.qualified_name} {metadata.version})"
    lines = [title, "=" * len(title), metadata.description]
    if metadata.method != "predict":
        lines.append(f"method: {metadata.method}")
    takes = ", ".join(metadata.content_types)
    lines += ["", f"takes bytes: {takes}" if takes else "takes"]
    if not takes:
        lines += fields_of(metadata.input_schema, "any JSON")
    lines += ["", "answers", *fields_of(metadata.output_schema, "any JSON")]
    for what, schema in (("inputs", metadata.input_schema), ("answers", metadata.output_schema)):
        if not (takes and what == "inputs"):
            reason = why_no_avro(schema, "record")
            lines += ["", f"{what} as Avro: {'yes' if reason is None else f'no, {reason}'}"]
    return "\n".join(lines)


def fields_of(schema: JsonSchema | None, nothing: str) -> list[str]:
    """A line for each field of an object, name, type and what is said of it; else the schema."""
    if not schema:
        return [f"  {nothing}"]
    properties = schema.get("properties")
    if not properties:
        return [f"  {_type(schema)}"]
    required = set(schema.get("required", ()))
    width = max(map(len, properties))
    lines = []
    for name, field in properties.items():
        said = _type(field)
        said += "" if name in required else ", may be left out"
        if isinstance(field, Mapping) and field.get("description"):
            said += f": {field['description']}"
        lines.append(f"  {name:<{width}}  {said}")
    return lines


def _type(field: Any) -> str:
    if not isinstance(field, Mapping) or not field:
        return "anything"
    if "enum" in field:
        return "one of " + ", ".join(json.dumps(each, ensure_ascii=False) for each in field["enum"])
    if "const" in field:
        return json.dumps(field["const"], ensure_ascii=False)
    for word in ("anyOf", "oneOf"):
        if word in field:
            return " or ".join(_type(each) for each in field[word])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    kind = field.get("type", "object" if "properties" in field else "anything")
    said = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if said == "array" and "items" in field:
        said = f"list of {_type(field['items'])}"
    limits = [
        f"{word} {field[key]}"
        for word, key in (
            (">=", "minimum"),
            (">", "exclusiveMinimum"),
            ("<=", "maximum"),
            ("<", "exclusiveMaximum"),
        )
        if key in field
    ]
    return " ".join([said, *limits])


def _avro(schema: JsonSchema | None, name: str) -> Any:
    text = avro_schema_of(schema, name)
    return None if text is None else json.loads(text)
