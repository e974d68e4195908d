"""Any model on a stream: loaded by its name, described as JSON Schema, asked with plain values."""
