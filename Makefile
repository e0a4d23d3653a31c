# make demo   text and images in one ranking, through LangChain and LlamaIndex on one vLLM engine; sets itself up
# make test   lint, types, tests without an engine, and those on the demo's, which they share; sets itself up
# make test-wide  the light job, and tests with an engine or a server of their own: models, servers, kills, bfloat16
# make test-models  every model of the table, and servers of it; an hour or more, for releases
# make test-fire  every row of docs/security.md and docs/reliability.md: hostile input, kills, forks, full disks
# make models  every model of the table against transformers, on the real vLLM; writes docs/models.md and docs/rerank.md
# make rehearsal  the published size in bfloat16 against transformers: 24 GiB of memory, 8 GB of disk, minutes; for releases
# make docs  the docs site in site/, in an environment of its own; fails on a warning or a dead link
# make bench  side by side with the alternatives; make bench-full writes docs/performance.md
# PYTHON names the interpreter to build the environments with: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
LIGHT := .venv-light
DOCS := .venv-docs
SITE ?= site
SETUP := $(PYTHON) scripts/setup.py
SOURCES := pyproject.toml scripts/setup.py scripts/torchvision_on_cpu.py

# Containers often set this; then every process of the tests compiles them and the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev setup-light setup-docs demo test test-light test-wide test-models test-fire test-matrix models docs bench bench-full rehearsal lint types lock clean

setup: $(VENV)/.setup-cpu
setup-dev: $(VENV)/.setup-dev
setup-light: $(LIGHT)/.setup-light
setup-docs: $(DOCS)/.setup-docs

$(VENV)/.setup-cpu: locks/cpu.txt $(SOURCES)
	@$(SETUP) $(VENV) locks/cpu.txt && touch $@

$(VENV)/.setup-dev: locks/dev.txt locks/cpu.txt $(SOURCES)
	@$(SETUP) $(VENV) locks/dev.txt && touch $(VENV)/.setup-cpu $@

$(LIGHT)/.setup-light: locks/light.txt $(SOURCES)
	@$(SETUP) $(LIGHT) locks/light.txt && touch $@

$(DOCS)/.setup-docs: locks/docs.txt scripts/setup.py pyproject.toml
	@$(SETUP) $(DOCS) locks/docs.txt && touch $@

demo: setup
	@$(VENV)/bin/vllm-jina-embed demo

# Two processes, each with one engine: most of a test run is waiting for engines that start.
test: lint types
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not wide and not models and not siege"

# Whatever needs an engine, a server or processes of its own: other models, servers, kills, long texts, bfloat16, layouts.
test-wide: setup-dev test-light
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "wide and not siege and not models"

# All further models of the table: as long as `make test` and `make test-wide` together.
test-models: setup-dev
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m models

# Attacks, accidents, and the longest proofs of a corpus and an image. Longer: FIRE="--requests 50000 --fuzz-seconds 600".
test-fire: setup-dev
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "fire or siege" $(FIRE)

# The package imports, its pure tests pass and a client of a server works with neither vllm nor torch nor a framework
# installed: the list shows it.
test-light: setup-light
	$(LIGHT)/bin/python -m pip list
	$(LIGHT)/bin/python -m pytest -n 2 tests/unit

lint: setup-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup-dev
	$(VENV)/bin/mypy

# Only the tests that record figures. Some files again, or those that failed: MODELS="--only jina_v3 bge" or "--resume".
models: setup-dev
	$(VENV)/bin/python -m benchmarks.models $(MODELS)
	$(VENV)/bin/python -m benchmarks.rankers

# Its theme announces its own end (May 2027) at every build, which is not a fault of a page.
docs: setup-docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict --site-dir $(abspath $(SITE))
	$(DOCS)/bin/python scripts/site_links.py $(SITE)

rehearsal: setup-dev
	$(VENV)/bin/python -m benchmarks.rehearsal

bench: setup-dev
	$(VENV)/bin/python -m benchmarks.run

bench-full: setup-dev
	$(VENV)/bin/python -m benchmarks.run --full

# The real tests with each vLLM and each of its model runners; hours.
test-matrix: setup-dev
	$(VENV)/bin/python scripts/matrix.py

lock:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python scripts/lock.py

clean:
	rm -rf $(VENV) $(LIGHT) $(DOCS) .venv-lock build dist site demo-output .mypy_cache .pytest_cache .ruff_cache
