"""Who is asked over the network, and who looks after them."""
