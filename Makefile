# Two commands are all that a newcomer needs: `make demo` and `make test`. Each does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .reconciler/demo
READY := $(VENV)/ready

.PHONY: help demo test check check-long faults histories truth usage storm bench constraints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r target text; do \
	    printf '%-12s %s\n' "$$target" "$$text"; done

demo: $(READY) ## the whole idea in a minute: backfill, look ahead, apply, nothing left to do
	@rm -rf $(DEMO)
	@BIN=$(BIN) FOLDER=$(DEMO) sh k8s/samples/demo.sh

test: $(READY) ## all tests, on a Postgres that they start themselves
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST)

check: $(READY) ## lint, types, manifests, the Dockerfile, the cost of a pass
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.deployment.validate --allow-missing-kubectl
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m tests.proofs.bench --short

check-long: $(READY) ## what takes too long for `make test`: the tests marked long, and every proof for a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long $(PYTEST)
	TEST_EXAMPLES=100 $(BIN)/python -m pytest -q -n 2 tests/core/test_laws.py
	$(BIN)/python -m tests.proofs.truth --changes 20000
	$(BIN)/python -m tests.proofs.usage --months 300
	$(BIN)/python -m tests.proofs.faults --seed 1 --passes 60
	$(BIN)/python -m tests.proofs.faults --seed 1 --passes 60 --catch-up
	$(BIN)/python -m tests.proofs.storm --seed 1 --changes 3000 --lag 60

faults: $(READY) ## thousands of passes with faults injected, against the same passes without
	$(BIN)/python -m tests.proofs.faults $(FAULTS)

histories: $(READY) ## thousands of ledgers by random histories, in which verify finds nothing
	TEST_HISTORIES=$(or $(HISTORIES),4000) $(BIN)/python -m pytest -n 2 -m "long or not long" tests/ledger/test_verify_healthy.py

truth: $(READY) ## a simulated cluster whose true times are known, against the times in the ledger
	$(BIN)/python -m tests.proofs.truth $(TRUTH)

storm: $(READY) ## the watch in a storm of changes, with everything restarted, against the truth
	$(BIN)/python -m tests.proofs.storm $(STORM)

usage: $(READY) ## the usage functions against a slow, obvious reckoning; --measure tells how long they take
	$(BIN)/python -m tests.proofs.usage $(USAGE)

bench: $(READY) ## how fast it is, against what the wire and the disk allow
	$(BIN)/python -m tests.proofs.bench $(BENCH)

constraints: ## pin everything anew
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet pip-tools
	head -n 2 constraints.txt > .venv-constraints/constraints.txt
	.venv-constraints/bin/pip-compile --quiet --upgrade --extra dev --all-build-deps --generate-hashes \
	    --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
	    --no-emit-find-links --output-file .venv-constraints/pinned.txt pyproject.toml
	cat .venv-constraints/pinned.txt >> .venv-constraints/constraints.txt
	mv .venv-constraints/constraints.txt constraints.txt
	rm -rf .venv-constraints

clean: ## remove what the other commands made
	rm -rf $(VENV) .reconciler build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@
