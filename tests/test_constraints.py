"""The oldest versions that are tested are the oldest that setup.cfg allows."""

import re
from configparser import ConfigParser
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]


def versions(text, relation):
    pairs = re.findall(rf"^([\w-]+){relation}(\S+)$", text, flags=re.MULTILINE)
    return {name: Version(version) for name, version in pairs}


def test_oldest_versions_are_the_lower_bounds():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = f"{setup['options']['install_requires']}\n{setup['options.extras_require']['test']}"
    bounds = versions(required, ">=")
    del bounds["torch"]
    oldest = versions((ROOT / "constraints-oldest.txt").read_text(), "==")
    assert bounds == {name: oldest[name] for name in bounds}
