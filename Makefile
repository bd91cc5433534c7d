# `make` lists what there is. Nothing is written outside this folder.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

BIN := .venv/bin
READY := .venv/ready

# Whether PYTHON is another one than .venv was made with.
IDENTITY := -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null
ifdef PYTHON
ifneq ($(shell $(PYTHON) $(IDENTITY)),$(shell $(BIN)/python $(IDENTITY)))
STALE := yes
endif
endif

# Caches stay here too, unless the environment has a better place for them.
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
export XDG_STATE_HOME ?= $(CURDIR)/.cache/state
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_PYTHON_DOWNLOADS := never
export MELTANO_SEND_ANONYMOUS_USAGE_STATS := false
# pip asks rustc for its version, and rustup's rustc makes itself a home for that.
ifeq ($(wildcard $(HOME)/.rustup),)
export RUSTUP_HOME ?= $(CURDIR)/.cache/rustup
endif
# Another project's Python must not leak in.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile \
		| while IFS='|' read -r target does; do printf '  make %-11s %s\n' "$$target" "$$does"; done

.PHONY: setup
setup: $(READY) ## Make .venv with every tool in it; of another Python: PYTHON=python3.12
	@:

$(READY): pyproject.toml requirements-dev.txt requirements-build.txt $(if $(STALE),again)
	@if [ "$(STALE)" ] || ! $(BIN)/python -c '' 2>/dev/null; then $(call environment,.venv); fi
	@echo "Installing what requirements-dev.txt lists (a minute or less the first time)"
	@$(call pip,$(BIN),requirements-build.txt)
	@$(call install,--require-hashes --requirement requirements-dev.txt)
	@$(call install,--no-build-isolation --no-deps --editable '.[sandbox]')
	@touch $@

.PHONY: again
again:

# $(call environment,FOLDER): a new environment, of the first Python that will do.
define environment
	for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && break; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "No Python from 3.11 to 3.14 was found ($(or $(PYTHON),python3) is: $$($(or $(PYTHON),python3) --version 2>&1 | head -n 1))."; \
		echo "Install one, or say where it is: make setup PYTHON=/path/to/python3.12"; \
		exit 1; \
	fi >&2; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	fi; \
	echo "Making $(1) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(1)
endef

# $(call pip,BIN,FILE): no file is installed whose hash is not in the list, and none
# that would run code of its own to be built.
pip = $(1)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement $(2)

# uv is quick, but reads no pip configuration: where that names the only
# registry there is, pip itself does the work.
define install
$(BIN)/uv pip install --quiet --python $(BIN)/python $(1) \
	|| { echo "uv could not; pip tries (slower)"; $(BIN)/python -m pip install --quiet $(1); }
endef

.PHONY: test
test: lint unit ## Run all checks of the code, then the tests (what CI runs)

.PHONY: lint
lint: setup ## Check style, types, layers and dependencies
	@echo "ruff: style"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Run: make format"; exit 1; }
	@echo "mypy: types (slow the first time)"
	@$(BIN)/mypy
	@echo "import-linter: who may import whom"
	@$(BIN)/lint-imports --no-logo
	@echo "deptry: dependencies"
	@$(BIN)/deptry .

# As many processes as tests/conftest.py says; one that runs out of tests takes some
# from the others. What stands in ARGS comes later and wins: -n0 is no process but
# pytest's own.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

.PHONY: unit
unit: setup ## Run the tests alone: make unit ARGS='-k labels', or '-n0 --pdb'
	@echo "pytest: the tests"
	@$(PYTEST) $(ARGS)

.PHONY: quick
quick: setup ## Run the tests that need no server, in half a minute
	@$(PYTEST) --quick $(ARGS)

.PHONY: coverage
coverage: setup ## Run the tests, and fail if they reach less of the code than they did
	@$(PYTEST) --cov $(ARGS)

# Those that `make test` takes a sample of, and those that count for the same figures.
FAULT_TESTS = $(wildcard $(patsubst %,tests/test_%.py,faults hostile interruptions \
	kept_states killed_targets kills malformed_rows model_target))

.PHONY: test-faults
test-faults: setup ## Let all go wrong everywhere: make test-faults ARGS='-k poll'
	@echo "pytest: every fault at every place, and kills (a quarter of an hour)"
	@$(PYTEST) $(FAULT_TESTS) --every-fault $(ARGS)

# What other people's tools need is kept apart: they do not agree with each other.
PLATFORMS := python airbyte orchestrators airflow

.PHONY: test-platforms
test-platforms: setup $(PLATFORMS:%=.cache/platforms/%/ready) ## Run it where people do: Airbyte, Airflow, notebooks, an image (2.3 GB)
	@$(PYTEST) tests/platforms $(ARGS)

