"""A shop that makes offers, and whose tastes shift in mid-run: what learning is shown with."""
