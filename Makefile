# SPDX-License-Identifier: Apache-2.0

VENV := .venv
PYTHON := $(VENV)/bin/python
C_SOURCES = $(shell find bpf agent/falco_py -name '*.[ch]')
# What the tests send alerts and metrics to, and certificates with; what they make containers with.
TEST_PACKAGES := rsyslog jq curl openssl prometheus prometheus-alertmanager podman containerd
# A Kubernetes node, but for what e2e/cluster builds itself.
CLUSTER_PACKAGES := containerd runc containernetworking-plugins etcd-server iptables conntrack iproute2 openssl \
	busybox-static gcc libc6-dev

.DEFAULT_GOAL := help
.PHONY: help setup run test check format docs bench fuzz deb tarball wheel image pins chart-check e2e e2e-kubernetes cluster clean

help: ## show this list
	@echo "falco-py: Falco rules on the events of this machine's kernel."
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

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

image: ## build the container image localhost/falco-py:VERSION with podman or docker (BASE=IMAGE: on another base)
	@sh scripts/image.sh $(ARCHIVE)

pins: setup ## take the newest versions of the Python packages that deb and tarball carry
	@$(PYTHON) scripts/tree.py --pin

chart-check: setup ## lint, render and test charts/falco-py, with the helm of PATH, FALCO_PY_HELM or e2e/cluster
	@sh scripts/setup.sh packages prometheus
	@FALCO_PY_HELM=$${FALCO_PY_HELM:-$$(command -v helm || echo "$$($(PYTHON) -m e2e.cluster build)/helm")} \
		$(PYTHON) -m pytest charts/tests $(PYTEST_ARGS)

e2e: setup ## as root: install, use and remove the host service on a machine booted with systemd
	@sh scripts/pack.sh deb tarball wheel
	@sh scripts/setup.sh packages debootstrap podman
	@$(PYTHON) -m pytest e2e/host $(PYTEST_ARGS)

e2e-kubernetes: setup ## as root: build the image and run it, and a Kubernetes cluster of one node (the first time 10 minutes)
	@sh scripts/setup.sh packages debootstrap podman $(CLUSTER_PACKAGES)
	@$(PYTHON) -m e2e.cluster build
	@$(PYTHON) -m pytest e2e/image e2e/kubernetes $(PYTEST_ARGS)

cluster: setup ## start a Kubernetes cluster of one node and leave it running, as root (e2e/cluster/README.md)
	@sh scripts/setup.sh packages $(CLUSTER_PACKAGES)
	@$(PYTHON) -m e2e.cluster up

clean: ## remove what was built, and .venv
	@rm -rf $(VENV) build dist agent/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find agent -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f agent/falco_py/*/_*.so
	@if [ -f bpf/Makefile ]; then $(MAKE) --no-print-directory -C bpf clean; fi
