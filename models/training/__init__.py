"""How models are trained and judged, on clicks of the past."""
