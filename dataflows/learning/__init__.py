"""What labels, trainer and evaluation of a learning file are made of."""
