"""The command line: a thin layer over the same functions that Python users call."""

import io
import sys
import warnings
from typing import Annotated

try:
    import rich  # noqa: F401
    import typer
except ImportError as error:
    raise SystemExit(f"{error}. The command line needs: pip install 'sklearn-qmri[cli]'") from error

from .._version import __version__
from ._compare import compare
from ._console import notes
from ._demo import demo
from ._maps import fit, predict
from ._models import models
from ._report import report
from ._signals import orderly_end
from ._train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


_DEBUG = "--debug"


def _show_version(asked: bool):
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error is from; at any place.")
    ] = False,
):
    """Scikit-learn-compatible estimators for quantitative MRI. For research use only."""


for command in (demo, fit, train, predict, report, compare, models):
    app.command()(command)


def _show_warning(message, *_):
    notes.print(f"Note: {message}")


def main():
    """Run the command line. Exit code 0: done, 1: failed with a one-line reason, 2: wrong usage.

    Typer turns an interruption into exit code 130; SIGTERM ends with 143.
    """
    warnings.showwarning = _show_warning
    # Names of files may have characters that the encoding of the terminal lacks. Under a test
    # runner, standard output may be another object, which cannot be reconfigured.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    words = [word for word in sys.argv[1:] if word != _DEBUG]
    try:
        with orderly_end():
            app(args=words)
    # Errors of input and machine get one line. Any other kind is a bug, and keeps its traceback.
    except (ValueError, OSError, RuntimeError, ImportError, MemoryError) as error:
        if _DEBUG in sys.argv:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        notes.print(f"sklearn-qmri: {text}")
        sys.exit(1)
