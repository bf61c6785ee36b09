# The verbs of this repository; `make` lists them. Works with GNU make 3.81 and newer.

HOST = $(or $(REGISTRY_HOST),127.0.0.1)
PORT = $(or $(REGISTRY_PORT),8000)
DATA_DIR = $(or $(REGISTRY_DATA_DIR),.data)
WORKERS = $(or $(REGISTRY_WORKERS),1)
ARGS =

VENV := .venv
BIN := $(VENV)/bin
PYTHON = $(BIN)/python
PIP_INSTALL = $(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --no-input
RUNTIME := $(VENV)/.installed-requirements.lock
DEV := $(VENV)/.installed-requirements-dev.lock
UV = $(or $(wildcard $(BIN)/uv),uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header pyproject.toml

# Newest tested Python first; whatever is found must be able to make virtual environments.
FIND_PYTHON = for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v $$python && break; done

.DEFAULT_GOAL := help
.PHONY: laws chaos check check-lock help run migrate demo test lint fmt types bench lock clean postgis

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  variables: HOST=$(HOST) PORT=$(PORT) DATA_DIR=$(DATA_DIR) WORKERS=$(WORKERS) ARGS=..."

run migrate demo: export REGISTRY_HOST := $(HOST)
run migrate demo: export REGISTRY_PORT := $(PORT)
run migrate demo: export REGISTRY_DATA_DIR := $(DATA_DIR)
run migrate demo: export REGISTRY_WORKERS := $(WORKERS)

run: postgis $(RUNTIME) ## install what is missing, load the demo city when empty, and serve
	@exec $(BIN)/coverage-registry serve --demo $(ARGS)

migrate: postgis $(RUNTIME) ## bring the database up to the newest schema
	@exec $(BIN)/coverage-registry migrate $(ARGS)

demo: postgis $(RUNTIME) ## load the demo city
	@exec $(BIN)/coverage-registry demo $(ARGS)

check: lint types ## style, format, imports and types: the fast part of `make test`

check-lock: ## verify that the locks belong to pyproject.toml
	@cp requirements.lock $(VENV)/check.lock && $(COMPILE) --output-file $(VENV)/check.lock
	@cmp -s requirements.lock $(VENV)/check.lock || { echo "requirements.lock does not match pyproject.toml: run make lock"; exit 1; }

test: check postgis ## everything a change must pass (ARGS go to pytest)
	$(PYTHON) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

laws: $(DEV) postgis ## property tests with new examples, three times (ARGS go to pytest)
	for run in 1 2 3; do HYPOTHESIS_PROFILE=long $(PYTHON) -m pytest -m hypothesis --timeout 1200 \
		--numprocesses auto --maxprocesses 4 $(ARGS) || exit 1; done

chaos: $(DEV) postgis ## kill workers, servers and databases of real services (ARGS go to pytest)
	$(PYTHON) -m pytest tests/e2e tests/db $(ARGS)

lint: $(DEV) ## style, format and the direction of imports
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) $(BIN)/lint-imports

fmt: $(DEV) ## correct style and format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: $(DEV) ## static types
	$(PYTHON) -m mypy

bench: postgis $(DEV) ## measure against the alternatives (ARGS go to the harness)
	$(PYTHON) -m benchmarks $(ARGS)

lock: ## pin the dependencies again (ARGS=--upgrade for the newest)
	@$(UV) --version >/dev/null 2>&1 || { echo "make lock needs uv: $(PYTHON) -m pip install uv"; exit 1; }
	$(COMPILE) $(ARGS) --output-file requirements.lock
	$(COMPILE) $(ARGS) --group dev --output-file requirements-dev.lock

clean: ## remove the virtual environment and caches, never the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -not -path './$(DATA_DIR)/*' -prune -exec rm -rf {} +

# A database elsewhere needs no PostgreSQL here.
postgis:
	@test -n "$$REGISTRY_DATABASE_URL" || scripts/install-postgis

# Each is a copy of the lock that is installed: pip runs only when the lock says something else.
$(RUNTIME): requirements.lock scripts/coverage-registry | $(PYTHON)
	@cmp -s $< $@ || { echo "installing $<"; $(PIP_INSTALL) --require-hashes -r $<; }
	@echo ../../../.. >"$$($(PYTHON) -c 'import site; print(site.getsitepackages()[0])')/checkout.pth"
	@install -m 755 scripts/coverage-registry $(BIN)/coverage-registry
	@cp $< $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@cmp -s $< $@ || { echo "installing $<"; $(PIP_INSTALL) --require-hashes -r $<; }
	@cp $< $@

$(PYTHON):
	@python=$$($(FIND_PYTHON)); \
	test -n "$$python" || { scripts/install-postgis python || exit 1; python=$$($(FIND_PYTHON)); }; \
	echo "making $(VENV) with $$python"; "$$python" -m venv --clear $(VENV)
