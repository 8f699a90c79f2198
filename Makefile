# make demo   trains small networks under three schemes and leaves a report in out/
# make test   lint, types, the order of the rooms, and tests on all cores
# Both create the virtual environment they need; nothing but Python 3.10+ and make has to be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test clean

# Two runs at once, of one thread each: the networks are too small to share one among two threads.
demo: $(VENV)/installed
	$(BIN)/odenets study run demo --jobs 2 --out out
	$(BIN)/odenets stability euler lm rk4 --k -0.5 0 0.5 --out out/stability.png
	@echo "Report: out/report.md (accuracy, k_n), out/stability.png (stability regions)"

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses auto --dist worksteal

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) ".[benchmarks]"
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) ".[benchmarks,test]"
	touch $@

clean:
	rm -rf $(VENV) out build *.egg-info
