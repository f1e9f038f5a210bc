# `make demo` and `make test` work from a fresh clone and again; `make lint` too.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CPU_INDEX = https://download.pytorch.org/whl/cpu

.PHONY: demo test lint

demo: $(VENV)/.demo
	$(BIN)/sklearn-qmri demo --overwrite

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Without a GPU, PyTorch's CPU packages save several GB; their index is used if it answers.
define install
	index=""; \
	if ! nvidia-smi >/dev/null 2>&1 && $(BIN)/python -c "import urllib.request as r; \
	r.urlopen('$(CPU_INDEX)/torch/', timeout=5)" >/dev/null 2>&1; \
	then index="--extra-index-url $(CPU_INDEX)"; fi; \
	$(BIN)/python -m pip install -c constraints.txt $$index -e ".[$(1)]"
	touch $@
endef

$(VENV)/.demo: setup.cfg constraints.txt | $(VENV)/bin/python
	$(call install,cli)

$(VENV)/.test: setup.cfg constraints.txt | $(VENV)/bin/python
	$(call install,test)
