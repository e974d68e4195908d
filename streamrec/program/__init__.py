"""The command line: one program, a module for each command or group of commands.

What is heavy to import is imported when a command runs; where that is much, what the command does
stands beside it in a module of its own, `demo_run` beside `demo`.
"""

from streamrec.program.learning.evaluate import evaluate
from streamrec.program.learning.learn import learn
from streamrec.program.learning.metrics import metrics
from streamrec.program.learning.model import model
from streamrec.program.learning.models import models
from streamrec.program.learning.train import train
from streamrec.program.learning.train_propensity import train_propensity
from streamrec.program.records.errors import errors
from streamrec.program.records.import_file import import_file
from streamrec.program.records.receive import receive
from streamrec.program.records.send import send
from streamrec.program.records.topics import topics
from streamrec.program.running.demo import demo
from streamrec.program.running.describe import describe
from streamrec.program.running.engine import ENGINE_CONTEXT
from streamrec.program.running.kafka import kafka
from streamrec.program.running.replay import replay
from streamrec.program.running.run import run
from streamrec.program.running.run_cluster import CLUSTER_CONTEXT, run_cluster
from streamrec.program.running.show_settings import settings
from streamrec.program.running.state import state
from streamrec.program.running.top import top
from streamrec.program.running.warm_up import warm_up
from streamrec.program.services.api import api
from streamrec.program.services.ingress import ingress
from streamrec.program.services.keys import keys
from streamrec.program.services.store import store
from streamrec.program.services.up import up
from streamrec.program.serving.pipeline import pipeline
from streamrec.program.shared import program

app = program()
app.add_typer(topics, name="topics")
app.command()(send)
app.command()(receive)
app.add_typer(errors, name="errors")
app.add_typer(pipeline, name="pipeline")
app.add_typer(state, name="state")
app.command("import")(import_file)
app.add_typer(model, name="model")
app.add_typer(learn, name="learn")
app.add_typer(metrics, name="metrics")
app.add_typer(models, name="models")
app.command()(train)
app.command()(train_propensity)
app.command()(evaluate)
app.command()(demo)
app.command(context_settings=ENGINE_CONTEXT)(run)
app.command(context_settings=CLUSTER_CONTEXT)(run_cluster)
app.command(context_settings=ENGINE_CONTEXT)(replay)
app.command()(describe)
app.command()(settings)
app.command()(up)
app.command()(top)
app.command()(kafka)
app.command()(warm_up)
app.command()(ingress)
app.command()(api)
app.add_typer(store, name="store")
app.add_typer(keys, name="keys")
