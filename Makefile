.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON ?= python3
# uv trusts what the machine trusts, as pip does: a company's own CA, say
export UV_SYSTEM_CERTS := true
VENV := .venv
BIN := $(VENV)/bin
INNER := {{cookiecutter.project_slug}}
# the environment's tools, its uv first of all: services generated here are then set up in seconds
WITH_TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"
RUFF := RUFF_CACHE_DIR="$(CURDIR)/build/ruff" "$(CURDIR)/$(BIN)/ruff"

OWN := hooks tests tools $(patsubst %/,%,$(sort $(dir $(wildcard demo/*.py benchmarks/*.py))))
# hooks are templates: valid Python, but each is a program of its own without types
TYPED := $(filter-out hooks,$(OWN))
# what is copied as it stands, so it can be checked where it stands
PLATFORM := $(patsubst $(INNER)/%,%,$(wildcard $(addprefix $(INNER)/,src/secure_rpc tests/unit/secure_rpc tests/integration/secure_rpc tests/attack tests/scenarios tests/support)))
PROTOS := $(wildcard $(INNER)/proto/secure_rpc/*/*.proto)
TEST_PROTOS := $(wildcard $(INNER)/tests/proto/*/*/*.proto)
PROTOC := $(WITH_TOOLS) $(BIN)/python -m grpc_tools.protoc --descriptor_set_in=build/validate.binpb -I "$(INNER)/proto"

NAME ?=
OUT ?=
ANSWERS ?=
ARGS ?=
export NAME OUT

help: ## what make can do
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

# --- set-up ------------------------------------------------------------------------------------------------

setup: $(VENV)/.stamp ## environment in .venv, as requirements/dev.txt locks it

$(VENV)/.stamp: requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"$(PYTHON) is {sys.version.split()[0]}; 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setting up $(VENV)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing -p $(PYTHON) $(VENV) && uv pip sync -q --compile-bytecode --require-hashes --python $(BIN)/python requirements/dev.txt; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt; \
	fi
	@touch $@

build/validate.binpb: $(VENV)/.stamp
	@mkdir -p build
	@$(BIN)/python "$(INNER)/src/secure_rpc/proto_build.py" $@

build/platform.stamp: $(PROTOS) $(TEST_PROTOS) build/validate.binpb
	@$(PROTOC) --python_out="$(INNER)/src" --grpc_python_out="$(INNER)/src" --mypy_out=quiet:"$(INNER)/src" \
	  --mypy_grpc_out=quiet:"$(INNER)/src" $(patsubst $(INNER)/proto/%,%,$(PROTOS)) buf/validate/validate.proto
	@if [ -n "$(TEST_PROTOS)" ]; then \
	  $(PROTOC) -I "$(INNER)/tests/proto" --python_out="$(INNER)/tests" --grpc_python_out="$(INNER)/tests" \
	    --mypy_out=quiet:"$(INNER)/tests" --mypy_grpc_out=quiet:"$(INNER)/tests" $(patsubst $(INNER)/tests/proto/%,%,$(TEST_PROTOS)); \
	fi
	@touch $@

# --- use ---------------------------------------------------------------------------------------------------

bake: $(VENV)/.stamp ## generate a service: make bake NAME="Order Service" OUT=folder [ANSWERS="ci_provider=gitlab ..."]
	@$(BIN)/python tools/bake.py $(ANSWERS)

demo: $(VENV)/.stamp ## generate a service, start it, and call it as callers who may and who may not
	@$(WITH_TOOLS) $(BIN)/python demo/run.py $(ARGS)

bench: $(VENV)/.stamp ## measure what the documentation claims
	@$(WITH_TOOLS) $(BIN)/python -m benchmarks.run $(ARGS)

bench-pages: $(VENV)/.stamp ## make the pages of benchmarks and costs anew, of what is kept in benchmarks/results
	@$(BIN)/python -m benchmarks.page && $(BIN)/python -m benchmarks.cost_model

bench-check: $(VENV)/.stamp ## say which ratios have moved from benchmarks/baseline.json by more than the noise; minutes
	@$(WITH_TOOLS) $(BIN)/python -m benchmarks.check $(ARGS)

# --- documentation -----------------------------------------------------------------------------------------

MKDOCS := build/mkdocs
DIAGRAMS := build/diagrams
DOCS := $(VENV)/.stamp $(MKDOCS)/.stamp $(DIAGRAMS)/.stamp

$(MKDOCS)/.stamp: requirements/docs.txt
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing -p $(PYTHON) $(MKDOCS) && uv pip sync -q --compile-bytecode --require-hashes --python $(MKDOCS)/bin/python requirements/docs.txt; \
	else \
	  $(PYTHON) -m venv $(MKDOCS) && $(MKDOCS)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/docs.txt; \
	fi
	@touch $@

$(DIAGRAMS)/.stamp: $(addprefix tools/docs_site/,.npmrc package.json package-lock.json diagrams.mjs)
	@command -v npm >/dev/null 2>&1 || { echo "make docs needs node (20 or newer) and npm on PATH, and a browser: chromium"; exit 1; }
	@mkdir -p $(@D) && cp $^ $(@D) && cd $(@D) && npm ci --ignore-scripts --silent
	@touch $@

docs: $(DOCS) ## build the site of the documentation in build/site (needs node, npm and chromium)
	@$(BIN)/python -B -m tools.docs_site.build

docs-serve: docs ## show it on loopback: http://127.0.0.1:8000
	@exec $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

# --- check -------------------------------------------------------------------------------------------------

test: $(VENV)/.stamp ## all tests, those of generated services among them; a part: make test ARGS='-m "not slow"'
ifeq ($(strip $(ARGS)),)
	@$(WITH_TOOLS) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone"
	@$(WITH_TOOLS) $(BIN)/python -m pytest -m alone
else
	@$(WITH_TOOLS) $(BIN)/python -m pytest $(ARGS)
endif

lint: build/platform.stamp ## formatter, linters and types of this repository, and of the platform where it stands
	@$(RUFF) format --check -q $(OWN) && $(RUFF) check -q $(OWN)
	@$(BIN)/mypy $(TYPED)
	@cd "$(INNER)" && $(RUFF) format --check -q $(PLATFORM) && $(RUFF) check -q $(PLATFORM)
	@$(BIN)/mypy --config-file "$(INNER)/pyproject.toml" --cache-dir build/mypy-platform $(foreach part,$(PLATFORM),"$(INNER)/$(part)")

# --- keep --------------------------------------------------------------------------------------------------

wall: ## note the digests of the platform's files: after each change to one of them
	@$(PYTHON) -B "$(INNER)/src/secure_rpc/wall.py" write

observability: $(VENV)/.stamp ## build the alerts and dashboards of the template: after a change of what builds them
	@$(BIN)/python -B tools/observability.py

controls: $(VENV)/.stamp ## build the page of controls of the template: after a change of src/secure_rpc/controls
	@$(BIN)/python -B tools/controls.py

surface: ## build the page of public names of the template: after a change of one, or of src/secure_rpc/surface.py
	@PYTHONPATH="$(INNER)/src" $(PYTHON) -B -m secure_rpc.surface write

docs-pictures: $(VENV)/.stamp ## draw the dashboards for their page anew, from a live run: after a change of one (needs Prometheus)
	@$(WITH_TOOLS) $(BIN)/python -m pytest tests/test_observability.py -k pictures --docs-pictures

files: $(VENV)/.stamp ## note the list of generated files: after a file is added or removed
	@$(BIN)/python -m tests.generated_files write

fleet: $(VENV)/.stamp ## see all services at once: make fleet ARGS="--list file --fail-on drift"; docs/fleet.md
	@$(BIN)/python -B tools/fleet.py $(ARGS)

release: $(VENV)/.stamp ## tag the version that cookiecutter.json says, if it is ready: make release [ARGS=--check]; docs/updating.md
	@$(BIN)/python -B tools/release.py $(ARGS)

lock: ## resolve requirements/*.in anew, with hashes (needs uv)
	@command -v uv >/dev/null 2>&1 || { echo "make lock needs uv on PATH: pipx install uv"; exit 1; }
	@cd requirements && for set in dev docs meshes workflows; do \
	  uv pip compile -q --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url $$set.in -o $$set.txt || exit 1; \
	done

clean: ## remove all that can be made again
	@rm -rf $(VENV) build "$(INNER)/.ruff_cache"
	@find "$(INNER)" -name '*_pb2*' -delete
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: help setup bake demo bench bench-pages bench-check docs docs-serve test lint wall observability controls surface \
  docs-pictures files fleet release lock clean
