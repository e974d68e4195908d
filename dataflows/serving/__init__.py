"""Any models on any topics: what serves them, and how."""
