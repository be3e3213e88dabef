# Every target does its own set-up; a second run finds it done. Needs Python 3.11 to 3.14 and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: install demo test story lint fmt bench serve lock

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_COMPILE_BYTECODE=1 VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --allow-empty-requirements requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY)
	$(BIN)/redo demo

# A file's tests share their fixtures, so they stay on one worker. The files are taken in their order, which begins with
# the longest; xdist's own order, by the number of tests, leaves tests/integration/test_docs.py to the end.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# A whole rollout on a real Prefect server with a worker: to 100 %, back from a fault, and an emergency. Some minutes.
story: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python benchmarks/guard.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/ledger_costs.py
	$(BIN)/python benchmarks/gates.py
	$(BIN)/python benchmarks/rollout_sim.py

serve: $(READY)
	$(BIN)/redo serve

# The lock holds versions only, no addresses. Run it after every change of the dependencies, then `make test`.
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --all-extras --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-annotate --no-header --output-file requirements.lock
