"""The command line: one program, a module for each group of commands."""

from streamrec.program.demo import demo
from streamrec.program.describe import describe
from streamrec.program.errors import errors
from streamrec.program.import_file import import_file
from streamrec.program.model import model
from streamrec.program.receive import receive
from streamrec.program.replay import replay
from streamrec.program.run import ENGINE_CONTEXT, run
from streamrec.program.send import send
from streamrec.program.shared import program
from streamrec.program.show_settings import settings
from streamrec.program.state import state
from streamrec.program.topics import topics
from streamrec.program.train import train

app = program()
app.add_typer(topics, name="topics")
app.command("send")(send)
app.command("receive")(receive)
app.add_typer(errors, name="errors")
app.add_typer(state, name="state")
app.command("import")(import_file)
app.add_typer(model, name="model")
app.command()(train)
app.command()(demo)
app.command(context_settings=ENGINE_CONTEXT)(run)
app.command(context_settings=ENGINE_CONTEXT)(replay)
app.command()(describe)
app.command()(settings)
