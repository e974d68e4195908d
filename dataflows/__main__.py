"""`python -m dataflows`: the command line without an installed script."""

from dataflows.cli import app

app(prog_name="streamrec")
