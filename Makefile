# SPDX-License-Identifier: Apache-2.0

VENV := .venv
PYTHON := $(VENV)/bin/python
C_SOURCES = $(shell find bpf agent/falco_py -name '*.[ch]')
# What the tests send alerts and metrics to, and certificates with.
TEST_PACKAGES := rsyslog jq curl openssl prometheus prometheus-alertmanager

.DEFAULT_GOAL := help
.PHONY: help setup run test check format docs bench fuzz deb tarball wheel pins e2e clean

help: ## show this list
	@echo "falco-py: Falco rules on the events of this machine's kernel."
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing (as root, with apt), make .venv, build the BPF objects
	@sh scripts/setup.sh

run: setup ## watch this machine with the rules in rules/falco_rules.yaml; Ctrl-C ends it
	@sh scripts/run.sh

test: setup ## run all tests; as root with eBPF this includes the live ones
	@sh scripts/setup.sh packages $(TEST_PACKAGES)
	@$(PYTHON) -m pytest $(PYTEST_ARGS)

check: setup ## format, lint, types, layers
	@sh scripts/check.sh

format: setup ## put the sources into the house's form
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format .
	@clang-format --style=file:bpf/.clang-format -i $(C_SOURCES)

docs: setup ## write the pages of docs/ that are made from the code
	@cd agent && ../$(PYTHON) -m pages

bench: setup ## measure the agent's own cost, as root (BENCH_ARGS=--quick: in a minute)
	@cd agent && ../$(PYTHON) -m benchmarks $(BENCH_ARGS)
	@cd agent && ../$(PYTHON) -m benchmarks.match ../rules/falco_rules.yaml
	@cd agent && ../$(PYTHON) -m benchmarks.measure ../rules/falco_rules.yaml

fuzz: setup ## feed damaged rules to the loader for a minute
	@cd agent && ../$(PYTHON) -m fuzz

deb: setup ## pack dist/falco-py_VERSION_amd64.deb for this distribution's Python
	@sh scripts/pack.sh deb

tarball: setup ## pack the same files as dist/falco-py-VERSION-linux-amd64.tar.gz, with install.sh
	@sh scripts/pack.sh tarball

wheel: setup ## pack the agent alone for pip as dist/falco_py-VERSION-*.whl
	@sh scripts/pack.sh wheel

pins: setup ## take the newest versions of the Python packages that deb and tarball carry
	@$(PYTHON) scripts/tree.py --pin

e2e: setup ## install, use and remove the host service on a machine booted with systemd, as root
	@sh scripts/pack.sh deb tarball wheel
	@sh scripts/setup.sh packages debootstrap podman
	@$(PYTHON) -m pytest e2e/host $(PYTEST_ARGS)

clean: ## remove what was built, and .venv
	@rm -rf $(VENV) build dist agent/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find agent -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f agent/falco_py/*/_*.so
	@if [ -f bpf/Makefile ]; then $(MAKE) --no-print-directory -C bpf clean; fi
