"""What all commands share: the console, and no file replaced unasked."""

from rich.console import Console

console = Console(highlight=False)


def refuse_to_overwrite(paths, overwrite):
    """FileExistsError for the first that exists, unless that is allowed; makes their folder."""
    present = [str(path) for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    paths[0].parent.mkdir(parents=True, exist_ok=True)
