# Everything a newcomer needs; `make help` lists it. Each target makes the virtual environment it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-slow-again test-long lint audit docs causes month faults flow-faults resumes screenshots bench format constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Finetide needs Python >= 3.11; found: $$($(PYTHON) --version). Use: make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): once, a few minutes, later calls take no time."
	@echo "  1 of 2: torch, the largest part (no line appears while pip downloads)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	@echo "  2 of 2: Finetide with its base model, Prefect, DVC, Great Expectations and the development tools…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[base,dev]'
	@touch $@

setup: $(READY) ## make the virtual environment (the others do it by themselves)
	@echo "now: source $(VENV)/bin/activate"

run: $(READY) ## take the default model from raw data to a promoted ONNX bundle, watched by Prefect
	@$(BIN)/python flows/retrain.py

test: $(READY) ## the default tests, under ten minutes on two cores (ARGS="-k word" passes options to pytest)
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal $(ARGS)

test-slow: $(READY) ## the slow tests: the calendar, equal bytes, a bare environment
	@$(BIN)/python -m pytest -q -m slow -n 2 --dist worksteal

test-slow-again: $(READY) ## the files whose slow tests failed, once more and one at a time
	@files=$$($(BIN)/python -c "import json; print(*sorted({name.split('::')[0] for name in json.load(open('.pytest_cache/v/cache/lastfailed'))}))") \
	  && test -n "$$files" && echo "failed; once more, one at a time: $$files" && $(BIN)/python -m pytest -q -m slow $$files

test-long: $(READY) ## whole runs on public data sets in ../shared/data, tens of minutes
	@$(BIN)/python -m pytest -q -s -m long

lint: $(READY) ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check src flows tests benchmarks
	@$(BIN)/ruff format --check src flows tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## let ruff mend what it can
	@$(BIN)/ruff check --fix src flows tests benchmarks
	@$(BIN)/ruff format src flows tests benchmarks

audit: $(READY) ## look the pins up in the advisories of PyPI; says so when they cannot be reached
	@$(BIN)/python tests/security/audit.py

docs: $(READY) ## build the manual into site/ (open site/index.html; no server needed)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html"

causes: $(READY) ## run every cause of an error and write docs/causes.md from what is said
	@made=$$(mktemp -d) && FT_CAUSES=$$made $(BIN)/python -m pytest -q -n auto --maxprocesses 4 -m "slow or not slow" tests/bad_input/test_causes.py::test_cause && PYTHONPATH=tests $(BIN)/python -m bad_input.page $$made

month: $(READY) ## play thirty days on a schedule and write docs/month.md from what was decided
	@FT_MONTH=1 $(BIN)/python -m pytest -q -m slow tests/acceptance/test_month.py

faults: $(READY) ## a thousand kills; goes on where docs/faults.jsonl ends, and writes docs/faults.md (hours)
	@$(BIN)/python tests/faults/run.py --kills 1000 --workers 2

flow-faults: $(READY) ## 280 faults in scheduled runs; goes on where docs/flow-faults.jsonl ends, and writes docs/flow-faults.md (hours)
	@$(BIN)/python tests/faults/flow_run.py --trials 280

resumes: $(READY) ## 200 kills of trainings, resumed; goes on where docs/resumes.jsonl ends, and writes docs/resumes.md
	@$(BIN)/python tests/faults/resumes.py --kills 200

screenshots: $(READY) ## take the pictures of the dashboard from the run that tests/flows/test_up.py asserts (Chromium)
	@FT_SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -m long tests/flows/test_up.py

bench: $(READY) ## hours: measure against peers on the same data, on from where it was stopped; docs/benchmarks.md
	@$(BIN)/python benchmarks/peers.py

constraints: ## write constraints.txt anew from this environment
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude finetide | sed 's/+cpu//'; } > constraints.new && mv constraints.new constraints.txt

clean: ## remove what runs and tests made; data, ledger and environment stay
	@rm -rf artifacts site .finetide .pytest_cache .mypy_cache .ruff_cache .hypothesis
