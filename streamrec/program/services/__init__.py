"""Commands of what is asked over the network."""
