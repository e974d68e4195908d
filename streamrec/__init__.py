"""Live recommendations from a clickstream."""
