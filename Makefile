# make demo    a spoken call on this machine, with no key and no network
# make test    sets up what the tests need and runs them
# make check   formatting, linting, types, import levels, then make test; what CI runs
# make slow    the long property tests
# make bench   what a step, a frame and a call cost, beside comparators in the same run; a quarter of an hour

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.PHONY: demo test check slow bench clean

demo: $(RUNTIME)
	@$(BIN)/python -m gateway demo

test: $(DEV)
	@scripts/parts
	@$(BIN)/pytest --cov --cov-report=term -n 2 --dist worksteal -m "not slow and not timed"
	@$(BIN)/pytest -m "timed and not slow"  # these measure time, which tracing and company would falsify

check: $(DEV)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

slow: $(DEV)
	@scripts/parts
	TALKPATH_SEQUENCES=100000 $(BIN)/pytest -m slow --timeout=3600

# a budget that is exceeded is told, and does not keep the rest from being measured
bench: $(DEV)
	@scripts/parts haproxy
	-$(BIN)/python bench/step.py
	-$(BIN)/python bench/decode.py
	-$(BIN)/python bench/transcode.py
	-$(BIN)/python bench/journal.py
	-$(BIN)/python bench/inbox_to_outbox.py
	$(BIN)/talkpath bench --out bench/out

clean:
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(RUNTIME): requirements/runtime.lock
	@scripts/environment $(PYTHON) $(VENV) runtime
	@touch $@

$(DEV): requirements/dev.lock pyproject.toml
	@scripts/environment $(PYTHON) $(VENV) dev
	@touch $@ $(RUNTIME)
