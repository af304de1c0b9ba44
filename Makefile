# Everything that this house does, one verb each. The first one sets up .venv by itself; nothing else is needed but Python.

PYTHON ?= python3
RUNTIME ?= asyncio
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PURE := gaproxy/proto/*,gaproxy/throttle/*

.PHONY: demo test quick lint fuzz mutants soak bench bench-relay bench-deliver docs clean

demo: $(READY)
	$(BIN)/gaproxy demo --runtime $(RUNTIME)

# Lint first; then all tests; then every branch of the pure core must have been taken.
test: lint
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/python -m coverage report --include='$(PURE)' --fail-under=100

quick: $(READY)
	$(BIN)/python -m pytest -q --hypothesis-profile=quick $(wildcard tests/proto tests/throttle)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy docs/draw_states.py
	$(BIN)/mypy docs/draw_reference.py
	$(BIN)/mypy --package bench
	$(BIN)/mypy --package fuzz

# Worlds that nobody has seen before. A seed that breaks an oath is printed, and replayed by `python -m fuzz world SEED`.
fuzz: $(READY)
	$(BIN)/python -m fuzz world --seconds $(FUZZ_SECONDS)

# Faults that are planted in a copy, one by one: the tests that are named for each must fail of it.
mutants: $(READY)
	$(BIN)/python -m fuzz mutants

# A long day on sockets: aborts, half-closes and stalls, on each runtime. No leak may be left, and counters must agree.
soak: $(READY)
	$(BIN)/python -m fuzz soak --seconds $(SOAK_SECONDS)

# Some minutes each; alone on the machine, please. What they need, and how to read them: bench/README.md.
bench: $(READY)
	$(BIN)/python -m bench relay
	$(BIN)/python -m bench deliver

bench-relay bench-deliver: bench-%: $(READY)
	$(BIN)/python -m bench $*

docs: $(READY)
	$(BIN)/python docs/draw_states.py
	$(BIN)/python docs/draw_reference.py
	PYTHONPATH=tests $(BIN)/python -m kill.table
	PYTHONPATH=tests $(BIN)/python -m sink.table
	PYTHONPATH=tests $(BIN)/python -m clients.table

clean:
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gaproxy needs Python 3.11 or later; say PYTHON=python3.12, or the like")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint,demo]'
	@touch $@
