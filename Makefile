.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
DEBIAN_PACKAGES := libprotobuf-dev protobuf-compiler protobuf-compiler-grpc chromium curl libatomic1 libpython3.11 prometheus prometheus-alertmanager
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
# Without what takes most of their time and hardly meets numpy.
TESTS_OF_NUMPY_2 := tests/test_learning_imports.py tests/data tests/evaluation tests/methods \
	--deselect tests/methods/test_self_training_step.py::test_losses_are_the_authors
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo demo-short serve setup setup-system check format proto test test-numpy-2 clean

help:  ## show what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup  ## the whole loop: served, drifted, learnt, judged, promoted, rolled back
	$(BIN)/roadshift demo

demo-short: setup  ## serve the starter, drive a simulated fleet from day into dusk, draw pictures
	$(BIN)/roadshift demo --short

serve: setup  ## serve the starter release until Ctrl-C
	$(BIN)/roadshift serve

setup: .venv/.installed  ## create .venv with everything the project needs

.venv/.installed: pyproject.toml constraints.txt
	$(if $(shell sh -c 'command -v $(PYTHON)'),,$(error $(PYTHON) is missing: install Python 3.11, or name one by PYTHON=PATH))
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,adaptation,dev]'
	$(BIN)/pip install --quiet --no-deps tensorrt-stubs==10.13.0.35.1  # its only dependency is TensorRT itself
	@touch $@

setup-system:  ## install the Debian packages that some tests need (as root)
	apt-get update -qq
	apt-get install -qq --yes --no-install-recommends $(DEBIAN_PACKAGES)

check: setup  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## apply the format and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: setup  ## regenerate the stubs from proto/roadshift/v1/*.proto
	cd proto && ../$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. roadshift/v1/*.proto

test: setup test-numpy-2  ## run the tests
	$(PYTEST) --durations 12

test-numpy-2: .venv/.numpy-2  ## run the tests of the learning methods with numpy 2
	PYTHONPATH=.venv/numpy-2 $(BIN)/python -c 'import cv2, numpy; assert numpy.__version__ >= "2"'
	PYTHONPATH=.venv/numpy-2 $(BIN)/python -m pytest $(TESTS_OF_NUMPY_2)

# Triton's Python stub holds the environment below numpy 2; the learner alone is not bound by it.
.venv/.numpy-2: Makefile | setup
	rm -rf .venv/numpy-2
	$(BIN)/pip install --quiet --no-deps --target .venv/numpy-2 numpy==2.4.6 opencv-python-headless==4.14.0.94
	@touch $@

clean:  ## remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info
