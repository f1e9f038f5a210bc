import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[1] / "README.md"


def test_example_runs_as_written(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    namespace = {}
    exec(code, namespace)
    assert "MLEEstimator bias^2 [" in capsys.readouterr().out
    assert np.isfinite(namespace["y_pred"]).all()


def test_files_that_it_names_exist():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README.read_text()):
        assert (README.parent / target).exists(), target
