# make run    the whole product with its demo, on this machine alone      (HOST=, PORT=, DEMO=no)
# make test   every test, on a real PostgreSQL and Redis, then on SQLite  (DATABASE_URL=, REDIS_URL=)
# Both do all set-up by themselves; Python 3.11 is all they need.         (PYTHON=)

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
DEMO ?= yes
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := $(VENV)/pin/bin/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist worksteal

# What depends on the database: routing (its pure comparison with the oracle does not), tree and API; the
# API's document is compared with its answers on PostgreSQL alone.
ON_SQLITE = --ignore=tests/routing/test_landscape_against_oracle.py tests/routing tests/organizations \
	tests/backoffice/test_rights.py $(wildcard tests/*/test_api*.py)

.PHONY: run test lint types bench pin

run: $(VENV)/.run
	@exec $(BIN)/python manage.py up --host $(HOST) --port $(PORT) $(if $(filter no,$(DEMO)),,--demo)

test: $(VENV)/.test
	$(PYTEST)
	$(PYTEST) --sqlite -m "not browser and not processes" $(ON_SQLITE)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.test
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m bench

pin: # the newest versions that fit requirements.in and requirements-dev.in
	$(PYTHON) -m venv $(VENV)/pin
	$(VENV)/pin/bin/python -m pip install --quiet pip-tools
	$(COMPILE) -o requirements.txt requirements.in
	$(COMPILE) -o requirements-dev.txt requirements-dev.in

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: name one with PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: requirements.txt | $(VENV)/.python
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test: requirements.txt requirements-dev.txt | $(VENV)/.python
	$(PIP) -r requirements-dev.txt
	@touch $(VENV)/.run $@
