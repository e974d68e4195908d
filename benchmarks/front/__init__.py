"""The front over HTTP: what goes in, what comes out, and how long a click takes to its answer."""
