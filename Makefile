# Every target sets up what it needs in $(VENV) and does nothing twice. A comment that begins with ## is its line in
# `make help`. The tests need torch; on Linux a plain one carries CUDA: name another build with  make test TORCH=...

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
MODEL  ?= smollm2-135m
PORT   ?= 8080
BIN    := $(VENV)/bin
CPP    := $(wildcard native/*.h native/*.cpp native/tests/*.h native/tests/*.cpp)
PIP    := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo lab serve test test-fast test-native acceptance lint format bench clean

help: ## list the targets
	@echo "usage: make TARGET"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'
	@echo
	@echo "Everything is installed in $(VENV). Variables: PYTHON=$(PYTHON) TORCH=$(TORCH) MODEL=$(MODEL) PORT=$(PORT)"

demo: $(VENV)/.installed ## install, fetch a small model (98 MB), summarise examples/article.txt
	@echo "== fetching the model $(MODEL), unless it is here"
	@$(BIN)/nextword pull $(MODEL)
	@echo "== nextword summarize $(MODEL) examples/article.txt"
	@$(BIN)/nextword summarize $(MODEL) examples/article.txt
	@echo
	@echo "Next:  source $(VENV)/bin/activate"
	@echo "       nextword chat $(MODEL)"
	@echo "       nextword next $(MODEL) 'The sun rises in the' --temperature 0.7 --top-p 0.9"
	@echo "       nextword --help"
	@echo "       docs/tutorial/1-word-prediction.md explains what they do"

lab: $(VENV)/.installed-serve ## install, fetch a small model (98 MB), open the page that shows how it draws each token
	@$(BIN)/nextword pull $(MODEL)
	@$(BIN)/nextword lab $(MODEL) --port $(PORT)

serve: $(VENV)/.installed-serve ## install, fetch a small model (98 MB), answer requests over HTTP
	@$(BIN)/nextword pull $(MODEL)
	@$(BIN)/nextword serve $(MODEL) --port $(PORT)

# Two files of tests at a time. OpenMP's threads would spin while they wait, on cores that the other file's tests need.
test: lint test-native ## run linters and all tests; says which were the slowest
	@$(BIN)/nextword pull $(MODEL)
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --durations=25 --numprocesses=2 --dist=loadfile

test-fast: $(VENV)/.installed-dev ## run the tests that need no other library, no pretrained model and little time
	$(BIN)/python -m pytest -q -m "not slow and not peer and not model"

test-native: ## test the C++ core by itself: as released, under the sanitizers, and for aarch64 under emulation
	native/tests/run.sh build/native $(BIN)/python

acceptance: $(VENV)/.installed-dev ## run other projects' tests of servers against ours (fetches them first)
	$(BIN)/nextword pull smollm2-135m
	$(BIN)/python -m acceptance -q

lint: $(VENV)/.installed-dev ## check format, style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: $(VENV)/.installed-dev build/peers/.installed ## measure speed and memory beside other programs (compiles them first)
	$(BIN)/nextword pull $(MODEL)
	build/peers/bin/python -m benchmarks.inference --json benchmarks/results/inference.json --plot benchmarks/results/inference.svg
	build/peers/bin/python -m benchmarks.perplexity docs/engine.md --windows 2
	$(BIN)/python -m benchmarks.verification --model $(MODEL)
	$(BIN)/python -m benchmarks.busy_core
	build/peers/bin/python -m benchmarks.start_time
	$(BIN)/python -m benchmarks.select_token

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "nextword needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": name another with  make PYTHON=python3.12")'
	@echo "== making an environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml CMakeLists.txt $(wildcard native/*) | $(VENV)/bin/python
	@echo "== installing nextword and compiling its C++ core: about a minute"
	@$(PIP) --editable .
	@$(BIN)/nextword --version
	@touch $@

$(VENV)/.installed-serve: $(VENV)/.installed
	@$(PIP) --editable ".[serve]"
	@touch $@

# The same with what the tests need; it serves as the plain environment, too.
$(VENV)/.installed-dev: pyproject.toml CMakeLists.txt $(wildcard native/*) | $(VENV)/bin/python
	@echo "== installing nextword with what training and the tests need: several minutes"
	@$(PIP) --config-settings=cmake.define.NEXTWORD_WERROR=ON "$(TORCH)" --editable ".[train,dev]"
	@touch $@ $(VENV)/.installed

# Peers of the benchmarks; they are compiled, once, for this processor.
build/peers/.installed: benchmarks/peers/install.sh | $(VENV)/.installed-dev
	benchmarks/peers/install.sh $(VENV) build/peers
	@touch $@
