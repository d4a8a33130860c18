# make demo      shows the main job, in memory; BROKER=docker or BROKER=amqp://... on RabbitMQ
# make test      everything that must hold: lint, types, and all tests on a real RabbitMQ
# make test-full the same, and what takes long: each cell of the matrix, faults, a cluster, a soak
# make test-peers runs the tests of clients and frameworks, from their source packages, bare and with
#                mqctx, and compares them one by one; ONLY="kombu celery ..." for some of them
# make example   five processes, one request id through all of them, on RabbitMQ
# make bench     measures what it costs, beside doing without and the peers: docs/benchmarks.md;
#                takes some 12 minutes; QUICK=1 for two, ONLY=log,instructions,... for some of it
# make docs      builds the site of docs/ into site/
# make links     asks for each address outside that the site names
# make format    formats the code
# make dist      leaves a wheel and an sdist in dist/
# make audit     asks for known weaknesses of the versions in constraints.txt
# make lock      renews the versions in constraints.txt
#
# Each needs Python 3.11+ and a package index that pip reaches, and sets up what else it needs.
# PYTHON names the interpreter, VENV the folder of its virtual environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := python -m pip --quiet --quiet --disable-pip-version-check install
# The versions that were tested. pip knows the index that this machine uses.
TESTED := $(INSTALL) --constraint constraints.txt
LOWEST := $(VENV)-lowest
# Tests wait more than they work: for brokers, servers and workers. Each file stays in one process.
AT_ONCE := --numprocesses 4 --dist loadfile
IMAGES := MQCTX_TEST_IMAGE=$$(docker/prepare.sh) MQCTX_TEST_IMAGE_43=$$(docker/prepare.sh 4.3)
# The tests start a hundred Python processes; each would compile the package and its tests anew.
unexport PYTHONDONTWRITEBYTECODE
BROKER ?=
ONLY ?=
QUICK ?=

.PHONY: docs links demo example test lint types tests tests-lowest test-full test-peers broker broker-4.3 redis bench dist audit format lock clean
.DELETE_ON_ERROR:

ifeq ($(BROKER),docker)
demo: $(VENV)/.demo
	@docker/with-broker.sh $(BIN)/mqctx demo
else
demo: $(VENV)/.demo
	@$(BIN)/mqctx demo $(if $(BROKER),--broker '$(BROKER)')
endif

example: $(VENV)/.example
	@docker/with-broker.sh $(BIN)/python examples/orders/run.py

# Set up all that takes time before the first test at once.
test:
	@$(MAKE) --no-print-directory --jobs 3 $(VENV)/.dev $(LOWEST)/.dev broker
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target broker-4.3 lint types docs compiled
	@$(MAKE) --no-print-directory tests tests-lowest

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	@# As a user's type checker sees the package: from outside the source tree.
	cd $(VENV) && PATH="$(abspath $(BIN)):$$PATH" bin/pyright --verifytypes mqctx --ignoreexternal >verifytypes.log || { cat verifytypes.log; exit 1; }

