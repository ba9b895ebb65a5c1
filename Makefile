# GNU make 3.81 or newer. Every recipe uses paths relative to this folder, so its name may hold blanks.

# The interpreter: PYTHON=... if given, else the one .venv already has, else the first that is new enough.
PYTHON ?=
PY := .venv/bin/python
# Torch's thread pools fight each other when several test processes share few cores.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-comcat check bench clean

help:
	@echo "make demo    set up, pick a real earthquake, say where the plot and tables are"
	@echo "make test    set up, then every check: ruff, mypy, all tests"
	@echo "make check   the quick gate: ruff, mypy, the fast tests"
	@echo "make test-comcat   the tests of event bundles with USGS's libcomcat, in .venv-comcat"
	@echo "make bench   measure the speed beside SeisBench and others, in under 15 minutes"
	@echo "make setup   only set up: .venv with pinned versions; skipped when nothing changed"
	@echo "make clean   remove .venv, .venv-comcat, demo-output and caches"
	@echo "PYTHON=python3.12 chooses the interpreter; pip's own PIP_... variables are heeded."

setup:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ] && $(PY) -c pass 2>/dev/null; then python=$(PY); fi; \
	if [ -z "$$python" ]; then \
		for candidate in python3 python3.13 python3.12 python3.11; do \
			if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
				python=$$candidate; break; \
			fi; \
		done; \
	fi; \
	if [ -z "$$python" ]; then \
		echo "Set-up: no Python 3.11 or newer found. Install one, or name it: make setup PYTHON=..." >&2; \
		exit 1; \
	fi; \
	"$$python" tools/setup_env.py

demo: setup
	@.venv/bin/ml-prediction demo

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PYTEST)

# libcomcat wants an old urllib3, and brings some forty packages: an environment of its own.
test-comcat:
	@VENV=.venv-comcat EXTRAS=dev,comcat $(MAKE) setup
	OMP_NUM_THREADS=1 .venv-comcat/bin/python -m pytest tests/data/test_comcat.py \
		tests/explore/test_comcat_history.py tests/explore/test_bundle.py \
		tests/explore/test_bundle_folder.py tests/explore/test_catalog.py

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PYTEST) -m "not slow"

bench: setup
	@$(PY) -c "import rapid" 2>/dev/null || $(PY) -m pip install --quiet \
		--disable-pip-version-check --no-build-isolation -c constraints.txt -e ".[bench]" \
		|| echo "The rival rapid-seis can't be installed here; the others are measured." >&2
	@.venv/bin/ml-prediction bench --out benchmarks/results

clean:
	rm -rf .venv .venv-comcat demo-output build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
