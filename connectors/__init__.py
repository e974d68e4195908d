"""How records enter and leave: the embedded log, Kafka, and the schema registry."""
