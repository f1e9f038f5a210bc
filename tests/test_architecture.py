"""The house: its rooms, and the one direction of imports between them."""

import ast
from pathlib import Path

import pytest

import sklearn_qmri

ROOT = Path(sklearn_qmri.__file__).parent
# From low to high; a room imports only from rooms on lower floors, never from its own floor.
FLOORS = (
    {"_version", "_arrays", "_files", "_torch", "_warnings", "_value"},
    {"derived"},
    {"signal_models", "status"},
    {"noise"},
    {"tissues"},
    {"information", "dictionary"},
    {"_solver", "_network"},
    {"metrics"},
    {"estimators"},
    {"datasets", "inspection", "published"},
    {"compare", "image"},
    {"persistence"},
    {"cli"},
)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
FILES = sorted(
    path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__"
)


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Rooms of this package that a file imports from, at any depth of its code."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "sklearn_qmri" and len(name) > 1)
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = (node.module or "").split(".") if node.module else []
        if node.level == 0:
            if parts[:1] == ["sklearn_qmri"]:
                yield from parts[1:2] or (alias.name for alias in node.names)
            continue
        above = [*package[: len(package) - node.level + 1], *parts]
        yield from above[:1] or (alias.name for alias in node.names)


def test_every_room_has_its_floor():
    rooms = {room_of(path) for path in FILES}
    assert rooms == set(FLOOR)
    assert len(rooms) <= 24


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    for other in imported_rooms(path):
        assert other == room or FLOOR[other] < FLOOR[room], f"{room} imports {other}"


def test_nothing_is_sniffed():
    for path in FILES:
        assert "signature(" not in path.read_text(), path


def test_no_private_method_of_another_object():
    """Private attributes are an object's own: only `self`, `cls` and `super()` have them read."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            if node.attr.startswith("__") or node.attr in ALLOWED:
                continue
            owner = node.value
            own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "other")
            own |= isinstance(owner, ast.Call) and getattr(owner.func, "id", "") == "super"
            assert own, (
                f"{path.relative_to(ROOT)}:{node.lineno} reads {node.attr} of another object"
            )


# Names that only look private: named tuples' methods, and the door's own mark on an estimator.
ALLOWED = {
    "_value_",  # of an enumeration
    "_reconstruct",  # of NumPy, which is compared with, for safe unpickling
    "_replace",
    "_asdict",
    "_fields",
    "_make",
    "_single_output_",
    "_validate_params",
    "_core",
    "_getframe",
}
