"""What it costs and how fast it is, measured on a real Kafka as ratios to a bare client."""
