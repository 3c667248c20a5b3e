# An index of what can be done here. Every target does its own set-up; all are quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv
BIN := $(VENV)/bin
SOURCES := api/src operator/src sandbox-runtime/src

.PHONY: help demo test check test-pure test-integration test-e2e test-faults faults test-cluster cluster-up cluster-down \
        kubeconfig images install uninstall crds lock bench format clean venv

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## a real Kubernetes, Paddock on it, a session and what became of it (10 min the first time)
	@dev/demo.sh

test: check test-pure test-integration test-e2e test-faults ## everything that CI runs (25 min the first time)
	@echo "make test: all passed"

check: venv ## formatting, lints, types, layers, generated files
	@dev/step "ruff" $(BIN)/ruff check . && dev/step "format" $(BIN)/ruff format --check .
	@dev/step "mypy" $(BIN)/mypy $(SOURCES)
	@dev/step "import layers" $(BIN)/lint-imports --no-logo
	@dev/step "crds are generated" $(BIN)/python dev/generate.py --check

test-pure: venv ## pure tests (a minute)
	@dev/step "pure tests" $(BIN)/pytest -q tests --ignore=tests/integration --ignore=tests/chart --ignore=tests/cluster

test-integration: venv ## tests against a real etcd and API server, and of the chart
	@python3 cluster build
	@dev/step "integration tests" $(BIN)/pytest -q tests/integration tests/chart

test-e2e: install ## end to end on the cluster
	@dev/step "end to end" env KUBECONFIG="$$(python3 cluster kubeconfig)" $(BIN)/pytest -q e2e

test-faults: install ## an operator behind a proxy that injects faults, judged by an observer (2 min)
	@dev/step "faults" env KUBECONFIG="$$(python3 cluster kubeconfig)" $(BIN)/pytest -q tests/faults/on_cluster.py

faults: install ## every row of the fault matrix and a kill at every write; FAULTS="--minutes 60 --seed 7"
	@env KUBECONFIG="$$(python3 cluster kubeconfig)" $(BIN)/python -m tests.faults $(FAULTS)

test-cluster: venv ## boots, breaks, repairs and removes clusters of its own (10 min; not part of test)
	@python3 cluster build
	@dev/step "cluster lifecycle" $(BIN)/pytest -q tests/cluster --timeout 900

cluster-up: ## boot the local cluster (7 min of building the first time, seconds later)
	@python3 cluster up

cluster-down: ## remove the cluster and all it left on the machine; builds are kept
	@python3 cluster down

kubeconfig: ## print the path of the cluster's kubeconfig (use make -s)
	@python3 cluster kubeconfig

images: ## build the operator and runtime images
	@python3 images build

install: venv cluster-up images ## Paddock on the local cluster, by Helm
	@dev/install.sh

uninstall: ## remove Paddock from the local cluster; CRDs and sessions stay
	@dev/uninstall.sh

crds: venv ## generate crds/ and the chart's copy of them
	@$(BIN)/python dev/generate.py

lock: venv ## pin requirements/*.in with hashes
	@dev/lock.sh

bench: install ## measure; docs/performance.md says how to read it
	@env KUBECONFIG="$$(python3 cluster kubeconfig)" $(BIN)/python bench
	@$(BIN)/python -m bench.poison

format: venv ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

venv: ## the virtual environment, with hash-pinned packages
	@dev/venv.sh

clean: ## remove the virtual environment and build results of this checkout
	@rm -rf $(VENV) build
