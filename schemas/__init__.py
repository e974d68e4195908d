"""What a record means: Avro schemas, the wire format, and the batch codec."""
