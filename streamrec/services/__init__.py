"""What speaks HTTP, `ingress` and `api` on `http`, and what looks after them."""
