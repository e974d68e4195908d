"""How is a process doing? Served by each of its own, on loopback, for Prometheus and for `top`."""