# With the versions in constraints.txt. A broker or Redis that cannot be prepared here is no failure: the
# tests look for another, and fail if there is none.
tests: $(VENV)/.dev redis browser
	$(BIN)/coverage erase
	$(IMAGES) $(BIN)/coverage run -m pytest $(AT_ONCE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# The tests as pytest rewrites them: else each of the processes of a first run does it, for all files.
.PHONY: compiled
compiled: $(VENV)/.dev
	@$(BIN)/pytest --collect-only -qq >$(VENV)/collect.log || { cat $(VENV)/collect.log; exit 1; }

# Counts that are of the tested versions, and what stands on none of the lowest: a worker of Celery in
# the process of a test, taskiq-aio-pika, the browser.
NEWER := adapters/test_hot_path_of_edges.py integration/test_journeys_truth.py integration/test_runs.py unit/pages

# The wheel as users install it, with the lowest versions of the clients that pyproject.toml allows.
# On one broker: what differs between brokers differs for each version of a client alike.
tests-lowest: $(LOWEST)/.dev dist redis
	@$(LOWEST)/bin/$(INSTALL) --no-deps --force-reinstall dist/*.whl
	$(IMAGES) $(LOWEST)/bin/pytest -q $(AT_ONCE) -k 'not 4.3' $(addprefix --ignore tests/,$(NEWER)) tests/unit tests/adapters tests/http_clients tests/integration $(addprefix tests/opentelemetry/test_,$(addsuffix .py,propagator runtime baggage spans trace_context))

# What must keep up with a load, or answer within seconds: it has the machine to itself.
UNDISTURBED := $(addprefix tests/integration/test_,inspect_many.py journeys_truth.py trace_load.py)

# Everything that takes long too: each cell of the conformance matrix, the cluster, the soak.
test-full: $(VENV)/.full broker broker-4.3 redis browser
	$(IMAGES) $(BIN)/pytest -m 'full or not full' --numprocesses 2 --dist loadfile $(addprefix --ignore=,$(UNDISTURBED))
	$(IMAGES) $(BIN)/pytest -m 'full or not full' $(UNDISTURBED)

test-peers: $(VENV)-peers/.ready
	@docker/with-broker.sh $(VENV)-peers/bin/python tools/peers $(ONLY)

# A broker that cannot be prepared here is no failure: see `tests`. One after another, as each may
# install.
broker: browser
	@docker/prepare.sh >/dev/null || true

# The second, whose differences from the first matter to some tests.
broker-4.3:
	@docker/prepare.sh 4.3 >/dev/null || true

# Installs redis-server, which the tests start for themselves, where it is missing and can be had.
redis:
	@[ -n "$$MQCTX_TEST_REDIS_URL" ] || command -v redis-server >/dev/null || [ "$$(id -u)" -ne 0 ] || \
		{ timeout 300 apt-get update -qq; DEBIAN_FRONTEND=noninteractive timeout 600 \
		apt-get install -qq --no-install-recommends redis-server; } || true

# Installs Chromium, in which the tests open the pages, where it is missing and can be had.
.PHONY: browser
browser: redis
	@{ command -v chromium && command -v chromedriver; } >/dev/null || [ "$$(id -u)" -ne 0 ] || \
		{ timeout 300 apt-get update -qq; DEBIAN_FRONTEND=noninteractive timeout 600 \
		apt-get install -qq --no-install-recommends chromium chromium-driver; } || true

# The broker has the last CPU, the client whose throughput counts the first, if there are two.
bench: ALONE = $(shell [ "$$(nproc)" -gt 1 ] && echo "$$(($$(nproc) - 1))")
# Without valgrind, the counts of instructions are left out, and the output says so.
bench: $(VENV)/.bench
	@command -v valgrind >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends valgrind; } || true
	$(if $(ALONE),MQCTX_BROKER_CPUS=$(ALONE)) docker/with-broker.sh $(BIN)/python -m benchmarks $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick)

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --fresh-env --quiet docs site
	@echo "The site is in site/index.html"

# Asks for each address outside that the site names; needs the network.
links: $(VENV)/.dev
	$(BIN)/python -m sphinx --builder linkcheck --keep-going --quiet docs $(VENV)/links

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Builds the wheel from the sdist, so that both are known to be whole.
dist: $(VENV)/.release
	@rm -rf dist
	@$(BIN)/python -m build >$(VENV)/dist.log 2>&1 || { cat $(VENV)/dist.log; exit 1; }
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist

audit: $(VENV)/.release
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# Renews the versions in constraints.txt, for every Python and platform.
lock: $(VENV)/.uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --all-extras $(addprefix --group pyproject.toml:,dev bench full mutation release) --no-annotate --no-header --no-emit-index-url --output-file constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) $(LOWEST) $(VENV)-peers

# --group needs pip 25.1.
$(VENV)/.pip:
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mqctx needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/$(TESTED) 'pip>=25.1'
	@touch $@

$(VENV)/.demo: constraints.txt pyproject.toml | $(VENV)/.pip
	@$(BIN)/$(TESTED) --editable '.[cli]'
	@touch $@

$(VENV)/.example: constraints.txt pyproject.toml | $(VENV)/.pip
	@$(BIN)/$(TESTED) --group example --editable '.[aio-pika,celery,cli,httpx,kombu,pika]'
	@touch $@

$(VENV)/.dev: constraints.txt pyproject.toml | $(VENV)/.pip
	@echo "Installing what the tests need ..."
	@$(BIN)/$(TESTED) --group dev --editable '.[all]'
	@touch $@

$(VENV)/.full: $(VENV)/.dev
	@$(BIN)/$(TESTED) --group full
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/$(TESTED) --group bench
	@touch $@

$(VENV)/.release: $(VENV)/.dev
	@$(BIN)/$(TESTED) --group release
	@touch $@

$(VENV)/.uv: | $(VENV)/.pip
	@$(BIN)/$(INSTALL) 'uv>=0.9'
	@touch $@

# With the tested versions of all that mqctx knows, and with what the others' tests need.
$(VENV)-peers/.ready: constraints.txt pyproject.toml tools/peers/requirements.txt
	@echo "Setting up $(VENV)-peers ..."
	@$(PYTHON) -m venv $(VENV)-peers
	@$(VENV)-peers/bin/$(TESTED) 'pip>=25.1'
	@$(VENV)-peers/bin/$(TESTED) --group dev --requirement tools/peers/requirements.txt --editable '.[all]'
	@touch $@

# The tests' own libraries as tested, then the lowest versions of what mqctx knows.
$(LOWEST)/.dev: constraints.txt pyproject.toml tools/lowest.py
	@echo "Setting up $(LOWEST) ..."
	@$(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/$(TESTED) 'pip>=25.1'
	@$(LOWEST)/bin/$(TESTED) --group test
	@$(LOWEST)/bin/python tools/lowest.py > $@.txt
	@echo redis==5.0 >> $@.txt
	@$(LOWEST)/bin/$(INSTALL) --requirement $@.txt
	@touch $@
