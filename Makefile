# SPDX-License-Identifier: Apache-2.0

VENV := .venv
PYTHON := $(VENV)/bin/python
C_SOURCES = $(shell find bpf agent/falco_py -name '*.[ch]')
# What the tests send alerts and metrics to, and certificates with; what they make containers with.
TEST_PACKAGES := rsyslog jq curl openssl prometheus prometheus-alertmanager podman containerd
# What builds and boots a machine, and builds and runs the image.
MACHINE_PACKAGES := debootstrap podman containerd
# A Kubernetes node, but for what e2e/cluster builds itself.
CLUSTER_PACKAGES := containerd runc containernetworking-plugins etcd-server iptables conntrack iproute2 openssl \
	busybox-static gcc libc6-dev

HELM = export FALCO_PY_HELM="$${FALCO_PY_HELM:-$$(command -v helm || echo "$$($(PYTHON) -m e2e.cluster build)/helm")}"

.DEFAULT_GOAL := help
.PHONY: help setup run test test-packaged check format docs bench fuzz deb tarball wheel image pins chart-check \
	e2e e2e-host e2e-image e2e-kubernetes e2e-cluster e2e-programs cluster clean

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

test-packaged: setup ## test what reads rules, settings and the API's answers with the Python of deb and image
	@sh scripts/setup.sh packages python3-dev python3-venv
	@/usr/bin/python3 -m venv build/python3
	@build/python3/bin/python -m pip --disable-pip-version-check --quiet install --retries 3 --editable '.[dev]' </dev/null
	@build/python3/bin/python -m pytest -m "not live" agent/tests/rules agent/tests/config agent/tests/kube $(PYTEST_ARGS)

check: setup ## format, lint, types, layers, and the chart's generated parts
	@sh scripts/check.sh

format: setup ## put the sources into the house's form
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format .
	@clang-format --style=file:bpf/.clang-format -i $(C_SOURCES)

docs: setup ## write the pages of docs/ that are made from the code, and what is made from the chart's values
	@cd agent && ../$(PYTHON) -m pages
	@$(PYTHON) charts/values_page.py

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
	@$(HELM) && $(PYTHON) -m pytest charts/tests $(PYTEST_ARGS)

# Two runs of pytest: the machine of the first is gone before the cluster comes. The second one builds the image once.
e2e: setup ## as root: host service, image, chart and Kubernetes for real (the first time 35 minutes)
	@failed=; $(MAKE) --no-print-directory e2e-host || failed=1; \
		$(MAKE) --no-print-directory e2e-cluster && [ -z "$$failed" ]

e2e-host: setup ## as root: install, use and remove the host service on a machine booted with systemd
	@sh scripts/setup.sh packages $(MACHINE_PACKAGES)
	@sh scripts/pack.sh deb tarball wheel
	@$(PYTHON) -m pytest e2e/host $(PYTEST_ARGS)

e2e-image: setup ## as root: build the image and run it
	@sh scripts/setup.sh packages $(MACHINE_PACKAGES)
	@$(PYTHON) -m pytest e2e/image $(PYTEST_ARGS)

e2e-kubernetes: e2e-programs ## as root: the chart and the image on a Kubernetes cluster (the first time 20 minutes)
	@$(PYTHON) -m pytest e2e/kubernetes $(PYTEST_ARGS)

e2e-cluster: e2e-programs
	@sh scripts/setup.sh packages prometheus
	@$(HELM) && $(PYTHON) -m pytest charts/tests e2e/image e2e/kubernetes $(PYTEST_ARGS)

e2e-programs: setup
	@sh scripts/setup.sh packages $(MACHINE_PACKAGES) $(CLUSTER_PACKAGES)
	@PATH=$$PATH:/usr/local/go/bin command -v go >/dev/null || sh scripts/setup.sh packages golang-go
	@$(PYTHON) -m e2e.cluster build

cluster: e2e-programs ## start a Kubernetes cluster of one node and leave it running, as root (e2e/cluster/README.md)
	@$(PYTHON) -m e2e.cluster up

clean: ## remove what was built, and .venv
	@rm -rf $(VENV) build dist agent/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find agent -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f agent/falco_py/*/_*.so
	@if [ -f bpf/Makefile ]; then $(MAKE) --no-print-directory -C bpf clean; fi
