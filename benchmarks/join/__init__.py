"""A dataflow over two inputs with timers, as it is measured and proved."""
