# Every target sets up what it needs in $(VENV) and does nothing twice.
# The tests need torch; on Linux a plain one carries CUDA: name another build with  make test TORCH=<pip requirement>.

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch==2.13.0
MODEL  ?= smollm2-135m
BIN    := $(VENV)/bin
CPP    := $(wildcard native/*.h native/*.cpp native/tests/*.h native/tests/*.cpp)

.PHONY: demo test test-native lint format bench clean

demo: $(VENV)/.installed
	@$(BIN)/nextword pull $(MODEL)
	@$(BIN)/nextword summarize $(MODEL) examples/article.txt

test: lint test-native
	$(BIN)/nextword pull $(MODEL)
	$(BIN)/python -m pytest

# The C++ core by itself: as released, under the sanitizers, and for aarch64 under emulation.
test-native:
	native/tests/run.sh build/native

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: $(VENV)/.installed-dev build/peers/.installed
	$(BIN)/nextword pull $(MODEL)
	build/peers/bin/python -m benchmarks.inference --json benchmarks/results/inference.json --plot benchmarks/results/inference.svg
	$(BIN)/python -m benchmarks.busy_core
	$(BIN)/python -m benchmarks.start_time
	$(BIN)/python -m benchmarks.select_token


$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "nextword needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": name another with  make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml CMakeLists.txt $(wildcard native/*) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# The same with what the tests need; it serves as the plain environment, too.
$(VENV)/.installed-dev: pyproject.toml CMakeLists.txt $(wildcard native/*) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings=cmake.define.NEXTWORD_WERROR=ON "$(TORCH)" --editable ".[train,dev]"
	@touch $@ $(VENV)/.installed

# Peers of the benchmarks; they are compiled, once, for this processor.
build/peers/.installed: benchmarks/peers/install.sh | $(VENV)/.installed-dev
	benchmarks/peers/install.sh $(VENV) build/peers
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
