"""Trained files: what stands beside them, and how each kind is asked. Nothing of a file is run."""
