"""The store: the newest value of each key, written by `dataflows.store`, read by the API."""
