"""All parts of the product on this machine, started and ended together."""
