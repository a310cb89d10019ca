"""The ``aefast`` command: the registry of its commands and the options that stand before them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from aefast.cli.arguments import running
from aefast.cli.group import SETTINGS, Commands
from aefast.cli.terminal import echo

#: Every command, in the order of ``--help``, and the panel that lists it. Each is a file of this folder.
COMMANDS = {
    "demo": "Start here",
    "fit": "Models",
    "recalibrate": "Models",
    "info": "Models",
    "export": "Models",
    "score": "Scores",
    "report": "Scores",
    "run": "Scores",
    "compare": "Scores",
    "bench": "This machine",
}


class Aefast(Commands):
    """The commands of aefast."""

    panels: ClassVar[dict[str, str]] = COMMANDS


app: typer.Typer = typer.Typer(
    cls=Aefast,
    help="Train autoencoders on tables and find the rows that do not fit.",
    epilog="Start with: [bold]aefast demo[/bold]",
    **SETTINGS,
)


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    version: Annotated[bool, running(None, "Print the version.", "--version")] = False,
    debug: Annotated[bool, running(None, "Show the traceback of an error. Allowed anywhere.", "--debug")] = False,
) -> None:
    """Print the help if there is no command."""
    if version:
        from aefast.engine.core import __version__

        echo(f"aefast {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        echo(ctx.get_help())
