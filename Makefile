# make demo   trains small networks under three schemes and leaves a report in out/
# make test   lint, the order of the rooms, types, and at the same time tests on all cores
# make docs   the site in build/site, its tutorials run; warnings are errors
# They create the virtual environment they need; nothing but Python 3.10+ (docs: 3.11+) and make has to be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Bytecode is written when a module is first imported: pip would compile all of torch, which takes as long as the rest
# of the installation; and without any, each of the many processes that the tests start would compile all anew.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# While pip fetches the rest, what is needed of torch is compiled: else all processes that begin at once would do it.
# setuptools is there by then: no environment of its own need be made to build the package in.
INSTALL := $(BIN)/python -c "import torch._dynamo" 2> /dev/null & $(PIP) --no-build-isolation --editable
INSTALLED_FROM := setup.cfg pyproject.toml constraints.txt odenets/__init__.py

.PHONY: demo test docs clean

# Two runs at once, of one thread each: the networks are too small to share one among two threads.
demo: $(VENV)/installed
	$(BIN)/odenets study run demo --jobs 2 --out out
	$(BIN)/odenets stability euler lm rk4 --k -0.5 0 0.5 --out out/stability.png
	@echo "Report: out/report.html (findings, accuracy, k_n), out/stability.png (stability regions)"

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy & types=$$!; $(BIN)/pytest --numprocesses auto --dist worksteal; tests=$$?; wait $$types && exit $$tests

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/torch: constraints.txt | $(VENV)/bin/python
	$(PIP) torch numpy setuptools
	touch $@

$(VENV)/installed: $(INSTALLED_FROM) | $(VENV)/torch
	$(INSTALL) ".[benchmarks]"
	touch $@

# All that the demo needs as well, so that a fresh clone installs once.
$(VENV)/installed-test: $(INSTALLED_FROM) | $(VENV)/torch
	$(INSTALL) ".[benchmarks,test]"
	touch $@ $(VENV)/installed

# Everything is read and run anew: what Sphinx keeps of a page does not know that the code has changed since. Cells run
# with one thread each, as many pages at once as there are cores.
docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --jobs auto \
		-c docs -d build/doctrees . build/site
	@echo "Site: build/site/index.html"

$(VENV)/installed-docs: $(INSTALLED_FROM) | $(VENV)/torch
	$(INSTALL) ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) out build docs/reference docs/schemes *.egg-info
