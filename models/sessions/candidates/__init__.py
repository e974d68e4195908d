"""Candidates for sessions and the inputs of the ranker: a file for each step of the kernel."""
