"""The simulated world and its judge."""
