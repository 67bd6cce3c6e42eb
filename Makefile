# Every target brings what it needs: scripts/venv.sh makes or mends .venv, scripts/parts.sh installs
# the programs that the end-to-end tests drive. Nothing here has to be run twice or in an order.

PYTHON ?= python3
PORT ?= 4000
ARGS ?=

# What the tools look at, as far as it exists.
has_python = $(if $(wildcard $(1)/*.py $(1)/*/*.py),$(1))
PYTHON_CODE := $(foreach place,src examples benchmarks scripts tests docs,$(call has_python,$(place)))
TYPED_CODE := $(foreach place,src examples benchmarks tests/types tests/architecture,$(call has_python,$(place)))

export PYTHON
.DEFAULT_GOAL := help
.PHONY: help venv chat test soak versions coverage lint format types docs linkcheck bench autobahn diagrams screenshots clean

help:  ## list the targets
	@echo 'exeunt: make TARGET'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1	\2/p' $(MAKEFILE_LIST) | expand -t 15
	@echo
	@echo '  PORT=4000           where chat listens'
	@echo '  ARGS="-k watcher"   what test, coverage, bench or chat is given besides'
	@echo '  PYTHON=python3.12   the Python of .venv (3.11 or newer)'

venv:  ## make .venv with everything for development
	@scripts/venv.sh dev
	@echo '.venv is ready: source .venv/bin/activate'

# exec: no shell stands between make and the server, so a Ctrl-C reaches the server once and its own
# exit status decides whether make has anything to say.
chat:  ## run the chat on http://127.0.0.1:4000 (PORT=4000)
	@scripts/venv.sh run && exec .venv/bin/python -m examples.chat --port $(PORT) $(ARGS)

test:  ## run every test, end-to-end ones included (ARGS="...")
	@scripts/test.sh $(ARGS)

# Ten minutes by default; a short form of it, marked `soak`, is part of `make test`.
soak:  ## have clients come and go while the server is killed in parts (ARGS="--seconds 60")
	@scripts/venv.sh dev && exec .venv/bin/python -m tests.soak $(ARGS)

versions:  ## run the tests on every supported Python that is here
	@scripts/versions.sh $(ARGS)

coverage:  ## run the tests and show which lines of src they miss
	@scripts/test.sh --coverage $(ARGS)

lint:  ## check style and formatting
	@scripts/venv.sh dev
	@status=0; \
	.venv/bin/ruff check $(PYTHON_CODE) || status=1; \
	.venv/bin/ruff format --check $(PYTHON_CODE) || status=1; \
	exit $$status

format:  ## mend what lint can mend by itself
	@scripts/venv.sh dev
	@.venv/bin/ruff check --fix $(PYTHON_CODE)
	@.venv/bin/ruff format $(PYTHON_CODE)

types:  ## check the types with mypy and pyright
	@scripts/venv.sh dev
	@status=0; \
	echo 'mypy:'; .venv/bin/mypy $(TYPED_CODE) || status=1; \
	echo 'pyright:'; PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright $(TYPED_CODE) || status=1; \
	exit $$status

docs:  ## build the documentation in docs/_build/html
	@scripts/venv.sh dev
	@.venv/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html is built'

# Wants a network, so it is no part of the tests; links within the pages are.
linkcheck:  ## check the documentation's links to elsewhere, and those of README.md
	@scripts/venv.sh dev
	@.venv/bin/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck
	@.venv/bin/python -m sphinx -q -b linkcheck -C -D extensions=myst_parser -D root_doc=README \
	    -D include_patterns=README.md,examples/README.md -D linkcheck_timeout=20 \
	    -D suppress_warnings=myst.xref_missing,toc.not_included,image.not_readable . docs/_build/linkcheck-readme
	@echo 'all links lead somewhere'

# Without the rivals the benchmarks run all the same, and say which of them are missing.
bench:  ## run the benchmarks (ARGS=--json for one object a line)
	@scripts/venv.sh dev
	@.venv/bin/python -m benchmarks.rivals || { \
	    echo 'installing what exeunt is measured beside ...' >&2; \
	    .venv/bin/python -m pip install -qq --disable-pip-version-check \
	        --root-user-action=ignore --editable '.[bench]' || true; }
	@exec .venv/bin/python -m benchmarks $(ARGS)

# The shell leaves the patterns in ARGS alone: they are the suite's.
autobahn:  ## run Autobahn's WebSocket test suite (ARGS="7.*" for some cases)
	@scripts/venv.sh dev && set -f && exec .venv/bin/python -m scripts.autobahn $(ARGS)

diagrams:  ## record what the diagrams of the docs show, and draw them (ARGS=--kept: only draw)
	@scripts/venv.sh dev && .venv/bin/python -m docs.diagrams $(ARGS)

screenshots:  ## take the pictures that README and docs use (ARGS="chat observer dashboard docs")
	@scripts/parts.sh && scripts/venv.sh dev && .venv/bin/python -m scripts.screenshot $(ARGS)

clean:  ## remove everything that the other targets made
	@rm -rf .venv .venv-3.* .venv.lock .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* \
	    htmlcov build dist docs/_build tests/e2e/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
