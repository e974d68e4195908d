"""What ranks candidates: kinds of rankers behind one contract."""
