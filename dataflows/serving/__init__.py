"""Any model on topics of its own: what stands between its inputs, its answers and its errors."""
