# make demo      shows the main job, in memory; BROKER=docker or BROKER=amqp://... on RabbitMQ
# make test      everything that must hold: lint, types, and all tests on a real RabbitMQ
# make test-full the same, and what takes long: each cell of the matrix, faults, a cluster, a soak
# make test-peers runs the tests of clients and frameworks, from their source packages, bare and with
#                mqctx, and compares them one by one; ONLY="kombu celery ..." for some of them
# make example   five processes, one request id through all of them, on RabbitMQ
# make bench     measures what it costs, beside doing without and the peers: docs/benchmarks.md;
#                takes some 12 minutes; QUICK=1 for two, ONLY=log,instructions,... for some of it
# make format    formats the code
# make lock      renews the versions in uv.lock
#
# Each needs Python 3.11+ and a package index that pip reaches, and sets up what else it needs.
# PYTHON names the interpreter, VENV the folder of its virtual environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
LOWEST := $(VENV)-lowest
# Tests wait more than they work: for brokers, servers and workers. Each file stays in one process.
AT_ONCE := --numprocesses 4 --dist loadfile
IMAGES := MQCTX_TEST_IMAGE=$$(docker/prepare.sh) MQCTX_TEST_IMAGE_43=$$(docker/prepare.sh 4.3)
BROKER ?=
ONLY ?=
QUICK ?=

.PHONY: demo example test lint types tests tests-lowest test-full test-peers broker broker-4.3 redis bench format lock clean
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

# What takes time before the first test is set up at the same time.
test:
	@$(MAKE) --no-print-directory --jobs 3 $(VENV)/.dev $(LOWEST)/.dev broker
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target broker-4.3 lint types
	@$(MAKE) --no-print-directory tests tests-lowest

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# With the versions in uv.lock. What cannot be prepared here is no failure: the tests look for
# another broker or Redis, and fail where there is none.
tests: $(VENV)/.dev redis
	$(BIN)/coverage erase
	$(IMAGES) $(BIN)/coverage run -m pytest $(AT_ONCE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# With the lowest versions of the clients that pyproject.toml allows.
tests-lowest: $(LOWEST)/.dev redis
	$(IMAGES) $(LOWEST)/bin/pytest -q $(AT_ONCE) tests/unit tests/adapters tests/http_clients tests/integration $(addprefix tests/opentelemetry/test_,$(addsuffix .py,propagator runtime baggage spans trace_context))

# Everything that takes long too: each cell of the conformance matrix, the cluster, the soak.
test-full: $(VENV)/.full redis
	$(IMAGES) $(BIN)/pytest -m 'full or not full'

test-peers: $(VENV)-peers/.ready
	@docker/with-broker.sh $(VENV)-peers/bin/python tools/peers $(ONLY)

# What cannot be prepared here is no failure: see `tests`. After Redis, as both may install.
broker: redis
	@docker/prepare.sh >/dev/null || true

# The second, whose differences from the first matter to some tests.
broker-4.3:
	@docker/prepare.sh 4.3 >/dev/null || true

# Installs redis-server, which the tests start for themselves, where it is missing and can be had.
redis:
	@[ -n "$$MQCTX_TEST_REDIS_URL" ] || command -v redis-server >/dev/null || [ "$$(id -u)" -ne 0 ] || \
		{ timeout 300 apt-get update -qq; DEBIAN_FRONTEND=noninteractive timeout 600 \
		apt-get install -qq --no-install-recommends redis-server; } || true

# The broker has the last CPU, the client whose throughput counts the first, if there are two.
bench: ALONE = $(shell [ "$$(nproc)" -gt 1 ] && echo "$$(($$(nproc) - 1))")
# Where valgrind cannot be had, the counts of instructions are left out with a word.
bench: $(VENV)/.bench
	@command -v valgrind >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends valgrind; } || true
	$(if $(ALONE),MQCTX_BROKER_CPUS=$(ALONE)) docker/with-broker.sh $(BIN)/python -m benchmarks $(if $(ONLY),--only '$(ONLY)') $(if $(QUICK),--quick)

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Renews the versions in uv.lock.
lock: $(VENV)/.uv
	PATH="$(BIN):$$PATH" $(BIN)/python tools/lock.py --upgrade

clean:
	rm -rf $(VENV) $(LOWEST) $(VENV)-peers

# uv reads the lock; pip installs, because it knows the index that this machine uses.
$(VENV)/.uv:
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mqctx needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install 'uv>=0.9'
	@touch $@

$(VENV)/.demo: uv.lock pyproject.toml | $(VENV)/.uv
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --no-dev --extra cli --output-file $@.txt
	@$(PIP) install --requirement $@.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.example: uv.lock pyproject.toml | $(VENV)/.uv
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --no-dev --group example --extra aio-pika --extra celery --extra httpx --extra kombu --extra pika --output-file $@.txt
	@$(PIP) install --requirement $@.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.dev: uv.lock pyproject.toml | $(VENV)/.uv
	@echo "Installing what the tests need ..."
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --group dev --all-extras --output-file $@.txt
	@$(PIP) install --requirement $@.txt
	@$(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/.full: $(VENV)/.dev
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --only-group full --output-file $@.txt
	@$(PIP) install --requirement $@.txt
	@touch $@

# With the versions in uv.lock of all that mqctx knows, and with what the others' tests need.
$(VENV)-peers/.ready: uv.lock pyproject.toml tools/peers/requirements.txt | $(VENV)/.uv
	@echo "Setting up $(VENV)-peers ..."
	@$(PYTHON) -m venv $(VENV)-peers
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --group dev --all-extras --output-file $@.txt
	@$(VENV)-peers/bin/python -m pip --quiet --quiet --disable-pip-version-check install --requirement $@.txt --requirement tools/peers/requirements.txt
	@$(VENV)-peers/bin/python -m pip --quiet --quiet --disable-pip-version-check install --no-deps --editable .
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --only-group bench --output-file $@.txt
	@$(PIP) install --requirement $@.txt
	@touch $@

$(LOWEST)/.dev: uv.lock pyproject.toml | $(VENV)/.uv
	@echo "Setting up $(LOWEST) ..."
	@$(PYTHON) -m venv $(LOWEST)
	@$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --no-annotate --no-header --only-group test | $(BIN)/python tools/lowest.py > $@.txt
	@echo redis==5.0 >> $@.txt
	@$(LOWEST)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --requirement $@.txt
	@$(LOWEST)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --no-deps --editable .
	@touch $@
