# `make quickstart` shows llmspec from a spec to a trained model; `make test` proves it. Everything lives in .venv.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GOLDEN := quickstart gpt2-124m
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help pictures install quickstart test test-slow test-slurm lint format bench accuracy golden clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## create .venv with everything in it; does nothing when it is up to date

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "llmspec needs Python 3.11 or newer; name one with make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch goes first and alone: resolved together with deepspeed, pip may choose another build of it.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e '.[train,dev]'
	@touch $@

quickstart: install  ## validate, estimate, build and train specs/quickstart.yaml
	$(BIN)/llmspec validate specs/quickstart.yaml
	$(BIN)/llmspec estimate specs/quickstart.yaml
	$(BIN)/llmspec build specs/quickstart.yaml
	PATH="$(CURDIR)/$(BIN):$$PATH" generated/quickstart/launch/local.sh

# One thread a worker: torch's threads wait for each other by spinning, which on shared cores costs tenfold.
test: lint  ## check the sources and run the tests that are not slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

test-slow: install  ## run the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) -m slow

# As root, with slurmctld, slurmd, slurm-client and munge from Debian or the like.
test-slurm: install  ## run the emitted Slurm script on a real Slurm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slurm tests/launch

# ruff reads the pyproject.toml of each project in generated/ for its files.
lint: install  ## check style, spelling, types and the direction of imports
	$(BIN)/ruff check -q . generated
	$(BIN)/ruff format -q --check . generated
	$(BIN)/codespell llmspec templates tests specs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: install  ## sort imports and format the sources
	$(BIN)/ruff check -q --fix-only --select I
	$(BIN)/ruff format -q

bench: install  ## measure start-up, builds and training speed
	$(BIN)/python -m tests.bench

# ROWS=FILE, LOSSES=FILE and RUNS=FILE score other files with the frozen constants; FIT=1 fits them to all rows and writes the catalog's; FORMAT=json.
# CALIBRATION=1 asks whether a few rows of a cluster help to predict its others; with FIT=1 it writes the prior for that.
# SEARCH=1 asks how often the fastest of several published layouts of one model is found.
accuracy: install  ## score the estimates against published measurements, each source by a fit that has not seen it
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.accuracy $(if $(ROWS),--rows "$(ROWS)") $(if $(LOSSES),--losses "$(LOSSES)") $(if $(RUNS),--runs "$(RUNS)") $(if $(FIT),--fit) $(if $(CALIBRATION),--calibration) $(if $(SEARCH),--search) $(if $(FORMAT),--format $(FORMAT))

pictures: install  ## draw the README's pictures from a finished quickstart
	$(BIN)/python -m tests.bench.pictures

# data/ and run/ of a trained quickstart stay; all else is rendered afresh, so that no hand edit survives in the record.
golden: install  ## render the committed projects in generated/, and the schema beside the specs, again
	$(BIN)/llmspec schema > specs/llmspec.schema.json
	@for name in $(GOLDEN); do \
		mkdir -p "generated/$$name" && \
		find "generated/$$name" -mindepth 1 -maxdepth 1 ! -name data ! -name run -exec rm -rf {} + && \
		$(BIN)/llmspec build "specs/$$name.yaml" -o "generated/$$name" || exit 1; \
	done

clean:  ## remove .venv and every cache
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
