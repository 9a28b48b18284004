# Every target makes the environment it needs; only Python and make are required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo fmt lint types test unit conformance golden properties docs bench check lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make the environment in .venv from the lock file

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else "mlplatform needs Python 3.10 to 3.13; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# An editable install is not compiled; where Python may not write byte code, every start would compile it.
	@$(BIN)/python -m compileall -q mlplatform connectors serving
	@touch $@

demo: setup ## run the main job on real data: a year of flights and their weather
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python pipelines/demo.py

fmt: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup ## style and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: setup ## strict types
	$(BIN)/mypy

test: lint types ## everything that CI runs
	$(BIN)/python -m pytest

unit: setup ## fast tests
	$(BIN)/python -m pytest tests/unit

conformance: setup ## the cases that every engine must pass
	$(BIN)/python -m pytest tests/conformance

properties: setup ## what must hold for any data
	$(BIN)/python -m pytest tests/properties

golden: setup ## write golden files and the outputs shown in pages again; read the diff
	$(BIN)/python -m pytest tests/golden tests/docs --golden

docs: setup ## generated reference pages
	$(BIN)/python docs/generate.py

bench: setup ## speed and memory beside hand-written peers, into docs/benchmarks.md
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

check: test ## what CI runs

lock: ## pin all dependencies again (needs uv)
	uv pip compile --quiet --universal --python-version 3.10 --extra dev --generate-hashes --no-emit-index-url --no-header \
	  --output-file requirements.lock pyproject.toml requirements.build.in

clean: ## remove the environment and local state
	rm -rf $(VENV) .mlp pipelines/.mlp .bench
