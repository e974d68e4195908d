"""Which way did it take? Traces of OpenTelemetry, where the environment asks for them."""