.PHONY: test-cluster
test-cluster: setup .cache/platforms/airflow/ready ## Kill one of two workers of Airflow in the middle of a run
	@echo "pytest: Airflow with Celery, Redis and Postgres (a quarter of an hour)"
	@$(BIN)/python -m pytest -rs tests/cluster $(ARGS)

.cache/platforms/%/ready: requirements-platforms-%.txt requirements-build.txt
	@$(call environment,.cache/platforms/$*)
	@$(call pip,.cache/platforms/$*/bin,requirements-build.txt)
	@$(BIN)/uv pip install --quiet --python .cache/platforms/$*/bin/python --require-hashes --requirement $<
	@touch $@

.PHONY: test-warehouses
test-warehouses: setup ## Load every warehouse, value by value: make test-warehouses ARGS='-k csv'
	@echo "pytest: each loader in an environment of its own (half an hour)"
	@$(BIN)/python -m pytest -rs warehouses $(ARGS)
	@$(BIN)/python scripts/write_docs.py

.PHONY: test-dbt
test-dbt: setup ## Build the dbt package on fakesnow; compile it for other warehouses
	@echo "pytest: dbt for Snowflake, BigQuery, Databricks and Redshift"
	@$(BIN)/python -m pytest -rs warehouses/test_dbt.py $(ARGS)

.PHONY: check
check: lint ## Check the code, and the files for GitHub and Meltano
	@echo "check-jsonschema: .github, meltano.yml"
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@[ ! -e meltano.yml ] || $(BIN)/check-jsonschema --builtin-schema vendor.meltano meltano.yml
	@echo "zizmor: are the workflows safe?"
	@$(BIN)/zizmor --offline --quiet --persona pedantic .github

.PHONY: format
format: setup ## Let ruff format the code and mend what it can
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

.PHONY: bench
bench: setup ## Measure the tap beside others: make bench ARGS='--only labels --quick'
	@$(call install,--require-hashes --requirement requirements-bench.txt)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: demo
demo: setup ## Sync a made-up Labelbox into a database
	@$(BIN)/python scripts/demo.py

.PHONY: docs
docs: setup ## Write the generated parts of the documentation
	@$(BIN)/python scripts/write_docs.py
	@$(BIN)/python scripts/draw_lineage.py

.PHONY: build
build: ## Build the wheel and the sdist into dist/, with the build tools alone
	@rm -rf dist
	@$(call environment,.cache/build)
	@$(call pip,.cache/build/bin,requirements-build.txt)
	@.cache/build/bin/uv build --quiet --no-build-isolation --python .cache/build/bin/python
	@ls dist

.PHONY: audit
audit: ## Look for known vulnerabilities in all that is pinned; needs the network
	@$(call environment,.cache/audit)
	@$(call pip,.cache/audit/bin,requirements-audit.txt)
	@for file in requirements-*.txt; do \
		echo "pip-audit: $$file"; \
		.cache/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement "$$file" || exit 1; \
	done

.PHONY: lock
lock: ## Write requirements-*.txt from pyproject.toml; newest: ARGS=--upgrade
	@[ -x $(BIN)/uv ] || $(MAKE) --no-print-directory setup
	@$(LOCK) requirements-dev.txt --group dev $(ARGS) pyproject.toml
	@$(LOCK) requirements-build.txt --group build --constraint requirements-dev.txt
	@$(LOCK) requirements-bench.txt --group bench --constraint requirements-dev.txt
	@$(LOCK) requirements-audit.txt --group audit --constraint requirements-dev.txt
	@$(LOCK) requirements-image.txt --constraint requirements-dev.txt pyproject.toml
	@$(LOCK) requirements-image-build.txt --group image-build --constraint requirements-dev.txt
	@$(LOCK) requirements-platforms-python.txt --group platforms-python --extra parquet $(ARGS) pyproject.toml
	@$(LOCK) requirements-platforms-airbyte.txt --group platforms-airbyte $(ARGS)
	@$(LOCK) requirements-platforms-orchestrators.txt --group platforms-orchestrators $(ARGS)
	@$(LOCK) requirements-platforms-airflow.txt --group platforms-airflow $(ARGS) examples/airflow/requirements.txt
	@for name in $(WAREHOUSES); do \
		$(LOCK) warehouses/requirements/$$name.txt --no-annotate $(ARGS) \
			--group warehouses/pyproject.toml:$$name || exit 1; \
	done

# The groups that warehouses/pyproject.toml has.
WAREHOUSES = $(basename $(notdir $(wildcard warehouses/requirements/*.txt)))

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' --output-file

.PHONY: clean
clean: ## Delete what these targets have made
	@rm -rf .venv .cache .meltano .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache build dist output
	@rm -rf dbt/target dbt/logs dbt/integration_tests/target dbt/integration_tests/dbt_packages
	@rm -f .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
