# What a developer and CI run. `make demo` and `make test` work on a fresh Debian or Ubuntu with Python 3.11 or newer, make,
# and root or sudo: they install the system packages that are missing, and all else into .venv and .cache below this folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test test-long check bench clean system-python system-test system-long peers services services-long

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# python3 if it is new enough, else the newest that is
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.executable)' 2>/dev/null && break; done)

PROJECTS := core $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/*/pyproject.toml)) .
# Mounting needs libfuse; without it all else is installed.
INSTALLED = $(filter-out $(shell pkg-config --exists fuse3 2>/dev/null || echo plugins/commands/mount),$(PROJECTS))
# What the distributions of this folder are built with, and pyfuse3, of which there is only the source.
BUILDERS := setuptools wheel hatchling editables setuptools-scm Cython
NATIVE := core/setup.py $(wildcard core/src/limpet/format/native/*)
# mypy takes no folder that begins with a dot, so the root's own conftest.py is named
TYPED := core/src plugins tests core/tests examples benchmarks conftest.py

WORKERS ?= auto
TESTS ?=
ARGS ?=
PYTEST = PATH="$(BIN):$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1200

help:
	@echo 'make demo       the main job on generated files: back up, change, back up again, check, restore, compare'
	@echo 'make test       all tests but the long ones (TESTS=path ARGS="-k word" for some of them)'
	@echo 'make test-long  the tests that take minutes each'
	@echo 'make check      ruff, mypy, import-linter, the change-log fragments'
	@echo 'make bench      Limpet beside a real restic on the data sets (ARGS=--help for more)'
	@echo 'make clean      remove all that these targets made'

demo: $(VENV)/.limpet
	@PATH="$(CURDIR)/.cache/peers/usr/bin:$(BIN):$$PATH" $(BIN)/python tests/demo.py

test: system-test $(VENV)/.development peers services
	@$(PYTEST) -m 'not long' $(ARGS) $(TESTS)

test-long: system-long $(VENV)/.development peers services-long
	@$(PYTEST) -m long $(ARGS) $(TESTS)

# A target each, so that `make -k check` tells of all that is wrong.
CHECKS := check-style check-format check-types check-layers check-changelog
.PHONY: $(CHECKS)
check: $(CHECKS)
$(CHECKS): $(VENV)/.development

check-style:
	$(BIN)/ruff check
check-format:
	$(BIN)/ruff format --check
check-types:
	$(BIN)/mypy $(wildcard $(TYPED))
check-layers:
	$(BIN)/lint-imports --no-logo
check-changelog:
	$(BIN)/towncrier build --draft --version 0 > /dev/null

bench: system-test $(VENV)/.development peers
	@PATH="$(BIN):$$PATH:/usr/sbin:/sbin" $(BIN)/python benchmarks/compare.py --restic .cache/peers/usr/bin/restic --write README.md $(ARGS)

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -rf core/build core/src/*.egg-info core/src/limpet/format/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The system's packages: looked at each time, installed only if missing.
system-python:
	@test -n "$(PYTHON)" || { echo 'Limpet needs Python 3.11 or newer, and no python3 here is: install one, or say make PYTHON=/path/to/python' >&2; exit 1; }
	@tests/services/system_packages.sh "$(PYTHON)" build

system-long: system-python
	@tests/services/system_packages.sh "$(PYTHON)" build test long

system-test: system-python
	@tests/services/system_packages.sh "$(PYTHON)" build test

# The newest restic, the judge of the interop tests. Where it cannot be had they say so: skipped here, failed in CI.
peers:
	@tests/services/fetch_peers.sh .cache/peers || echo 'going on without it: tests that need restic 0.19 are skipped, or fail where LIMPET_REQUIRE_SERVICES=1'

# The servers of the backend tests. What cannot be had is skipped here and fails in CI, as with the peers.
services: system-test
	@tests/services/fetch_services.sh .cache/services "$(PYTHON)" || echo 'going on without it: tests of that server are skipped, or fail where LIMPET_REQUIRE_SERVICES=1'

services-long: system-long
	@tests/services/fetch_services.sh .cache/services "$(PYTHON)" long || echo 'going on without it: tests of that server are skipped, or fail where LIMPET_REQUIRE_SERVICES=1'

# One environment, versions from constraints.txt, built in three steps; each is made again when what it comes from is newer.
$(VENV)/.created: constraints.txt | system-python
	@echo '== a Python environment in $(VENV), made with $(PYTHON)'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --upgrade -c constraints.txt pip $(BUILDERS)
	@touch $@

$(VENV)/.limpet: $(VENV)/.created $(NATIVE) $(addsuffix /pyproject.toml,$(PROJECTS))
	@echo '== Limpet and its plugins from this folder into $(VENV), with the C extension if a compiler is there'
	@$(BIN)/python -m pip install -qq -c constraints.txt --no-build-isolation $(addprefix -e ./,$(INSTALLED))
	@touch $@

$(VENV)/.development: $(VENV)/.limpet
	@echo '== what the tests and checks need into $(VENV)'
	@$(BIN)/python -m pip install -qq -c constraints.txt --group dev
	@touch $@
