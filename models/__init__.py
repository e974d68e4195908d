"""What is learned and predicted. Nothing here knows of Kafka, Bytewax or the wall clock."""
