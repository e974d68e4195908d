"""Ticks: records of ours that say how far all inputs of a dataflow had come at a time."""
