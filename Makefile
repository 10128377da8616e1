# Run from this folder, or from anywhere with make -C FOLDER.

# The user's own settings of Ansible, Python and pytest shall not decide how a run here ends.
unexport $(filter ALTBACKUP_% ANSIBLE_% PYTEST_% MOLECULE_%,$(.VARIABLES)) PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONPYCACHEPREFIX := $(CURDIR)/var/pycache

BIN := .venv/bin
LINT := .venv-lint/bin
SANITY := .venv-sanity/bin
IMPORTER := .venv-importer/bin
SHELL_SCRIPTS = $(shell grep -rIlE -m1 '^\#!.*[/ ](ba|da)?sh$$' bin roles tools tests .ci)
# Tests of limits wait for them. Neighbours share what their file or folder makes once, so a worker takes them together.
UNIT_WORKERS := 5 --dist worksteal
# Runs of playbooks often wait; the tests of a file share costly fixtures, and run on one worker.
WORKERS := 4 --dist loadfile --no-loadscope-reorder
# Two targets at a time, the output of each in one piece.
TWO := --jobs=2 --output-sync=target
YAML_FOLDERS = $(wildcard changelogs inventory meta playbooks roles tests)

.DEFAULT_GOAL := help
.PHONY: help demo test lint build clean distclean test-unit test-integration test-entry-point faults attacks least-privilege test-long simulation mail-matrix corruptions black-start \
	fixed-cost bench molecule page pictures sanity importer \
	environment-demo environment-lint environment-test environment-servers environment-bench environment-page environment-sanity environment-importer \
	byte-code lint-python lint-yaml lint-shell lint-ansible lint-changelog format

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

demo: environment-demo ## make real repositories below var/demo, back them up, damage a copy and see it found
	$(BIN)/python tools/demo.py

test: environment-test ## lint, then the tests; what continuous integration runs
	@$(MAKE) --no-print-directory $(TWO) lint-python molecule byte-code lint-yaml lint-shell lint-ansible lint-changelog
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-integration
	@echo 'make test: all passed'

byte-code:
	$(BIN)/python -m pytest -q -q --collect-only tests/unit tests/integration >/dev/null </dev/null

test-unit: ## only the unit and module tests (after one make test)
	$(BIN)/python -m pytest -n $(UNIT_WORKERS) -m 'not full' tests/unit </dev/null

test-integration: ## only the tests of whole playbooks and of the lab (after one make test)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not full' --ignore=tests/integration/mail --ignore=tests/integration/test_entry_point.py \
		tests/lab tests/integration tests/faults tests/attacks </dev/null

test-entry-point: environment-test ## the tests of bin/altbackup, real cron included; not part of make test
	$(BIN)/python -m pytest tests/integration/test_entry_point.py </dev/null

faults: environment-servers ## every fault of the fault suite, over the lab too, as a table; make test has a quick part of it
	$(BIN)/python -m pytest -n 3 --dist worksteal -k 'not quick' tests/faults </dev/null

attacks: environment-test ## every attempt of a local user, a source or a target that was taken over, as a table; root only; make test has a quick part of it
	$(BIN)/python -m pytest -n 2 --dist loadscope tests/attacks </dev/null

least-privilege: environment-test ## what root of a source with its key gets on a target, every attempt over real ssh, as a table; root only; a part of attacks
	$(BIN)/python -m pytest tests/attacks/test_least_privilege.py </dev/null

test-long: environment-servers ## the tests that take long, such as a week under writes and a disk alone; not part of make test
	$(BIN)/python -m pytest -n $(UNIT_WORKERS) -m full tests/unit </dev/null
	$(BIN)/python -m pytest -n 2 --dist loadfile -m full tests/integration </dev/null

simulation: environment-test ## histories of a year with all that goes wrong in one, judged by a plain model, and broken retentions; HISTORIES=N
	ALTBACKUP_HISTORIES=$(or $(HISTORIES),100) $(BIN)/python -m pytest -n 2 --dist worksteal tests/simulation </dev/null

