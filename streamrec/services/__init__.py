"""What speaks HTTP: `ingress` takes events in, `api` gives recommendations out, both on `http`."""
