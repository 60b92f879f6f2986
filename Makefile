# Everything a person needs: each target installs what it needs into .venv and says what it does.
#   make demo    three rounds on the built-in task (EXTRA=gpu for the CUDA builds)
#   make test    the default tests         make test-slow  the slow ones
#   make lint    style, types, import contracts
#   make ui      Prefect's server, a worker and the deployments, on loopback

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
EXTRA ?= cpu
BIN := .venv/bin
STAMP := .venv/.installed-$(EXTRA)
# uv knows find-links by another name than pip; without any, it takes torch's own CPU builds.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifeq ($(EXTRA)-$(UV_FIND_LINKS),cpu-)
TORCH_BACKEND := --torch-backend=cpu
endif

.PHONY: help install demo test test-slow lint format docs coverage ui bench answers exactness faults requirements clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

install: $(STAMP)  ## Install the project and its pinned requirements into .venv.

$(STAMP): requirements/$(EXTRA).txt pyproject.toml
	@echo "installing into .venv ($(EXTRA) builds; one to three minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet $(TORCH_BACKEND) \
		--override requirements/overrides-$(EXTRA).txt -r requirements/$(EXTRA).txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps -e .
	@touch $@

demo: install  ## Run three rounds of self-training on the built-in task.
	@$(BIN)/east demo

ui: install  ## Start the UI, a worker and the deployments on loopback (Ctrl-C stops them).
	@$(BIN)/east up

test: install  ## Run the default tests (under 15 minutes on 2 cores).
	$(BIN)/python -m pytest

test-slow: install  ## Run the slow tests: whole runs, the browser, real S3 servers (TESTS=one/file.py).
	$(BIN)/python -m pytest -m slow $(TESTS)

coverage: install  ## Measure what the unit tests of the method reach; it may not fall (pyproject.toml).
	$(BIN)/python -m pytest tests/east_core --cov --cov-report=term

lint: install  ## Check style, types and import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install  ## Build the manual into site/, strictly: dead links fail.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: install  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## Measure speed and memory as ratios: docs/benchmarks.md (about 25 minutes).
	$(BIN)/python -m benchmarks.run

answers: install  ## Grade 52,000 pairs of known truth: docs/answers.md (about 10 minutes).
	$(BIN)/python -m benchmarks.answers --out docs/answers.md

exactness: install  ## Prove the training weights: docs/exactness.md (a quarter of an hour).
	$(BIN)/python -m pytest -m exactness --write-pages tests/integration/test_exactness.py

faults: install  ## Disturb runs in every way: docs/reliability.md (goes on if stopped).
	$(BIN)/python -m pytest -m faults --write-pages tests/integration/faults

requirements:  ## Resolve pyproject.toml into requirements/*.txt, without download addresses.
	@# CUDA's torch comes from the index alone: a folder of wheels may hold the CPU's, without NCCL.
	@for extra in cpu gpu; do \
		if [ $$extra = gpu ]; then unset UV_FIND_LINKS; fi; \
		VIRTUAL_ENV=.venv $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url \
			--no-emit-find-links --extra $$extra --extra dev \
			--override requirements/overrides-$$extra.txt \
			--python-version 3.11 pyproject.toml -o requirements/$$extra.txt; \
		sed -i -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' requirements/$$extra.txt; \
	done

clean:  ## Remove .venv and caches (never .east, where your runs are).
	rm -rf .venv site .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
