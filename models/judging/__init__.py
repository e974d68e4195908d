"""How good answers were: sums that can be added up, and what they say, with intervals."""
