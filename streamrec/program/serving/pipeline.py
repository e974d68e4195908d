"""`pipeline`: models on streams, by their names."""

import typer

from streamrec.program.running.engine import ENGINE_CONTEXT
from streamrec.program.serving.create import create
from streamrec.program.serving.delete import delete
from streamrec.program.serving.run import run_pipeline
from streamrec.program.serving.status import list_pipelines, status

pipeline = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Serve models on topics of their own. What is created is written down on the log, so that "
    "any machine runs it, sends to it and receives from it by its name.",
)
pipeline.command()(create)
pipeline.command("run", context_settings=ENGINE_CONTEXT)(run_pipeline)
pipeline.command()(status)
pipeline.command("list")(list_pipelines)
pipeline.command()(delete)
