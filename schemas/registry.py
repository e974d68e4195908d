"""What a schema registry can answer with besides a schema.

The exceptions live here so that the wire format can tell them apart without knowing any back end;
`connectors.log` passes them on under the same names.
"""


class SchemaError(Exception):
    """The registry refused, or does not know, a schema."""


class UnknownSchemaError(SchemaError):
    """No schema has this id or subject."""


class IncompatibleSchemaError(SchemaError):
    """The schema breaks the subject's compatibility rule; the message names the first break."""


class RegistryUnavailableError(Exception):
    """The registry did not answer in time; the message says what was asked and what was seen."""
