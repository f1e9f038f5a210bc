# Every target works from a fresh clone and again.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CPU_INDEX = https://download.pytorch.org/whl/cpu
CONSTRAINTS = constraints.txt

.PHONY: demo test test-oldest lint doctest docs check-site

demo: $(VENV)/.demo
	$(BIN)/sklearn-qmri demo --overwrite

test: $(VENV)/.test
	$(BIN)/python -m pytest

# The same tests with the oldest versions that setup.cfg allows.
test-oldest:
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

doctest: $(VENV)/.test
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' sklearn_qmri README.md docs/*.md

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/test_docstrings.py

# Examples run again when they change; `rm -r docs/auto_examples` makes all run.
docs: $(VENV)/.docs
	rm -rf docs/generated docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/check_site.py docs/_build/html

# Needs Debian's package chromium, or another that is called so.
check-site: docs
	$(BIN)/python docs/check_site.py --browser docs/_build/html

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Without a GPU, PyTorch's CPU packages save several GB; their index is used if it answers.
define install
	index=""; \
	if ! nvidia-smi >/dev/null 2>&1 && $(BIN)/python -c "import urllib.request as r; \
	r.urlopen('$(CPU_INDEX)/torch/', timeout=5)" >/dev/null 2>&1; \
	then index="--extra-index-url $(CPU_INDEX)"; fi; \
	$(BIN)/python -m pip install -c $(CONSTRAINTS) $$index -e ".[$(1)]"
	touch $@
endef

$(VENV)/.demo: setup.cfg $(CONSTRAINTS) | $(VENV)/bin/python
	$(call install,cli)

$(VENV)/.test: setup.cfg $(CONSTRAINTS) | $(VENV)/bin/python
	$(call install,test)

$(VENV)/.docs: setup.cfg $(CONSTRAINTS) | $(VENV)/bin/python
	$(call install,docs)
