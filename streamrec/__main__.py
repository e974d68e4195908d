"""`python -m streamrec`: the command line without an installed script."""

from streamrec.program import app

app(prog_name="streamrec")
