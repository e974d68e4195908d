"""The command line: one program, a module for each group of commands."""

from dataflows.cli.demo import demo
from dataflows.cli.describe import describe
from dataflows.cli.errors import errors
from dataflows.cli.import_file import import_file
from dataflows.cli.program import program
from dataflows.cli.receive import receive
from dataflows.cli.replay import REPLAY_CONTEXT, replay
from dataflows.cli.send import send
from dataflows.cli.settings import settings
from dataflows.cli.state import state
from dataflows.cli.topics import topics
from dataflows.cli.train import train

app = program()
app.add_typer(topics, name="topics")
app.command("send")(send)
app.command("receive")(receive)
app.add_typer(errors, name="errors")
app.add_typer(state, name="state")
app.command("import")(import_file)
app.command()(train)
app.command()(demo)
app.command(context_settings=REPLAY_CONTEXT)(replay)
app.command()(describe)
app.command()(settings)
