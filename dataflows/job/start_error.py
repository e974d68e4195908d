"""`StartError`: what keeps a dataflow from starting."""


class StartError(Exception):
    """The dataflow cannot start; the message says what is missing and what to do."""
