"""Commands for models on streams: pipelines, by their names."""
