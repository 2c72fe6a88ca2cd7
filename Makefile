# Needs Python 3.11 or later, make and git. Everything else goes into .venv and .local of this checkout.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# Test processes: much of the suite waits for other processes.
JOBS := 4
# Compiled once, not in every one of them, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install run token psql migrate test test-clients test-stack test-deploy check docs pictures bench .clients .machine

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What production runs, and on top of it what development needs.
.venv/.installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed (make PYTHON=/path/to/python3)" >&2; exit 1; }
	@echo "setting up .venv with $(PYTHON)" >&2
	@$(PYTHON) -m venv .venv >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt >&2
	@touch $@

.venv/.ready: .venv/.installed requirements-dev.txt
	@echo "adding what development needs" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt >&2
	@touch $@

install: .venv/.installed ## Set up .venv with what production runs, and nothing else

run: .venv/.ready ## Serve the local stack on PORT (8000): Postgres, a demo agency, gunicorn
	@$(BIN)/python -m service.local.stack run

token: .venv/.ready ## Print a fresh token of the demo user
	@$(BIN)/python -m service.local.stack token

psql: .venv/.ready ## Look into the local stack's database while it runs
	@$(BIN)/python -m service.local.stack psql

test-clients: .clients ## Use the page in Chromium; call the service with supabase-js in Node and Chromium, and with curl
	@$(BIN)/pytest tests/clients

pictures: .clients ## Take the pictures of the page anew
	@$(BIN)/python -m docs.take_pictures

.clients: .venv/.ready
	@missing=; \
	node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' 2>/dev/null || missing="$$missing node(20+)"; \
	for tool in npm curl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	{ command -v chromium || command -v chromium-browser || command -v google-chrome || \
		command -v google-chrome-stable; } >/dev/null || missing="$$missing chromium"; \
	test -z "$$missing" || { echo "needed and not found here:$$missing" >&2; exit 1; }
	@cd tests/clients && npm ci --prefer-offline --no-audit --no-fund --loglevel=error

test-stack: .venv/.ready ## Bring docker-compose.yml up and kill its parts (needs Docker; about 8 minutes)
	@$(BIN)/pytest tests/stack

test-deploy: .machine .venv/.ready ## Follow docs/operate.md on a Debian of its own (as root; about 3 minutes)
	@flock --verbose /run/lock/historical-sync-test-deploy $(BIN)/pytest tests/deploy

# Two machines at once would share their control groups, and end each other's services: hence the lock.
.machine:
	@missing=; for tool in debootstrap systemd-nspawn unshare setpriv nsenter flock ip git; do \
		command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	test "$$(id -u)" = 0 || missing="$$missing root"; \
	test -z "$$missing" || { echo "what is missing here is needed:$$missing" \
		"(apt-get install debootstrap systemd-container util-linux iproute2 git)" >&2; exit 1; }

migrate: .venv/.installed ## Apply the migrations to DATABASE_URL
	@$(BIN)/python -m service.migrate

test: .venv/.ready ## Run the tests on a real Postgres (TEST_DATABASE_URL, testcontainers or embedded)
	@$(BIN)/pytest -n $(JOBS)

check: .venv/.ready ## What CI runs: lint, format, types, import contracts, tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n $(JOBS)

docs: .venv/.ready ## Write what docs/ and .env.example take from the code
	@$(BIN)/python -m docs.make

bench: .venv/.ready bench/.venv/.ready ## Run the benchmarks (about 20 minutes; requests need wrk, h2load and pgbench)
	@$(BIN)/python -m bench.web
	@$(BIN)/python -m bench.growth
	@$(BIN)/python -m bench.process

# The peers of the web service, which it does not know.
bench/.venv/.ready: bench/peers/requirements.txt
	@$(PYTHON) -m venv bench/.venv
	@bench/.venv/bin/pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
	@touch $@