mail-matrix: environment-test ## every way to fail, in every mood of the mail server, as a table; not part of make test
	$(BIN)/python -m pytest tests/integration/mail </dev/null

corruptions: environment-servers ## 200 seeded corruptions of tarballs on a target, each found by check or drill, as a table; not part of make test
	$(BIN)/python tests/faults/corruptions.py

black-start: environment-test ## restore.sh with busybox, tar, zstd and coreutils alone, seconds for each GB; root only, not part of make test
	$(BIN)/python tests/benchmarks/black_start.py

fixed-cost: environment-test ## an unchanged night over a ping of the same hosts, its calls and tasks; not part of make test
	$(BIN)/python tests/benchmarks/fixed_cost.py </dev/null

bench: environment-bench ## speed beside borg, restic and tools by hand, into var/bench; SIZE=small, PAIRS=N, ROWS="night dump", GB="0.1 1 8", HOSTS="1 50"
	$(BIN)/python tests/benchmarks/bench.py --size $(or $(SIZE),full) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(GB),--gigabytes $(GB)) $(if $(HOSTS),--hosts $(HOSTS)) </dev/null

molecule: environment-test ## the whole chain over ssh, from a source to two targets, in the lab
	@trap '$(BIN)/python -m tests.lab down --state var/molecule/lab.json' EXIT; trap 'exit 130' HUP INT TERM; \
	(cd tests && PATH="$(CURDIR)/$(BIN):$$PATH" MOLECULE_EPHEMERAL_DIRECTORY="$(CURDIR)/var/molecule/run" \
		molecule test --no-command-borders </dev/null)

page: environment-page ## the page of altbackup report in a real browser, and by axe-core's rules; its screenshots are in var/page; not part of make test
	$(BIN)/python -m pytest -s tests/page </dev/null

pictures: environment-demo ## draw the pictures of docs/retention.md anew, by the rules themselves
	$(BIN)/python tools/retention_picture.py

sanity: environment-sanity build ## ansible-test sanity on the collection as it is published
	$(SANITY)/python tools/sanity.py

importer: environment-importer build ## galaxy-importer on the tarball of make build
	$(IMPORTER)/python tools/importer.py

lint: environment-lint ## check style, types and documentation of everything
	@$(MAKE) --no-print-directory $(TWO) lint-python lint-yaml lint-shell lint-ansible lint-changelog
	@echo 'make lint: all passed'

lint-python:
	$(LINT)/ruff check
	$(LINT)/ruff format --check
	$(LINT)/mypy
	$(LINT)/vermin --config-file .vermin library plugins/module_utils
	$(LINT)/python tools/rooms.py

lint-yaml:
	$(LINT)/yamllint --strict *.yml .yamllint .ansible-lint $(YAML_FOLDERS)

lint-shell:
	$(LINT)/shellcheck $(SHELL_SCRIPTS)

lint-ansible:
	PATH="$(CURDIR)/$(LINT):$$PATH" $(LINT)/ansible-lint --offline </dev/null

lint-changelog:
	PATH="$(CURDIR)/$(LINT):$$PATH" $(LINT)/antsibull-changelog lint

format: environment-lint ## rewrite the Python files in the style that lint asks for
	$(LINT)/ruff check --fix
	$(LINT)/ruff format

build: environment-lint ## the publishable collection tarball, from what git tracks, in var/build
	$(LINT)/python tools/build.py

clean: ## remove what builds, lint and tests left (not the environments, nor var/demo)
	rm -rf var/build var/cache var/pycache .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path './.venv*' -prune -o -path ./var -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environments, too
	rm -rf .venv .venv-lint .venv-oldest .venv-sanity .venv-importer

environment-demo environment-lint environment-test environment-servers environment-bench environment-page environment-sanity environment-importer:
	@tools/bootstrap $(@:environment-%=%)
