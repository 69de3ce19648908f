# The operator's verbs. `make` alone lists them. What takes more than a line is in scripts/.

PYTHON ?= python3
BIN := .venv/bin
export HTTPS_PORT HTTP_PORT SSH_PORT SUITE DATA HOST DIR INVENTORY

.DEFAULT_GOAL := help
.PHONY: help up down status logs shell token backup drill restore emergency-sheet backup-pull test test-fast test-long coverage bench lint format docs dashboards pins setup setup-oci

help: ## list the verbs
	@echo "Atlas: make VERB"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## bring Atlas up in a container here, or heal it (HTTPS_PORT= HTTP_PORT= SSH_PORT= SUITE=)
	@$(PYTHON) scripts/local.py up

down: ## remove the container, keep the data (DATA=delete: remove it too, and the backups)
	@$(PYTHON) scripts/local.py down

status: ## show what runs and what is wrong
	@$(PYTHON) scripts/local.py status

logs: ## show the machine's logs (ARGS="--help": more)
	@$(PYTHON) scripts/local.py logs $(ARGS)

shell: ## open a root shell on the machine
	@$(PYTHON) scripts/local.py shell

token: ## print a new API token
	@$(PYTHON) scripts/local.py token

backup: ## back up now (ARGS=list: what there is; ARGS="--help": more)
	@$(PYTHON) scripts/local.py backup $(ARGS)

drill: ## prove the backups: restore the newest on trial, start Atlas on it
	@$(PYTHON) scripts/local.py drill $(ARGS)

restore: ## bring a backup back: choose one, or ARGS="latest --only database", ARGS=--undo
	@$(PYTHON) scripts/local.py restore $(ARGS)

emergency-sheet: setup ## write what opens the backups, to print on paper (INVENTORY=production)
	@$(BIN)/ansible-playbook -i inventory/$(or $(INVENTORY),production) playbooks/emergency_sheet.yml

backup-pull: ## copy the machine's backups to this computer, weekly (HOST= DIR= INVENTORY=; ARGS=status)
	@$(PYTHON) scripts/backup_pull.py $(ARGS)

test: ## run everything: lint, unit tests, scenarios (ROLE=nginx: one scenario)
	@$(PYTHON) scripts/test.py all $(ROLE)

test-fast: setup ## run the linters and the quick tests, in under a minute
	@$(PYTHON) scripts/test.py fast

test-long: setup ## run what takes long: killed workers, bad days, alerts at full pace, Grafana
	@$(PYTHON) scripts/test.py long

coverage: setup ## measure which lines and branches of the app the tests reach
	@$(PYTHON) scripts/test.py coverage

bench: setup ## measure speed and size
	@$(BIN)/python -m tests.bench $(ARGS)

lint: setup ## run every linter and type checker
	@$(PYTHON) scripts/test.py lint

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix --quiet; $(BIN)/ruff format

docs: setup ## write docs/configuration.md from the argument specs
	@$(BIN)/python scripts/docs.py

dashboards: setup ## write the JSON of Grafana's dashboards from scripts/dashboards
	@$(BIN)/python scripts/dashboards

pins: setup ## resolve requirements/*.in anew into pinned, hashed *.txt
	@$(BIN)/python scripts/pins.py

setup: ## make .venv with the pinned tools
	@$(PYTHON) scripts/setup.py

setup-oci: ## add Oracle's SDK to .venv, for provisioning
	@$(PYTHON) scripts/setup.py oci
