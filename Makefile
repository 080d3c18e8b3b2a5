# Sets up, runs and tests ros2_derain on a machine without a ROS distribution.
# Needs Python 3.11 to 3.13 with venv and headers, gcc, g++ and make.

# The ROS 2 that is installed from PyPI: kilted, or jazzy with an environment of its own.
DISTRO := kilted
$(if $(filter kilted jazzy,$(DISTRO)),,$(error DISTRO=$(DISTRO) is not on PyPI: use kilted or jazzy))
VENV := $(if $(filter kilted,$(DISTRO)),.venv,.venv-$(DISTRO))
BIN := $(VENV)/bin
ARGS ?=

# The environment is self-contained: a sourced ROS distribution must not leak into it.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH LD_LIBRARY_PATH RMW_IMPLEMENTATION
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

# Stamp files: one per finished step of the setup, in this order.
CREATED := $(VENV)/.created
INSTALLED := $(VENV)/.installed
COMPILED := $(VENV)/.compiled

, := ,
# The versions of Python that ROS 2 on PyPI is built for.
PYTHONS := 3.11 3.12 3.13
fail = { printf 'make: %s\n' $(1) >&2; exit 1; }

.PHONY: help setup demo test bench gpu-check lint clean distclean

help:
	@echo 'make setup      install everything that the targets below need into $(VENV)/ (each runs it first)'
	@echo 'make demo       run the pipeline on a clip with rendered rain; the report is in out/demo/'
	@echo 'make test       all tests, in two processes (WORKERS=0: in one); ARGS="test/engine -k gate" runs some,'
	@echo '                ARGS="-m \"not slow\"" the fast ones'
	@echo 'make bench      measure throughput and latency, into out/bench.json; ARGS="--size 1280x720"'
	@echo 'make gpu-check  check and time the engine on the GPU with every runtime, into out/gpu/ (8 minutes at most)'
	@echo 'make lint       style, formatting, import contracts and types: ruff, import-linter, mypy'
	@echo 'make clean      remove the outputs of builds and runs; make distclean removes .venv/ and .venv-jazzy/ too'
	@echo 'DISTRO=jazzy    any of these but lint with ROS 2 Jazzy, in .venv-jazzy/ (default: Kilted)'
	@echo 'PYTHON=...      the Python of $(VENV)/ (default: the first 3.11 to 3.13 found)'

setup: $(COMPILED)

demo: setup
	@$(BIN)/ros2-derain demo --out out/demo $(ARGS)

# The tests of a file stay in one process: they share what its fixtures make.
WORKERS := 2
test: setup
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

bench: setup
	@mkdir -p out
	@$(BIN)/ros2-derain bench --size 640x360 --json out/bench.json $(ARGS)

# GPU_PYTHON is another Python for it, such as one with torch for CUDA: it needs this package's requirements, not ROS.
GPU_PYTHON ?= $(BIN)/python
gpu-check: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),setup)
	@PYTHONPATH=. $(GPU_PYTHON) -m ros2_derain.bench.gpu_check --out out/gpu $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

clean:
	rm -rf out build install log *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-jazzy

$(CREATED):
	@command -v gcc >/dev/null && command -v g++ >/dev/null || $(call fail,\
	  "no C and C++ compiler: install gcc and g++ (Debian$(,) Ubuntu: apt-get install gcc g++)")
	@python=''; for candidate in $(or $(PYTHON),python3 $(addprefix python,$(PYTHONS))); do \
	  if "$$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)".split())' \
	    >/dev/null 2>&1; then python=$$candidate; break; fi; done; \
	test -n "$$python" || $(call fail,"$(if $(PYTHON),$(PYTHON) is not,found no) Python 3.11 to 3.13: \
	install one (Debian 12: apt-get install python3 python3-venv python3-dev) or name it: \
	make PYTHON=/path/to/python3.12"); \
	"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || $(call fail,\
	  "$$python has no venv module: install it (Debian$(,) Ubuntu: apt-get install python3-venv)"); \
	"$$python" -c 'import os, sys, sysconfig; \
	sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || $(call fail,\
	  "$$python has no Python.h: install its headers (Debian$(,) Ubuntu: apt-get install python3-dev)"); \
	echo "Setting up $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || $(call fail,"could not create $(VENV): see above")
	@touch $@

$(INSTALLED): $(CREATED) constraints.txt constraints-$(DISTRO).txt setup.py pyproject.toml
	@echo 'Installing ROS 2 $(DISTRO) and torch (1.8 GB on disk; minutes on the first run)'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -c constraints-$(DISTRO).txt \
	  -e '.[ros,evaluation,learning,metrics,openvino,test]' || $(call fail,\
	  "packages are missing: see pip's message above; check the network and the free disk space$(,) then run make again")
	@touch $@

$(COMPILED): $(INSTALLED) interfaces/build.py $(wildcard interfaces/*/msg/*.msg)
	@$(BIN)/python interfaces/build.py vision_msgs
	@$(BIN)/python interfaces/build.py tf2_msgs
	@$(BIN)/python interfaces/build.py foxglove_msgs
	@touch $@
