"""State by key in arrays: rows in time order, newest records, last records, what was seen."""
