# Doorleaf: what can be done with `make`. Needs make, Python 3.11 or later and a package registry.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# The first of these that is Python 3.11 or later; `make PYTHON=/path/to/python3` decides otherwise.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'
ARGS ?=

.PHONY: help install serve console test coverage lint format lock build bench
help:
	@echo 'make install in .venv, without starting'
	@echo 'make serve   start on http://127.0.0.1:3000 (ARGS="--port 4000" for options)'
	@echo 'make test    lint, then all tests'
	@echo 'make coverage of branches (ARGS="tests/mql" for some of the tests)'
	@echo 'make lint    ruff and mypy'
	@echo 'make format  let ruff write the format'
	@echo 'make lock    write the lock files anew (ARGS=--upgrade for newer versions)'
	@echo 'make console build the page at /console, as serve and test do too'
	@echo 'make build   wheel and source distribution, in dist/'
	@echo 'make bench   measure'

install: $(VENV)/.runtime

serve: $(VENV)/.runtime
	@$(BIN)/python console/build.py --if-possible || true
	@exec $(BIN)/doorleaf serve $(ARGS)

# The two test processes have to agree on the tests' names, and some of those show a set.
test: lint
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

coverage: $(VENV)/.development
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m coverage run -m pytest $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report
	@for room in mql access dialects; do \
		echo "$$room: $$($(BIN)/python -m coverage report --include="*/doorleaf/$$room/*" --format=total --precision=2) %"; done

lint: $(VENV)/.development
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python console/build.py --check --if-possible

console: $(VENV)/.runtime
	@$(BIN)/python console/build.py

format: $(VENV)/.development
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock: $(VENV)/.development
	@$(COMPILE) pyproject.toml --group build --output-file requirements.lock $(ARGS)
	@$(COMPILE) --group console --output-file requirements-node.lock $(ARGS)
	@$(COMPILE) pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

build: $(VENV)/.development console
	@$(BIN)/uv build --quiet --out-dir dist
	@ls dist/*.whl dist/*.tar.gz

bench: $(VENV)/.development
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python bench/run.py $(ARGS)

# Stamps: a later run installs again only when a lock, pyproject.toml or what is compiled is newer.
NATIVE := hatch_build.py $(wildcard src/doorleaf/ejson/native/*)
$(VENV)/.runtime: requirements.lock pyproject.toml $(NATIVE) | $(BIN)/pip
	@echo 'Installing Doorleaf in $(VENV) …' >&2
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: requirements-dev.lock pyproject.toml $(NATIVE) | $(BIN)/pip
	@echo 'Installing Doorleaf and its tests in $(VENV) …' >&2
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

$(BIN)/pip:
	@test -n '$(PYTHON)' || { echo 'Doorleaf needs Python 3.11 or later, and found none. Install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Doorleaf needs Python 3.11 or later, and $(PYTHON) is not.' >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { '$(PYTHON)' -c 'import sys; print("$(PYTHON) lacks its venv module. On Debian and Ubuntu: apt install python3-venv (or python%d.%d-venv)" % sys.version_info[:2])' >&2; exit 1; }
	@'$(PYTHON)' -m venv '$(VENV)'
