# What people do with a checkout. Everything that is missing is set up on the way, in .venv.

SHELL := /bin/bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo check test newest constraints lint docs bench clean tell

help: ## this list
	@echo "notifyd: decide system calls with Python rules"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20

demo: .venv/.ready ## a plugin without network, and an unprivileged web server on port 80 (best as root)
	@$(BIN)/python docs/demo/demo.py

check: lint ## lint, types and unit tests: a minute, as any user, with nothing but pip
	$(BIN)/python tests/parts.py -q -m unit

test: tell .venv/.ready .venv/.tools lint ## all checks, then all tests: a quarter of an hour (as root, or those for root are skipped)
	$(BIN)/python tests/parts.py

newest: .venv/.ready .venv/.tools ## all tests and checks with the newest release of every package
	@.ci/prepare newest
	$(BIN)/python tests/parts.py
	$(CHECKS)

constraints: ## keep the releases that .venv has now, for everybody (after a green `make newest`)
	@.ci/prepare constraints

lint: .venv/.ready ## ruff, mypy --strict, and which package may import which
	$(CHECKS)

docs: .venv/.ready ## write docs/reference anew from the code's own tables
	$(BIN)/python docs/generate.py

bench: .venv/.ready ## what a call costs, as ratios to a supervisor written in C (needs a C compiler)
	@.ci/prepare compiler
	$(BIN)/python tests/bench

clean: ## remove .venv and all that tools left
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

define CHECKS
$(BIN)/ruff check .
$(BIN)/ruff format --check .
$(BIN)/mypy
$(BIN)/lint-imports --no-cache
endef

tell:
	@.ci/prepare tell

# The stamps: nothing is done twice. The second one is made by what it calls, if nothing is missing.

.venv/.ready: pyproject.toml .ci/prepare .ci/constraints.txt
	@.ci/prepare venv
	@touch $@

.venv/.tools: .ci/prepare | .venv/.ready
	@.ci/prepare tools
