# The two commands:
#
#   make demo    two good mentors and a bad one teach a student with few labels; print one table
#   make test    run all tests
#
# Each first prepares the environment in .venv, by uv: on a bare Debian with Python 3.10 to 3.12
# about 10 minutes, once (it builds mmcv); the second time it is there. Needs
# python3-venv, python3-dev and g++; what is missing is said, with the command that installs it.
#
# An existing OpenMMLab environment is used as it is: it is checked, and nothing in it is installed
# or changed. Give its folder (a venv's or a conda prefix) or its interpreter:
#
#   make test VENV=path/to/env
#   make test PYTHON=path/to/python
#
# Others:
#
#   make setup                          the environment alone (mmcv's CUDA ops: see pyproject.toml)
#   make test BASE_PYTHON=python3.12    the interpreter that a new environment is made with
#   make test TESTS=tests/hooks JOBS=1  some of the tests; how many run at a time (2)
#   make test PYTEST_ARGS='-m "not slow"'   without the tests that take more than about 10 s
#   make docs                           the documentation site in build/docs; its examples are run
#   make gpu-check                      on a machine with GPUs: does all work there, and how fast
#   make check-env                      what is installed, what fits together, and the remedies
#   make lint                           ruff and the contract on imports
#   make clean / make distclean         remove caches / and the environment made here

VENV := .venv
JOBS := 2
TESTS := tests

# An exported PYTHON is often about something else: only the one on the command line counts.
ifeq ($(origin PYTHON),command line)
  ENV_PYTHON := $(PYTHON)
  SETUP := --python '$(PYTHON)'
else
  ENV_PYTHON := $(VENV)/bin/python
  SETUP := --venv '$(VENV)'
endif
ifdef BASE_PYTHON
  SETUP += --base-python '$(BASE_PYTHON)'
endif
SETUP_PYTHON := $(or $(BASE_PYTHON),python3)

# An environment that was not made here need not have us installed.
IN_TREE := PYTHONPATH='$(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))'

.PHONY: demo test docs setup check-env gpu-check lint format clean distclean
.DEFAULT_GOAL := test

demo:
	@$(call prepare,pose)
	$(IN_TREE) '$(ENV_PYTHON)' demo/run.py $(DEMO_ARGS)

# One thread a process: two test processes with two threads each are slower than with one.
test:
	@$(call prepare,pose classification tests)
	OMP_NUM_THREADS=1 $(IN_TREE) '$(ENV_PYTHON)' -m pytest -n $(JOBS) $(TESTS) $(PYTEST_ARGS)

docs:
	@$(call prepare,pose classification tests docs)
	$(IN_TREE) '$(ENV_PYTHON)' -m sphinx -W --keep-going -q -b html docs build/docs
	$(IN_TREE) '$(ENV_PYTHON)' -m pytest -q tests/docs/test_pages.py tests/test_examples.py
	@echo 'The site is there: build/docs/index.html'

setup:
	@$(call prepare,pose classification detection-ops tests docs)

check-env:
	@'$(ENV_PYTHON)' tools/check_env.py

gpu-check:
	@$(call prepare,pose classification tests)
	$(IN_TREE) '$(ENV_PYTHON)' tools/gpu_check.py $(GPU_CHECK_ARGS)

lint:
	@$(call prepare,tests)
	'$(ENV_PYTHON)' -m ruff check .
	'$(ENV_PYTHON)' -m ruff format --check .
	$(IN_TREE) '$(ENV_PYTHON)' -m pytest -q -p no:cacheprovider tests/test_imports_direction.py

format:
	@$(call prepare,tests)
	'$(ENV_PYTHON)' -m ruff check --fix .
	'$(ENV_PYTHON)' -m ruff format .

clean:
	rm -rf .setup .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -not -path './data/*' -prune -exec rm -rf {} +

# Only an environment that was made here: the marker tells.
distclean: clean
	@if [ -e '$(VENV)/made-by-mmkd_classroom' ]; then rm -rf '$(VENV)'; \
	elif [ -e '$(VENV)' ]; then echo '$(VENV) was not made by this project: left as it is.'; fi

define prepare
command -v '$(SETUP_PYTHON)' > /dev/null || { \
	echo 'No $(SETUP_PYTHON) here. On Debian: sudo apt-get update && sudo apt-get install -y' \
		'python3 python3-venv python3-dev g++ make' >&2; exit 1; }; \
'$(SETUP_PYTHON)' tools/setup_env.py $(SETUP) --need $(1)
endef
