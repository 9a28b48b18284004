# Every target makes the environment it needs; only Python and make are required.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINES := $(VENV)/.engines

.DEFAULT_GOAL := help
.PHONY: help setup engines demo mining fmt lint types test unit conformance golden properties docs bench bench-serving check lock clean

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

engines: $(ENGINES) ## add Apache Beam and Apache Spark to the environment (Spark needs Java 17 or later)

$(ENGINES): $(STAMP) requirements.engines.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.engines.lock
	@touch $@

demo: setup ## run the main job on real data: a year of flights and their weather
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python pipelines/demo.py

mining: setup ## mine a minute of driving, a synthetic fleet and a year of flights; check the figures
	@cd pipelines && ../$(BIN)/python mining.py

fmt: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup ## style and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: engines ## strict types
	$(BIN)/mypy

test: lint types ## everything that CI runs, one process a core
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

unit: setup ## fast tests
	$(BIN)/python -m pytest tests/unit

conformance: engines ## the cases that every engine must pass
	$(BIN)/python -m pytest tests/conformance

properties: engines ## what must hold for any data
	$(BIN)/python -m pytest tests/properties

golden: engines ## write golden files and the outputs shown in pages again; read the diff
	$(BIN)/python -m pytest tests/golden tests/docs --golden

docs: engines ## generated reference pages
	$(BIN)/python docs/generate.py

bench: engines ## speed and memory beside hand-written peers, into docs/benchmarks.md
	$(BIN)/python tests/benchmarks/run.py $(BENCH)

bench-serving: setup ## the serving tier's 22 scenarios and its peers, into docs/serving/benchmarks.md (an hour; BENCH=--quick: minutes)
	$(BIN)/python tests/benchmarks/serve.py $(BENCH)

check: test ## what CI runs

LOCK := uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header
lock: ## pin all dependencies again (needs uv): the engines' first, because they are the choosier ones
	$(LOCK) --extra dev --extra beam --extra bench-engines --extra spark --output-file requirements.engines.lock pyproject.toml requirements.build.in
	$(LOCK) --extra dev --constraint requirements.engines.lock --output-file requirements.lock pyproject.toml requirements.build.in

clean: ## remove the environment and local state
	rm -rf $(VENV) .mlp pipelines/.mlp .bench
