# Every target works from any folder (make -C PATH) and installs what it needs first: Debian packages (as root), .venv, the
# Debian 14 root that Asterisk runs from where the distribution has none. Later runs find all of it in place.
HERE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
PYTHON := $(HERE)/.venv/bin/python
TESTS ?= tests
DEMO_ARGS ?=
NODES ?= 1
NODE ?= 1
DEBIAN ?= 14
.DEFAULT_GOAL := help

.PHONY: help demo lab lab-up lab-provision lab-call lab-shell lab-down test-lab test-lab-quick test-lab-full check-ansible test check bench bench-quick setup lock clean
help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(HERE)/Makefile

demo: setup ## five real telephone calls, one per caller language, interpreted both ways (DEMO_ARGS="--port-offset 100")
	@cd $(HERE) && exec .venv/bin/appliance demo $(DEMO_ARGS)

test: setup check ## style, types, layers, then all tests, real Asterisk and real calls included (TESTS=tests/unit: only those)
	@cd $(HERE) && exec $(PYTHON) -m pytest $(TESTS)

check: ## style, types, layers
	@$(HERE)/scripts/environment.sh dev
	cd $(HERE) && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports --no-logo

bench: setup ## figures of this machine as tables and build/bench/*.json, an hour or more, half of it a soak
	@cd $(HERE) && exec .venv/bin/appliance bench

bench-quick: setup ## the same with fewer and shorter measurements, at most 6 minutes
	@cd $(HERE) && exec .venv/bin/appliance bench --quick

lab: lab-up lab-provision lab-call ## a whole node from nothing, and a measured call through it (as root; NODES=1, DEBIAN=14)

lab-up: setup ## boot fresh servers: systemd-nspawn machines on a bridge, reached over SSH
	@cd $(HERE) && exec $(PYTHON) -m lab up --nodes $(NODES) --debian $(DEBIAN)

lab-provision: ## site.yml on them (PLAY_ARGS="--tags base --check")
	@cd $(HERE) && exec $(PYTHON) -m lab provision -- $(PLAY_ARGS)

lab-call: ## a measured call from the trunk's network to an agent's telephone (CALL_ARGS="--language hi")
	@cd $(HERE) && exec $(PYTHON) -m lab call -- $(CALL_ARGS)

lab-shell: ## a root shell on node NODE=1
	@cd $(HERE) && exec $(PYTHON) -m lab shell --node $(NODE)

lab-down: ## stop and remove machines, networks and what they wrote
	@cd $(HERE) && exec $(PYTHON) -m lab down

test-lab: setup ## the whole life of a Debian 14 node: install, accept, change nothing, fail, upgrade, go back, uninstall (25 minutes)
	@$(HERE)/scripts/environment.sh dev
	@cd $(HERE) && SETU_LAB=1 exec $(PYTHON) -m pytest tests/lab

test-lab-quick: setup ## a wrong machine refused, a node installed and accepted, a second run and --check that change nothing (8 minutes)
	@$(HERE)/scripts/environment.sh dev
	@cd $(HERE) && SETU_LAB=quick exec $(PYTHON) -m pytest tests/lab

test-lab-full: setup ## as test-lab, and a Debian 13 node with Asterisk built from source (20 minutes more, 12 of them once)
	@$(HERE)/scripts/environment.sh dev
	@cd $(HERE) && SETU_LAB=full exec $(PYTHON) -m pytest tests/lab

check-ansible: ## ansible-lint, profile production
	@cd $(HERE) && exec $(PYTHON) -m lab lint

setup: ## everything the other targets need, and nothing else
	@$(HERE)/scripts/environment.sh run
	@cd $(HERE) && $(PYTHON) -m appliance.stack.install

lock: ## the lock files from pyproject.toml (needs uv)
	@$(HERE)/scripts/lock.sh

clean: ## removes what was made here; the Debian 14 root stays in its cache folder
	cd $(HERE) && rm -rf build .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	cd $(HERE) && find appliance tests -name __pycache__ -type d -prune -exec rm -rf {} +
