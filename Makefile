# Everything sets itself up: Python 3.11 or later, pip and make are enough. uv is used when it is there.
# Choose another Python with `make PYTHON=/path/to/python test`; a fresh start is `make clean`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3)
BIN := .venv/bin
READY := .venv/.ready

# A virtual environment knows its own address: when the checkout was moved or copied, make it anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.PHONY: help setup demo test lint format types layers bench constraints manifests check clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile

setup: $(READY) ## make or refresh .venv; every other target does it by itself

demo: $(READY) ## run the whole job against a simulated brokerage on this machine
	@$(BIN)/reconcile demo
	@echo "Here the program is $(BIN)/reconcile, as long as it is not installed elsewhere."

test: $(READY) ## run the tests; `make test ARGS="-k guard"` passes arguments to pytest
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(READY) ## put style and formatting right, as far as a tool can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(READY) ## check types
	@$(BIN)/mypy

layers: $(READY) ## check who may import whom
	@$(BIN)/lint-imports

bench: $(READY) ## run what is claimed about speed; `make bench SIZES=1000000` for another size
	@$(BIN)/python benchmarks/run.py $(SIZES)

constraints: $(READY) ## pin anew what the image is made of, by hashes; needs uv
	@set -e; PATH="$$PATH:$(CURDIR)/$(BIN)"; \
	command -v uv >/dev/null || { echo "make constraints needs uv: pip install uv" >&2; exit 1; }; \
	compile() { uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header "$$@" >/dev/null; }; \
	compile --output-file constraints.txt pyproject.toml; \
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | compile --output-file constraints-build.txt -

manifests: $(READY) ## write jobs/kubernetes anew from crontab and jobs
	@$(BIN)/reconcile generate kubernetes --state env:STATE_URL --pushgateway http://pushgateway.monitoring.svc:9091 \
	  --shards 4 --output jobs/kubernetes --quiet

check: lint types layers test ## all of the above that can fail

clean: ## remove what was made
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find reconciler tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Debian splits ensurepip from Python; where it is missing, the pip outside installs into the environment.
$(READY): pyproject.toml
	@set -e; \
	for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	  echo "reconciler needs Python 3.11 or later; none of these is one: $(CANDIDATES). Install one, or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up .venv with $$python ($$("$$python" -c 'import platform; print(platform.python_version())')); the first time takes a minute or two ..." >&2; \
	if [ "$$(cat $(READY) 2>/dev/null)" != "$(CURDIR)" ]; then rm -rf .venv; fi; \
	if command -v uv >/dev/null 2>&1 \
	  && { [ -x $(BIN)/python ] || uv venv --quiet --python "$$python" .venv; } \
	  && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; then :; \
	else \
	  [ -x $(BIN)/python ] || "$$python" -m venv .venv >/dev/null 2>&1 || "$$python" -m venv --clear --without-pip .venv; \
	  if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; else pip="$$python -m pip --python $(BIN)/python"; fi; \
	  $$pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi; \
	printf '%s\n' "$(CURDIR)" > $(READY)
