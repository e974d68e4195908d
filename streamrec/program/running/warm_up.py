"""`warm-up`: the kernels compiled ahead of the first start."""

from streamrec.program.shared import CommandError, say


def warm_up() -> None:
    """Compile the kernels, once for an environment, so that no first start has to wait for it."""
    # Here and not above: the other commands have nothing to do with it.
    from streamrec.dataflows.engine.warm_up import WarmUpError
    from streamrec.dataflows.engine.warm_up import warm_up as compile_kernels

    try:
        say(f"kernels compiled in {compile_kernels():.0f} s")
    except WarmUpError as error:
        raise CommandError(f"warm-up: {error}") from error
