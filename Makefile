# An index of what can be done here. Every target does its own set-up; all are quick the second time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := dev/alone dev/installed
SOURCES := api/src operator/src sandbox-runtime/src

.PHONY: help demo test check test-pure test-runtime soak test-integration test-e2e test-faults faults test-cluster cluster-up cluster-down \
        kubeconfig images install installable uninstall crds lock bench format clean venv

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## a real Kubernetes, Paddock on it, a session and what became of it (10 min the first time)
	@dev/demo.sh

test: check test-pure test-runtime test-integration test-e2e test-faults ## everything that CI runs (35 min the first time)
	@echo "make test: all passed"

check: venv ## formatting, lints, types, layers, generated files
	@dev/step "ruff" $(BIN)/ruff check . && dev/step "format" $(BIN)/ruff format --check .
	@dev/step "mypy" $(BIN)/mypy $(SOURCES)
	@dev/step "import layers" $(BIN)/lint-imports --no-logo
	@dev/step "generated files" $(BIN)/python dev/generate.py --check

test-pure: venv ## pure tests (a minute)
	@dev/step "pure tests" $(BIN)/pytest -q -n 2 tests --ignore=tests/runtime --ignore=tests/integration --ignore=tests/chart --ignore=tests/cluster

test-runtime: venv ## both programs of a sandbox as processes on this machine
	@dev/step "runtime tests" $(BIN)/pytest -q -n 3 --dist loadfile tests/runtime

soak: venv ## 20 000 mixed executions, and what they leave (3 min)
	@$(BIN)/python -m tests.runtime.soak

test-integration: venv ## tests against a real etcd and API server, and of the chart
	@python3 cluster build
	@dev/step "integration tests" $(BIN)/pytest -q tests/integration tests/chart

test-e2e: installable ## end to end on the cluster
	@$(INSTALLED) dev/step "end to end" $(BIN)/pytest -q e2e

test-faults: installable ## an operator behind a proxy that injects faults, judged by an observer (2 min)
	@$(INSTALLED) dev/step "faults" $(BIN)/pytest -q tests/faults/on_cluster.py

faults: installable ## every row of the fault matrix and a kill at every write; FAULTS="--minutes 60 --seed 7"
	@$(INSTALLED) $(BIN)/python -m tests.faults $(FAULTS)

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

install: installable ## Paddock on the local cluster, by Helm
	@$(INSTALLED) true

installable: venv cluster-up images

uninstall: ## remove Paddock from the local cluster; CRDs and sessions stay
	@dev/alone dev/uninstall.sh

crds: venv ## generate crds/, the chart's copy of them and docs/reference/
	@$(BIN)/python dev/generate.py

lock: venv ## pin requirements/*.in with hashes
	@dev/lock.sh

bench: installable ## measure; docs/performance.md says how to read it
	@$(INSTALLED) $(BIN)/python bench
	@$(INSTALLED) $(BIN)/python -m bench.runtime
	@$(BIN)/python -m bench.poison

format: venv ## format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

venv: ## the virtual environment, with hash-pinned packages
	@dev/venv.sh

clean: ## remove the virtual environment and build results of this checkout
	@rm -rf $(VENV) build
