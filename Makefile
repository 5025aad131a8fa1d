# MicroGPT. `make` lists what there is; `make names` and `make test` each work first on a fresh machine.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= 0
SNES9X ?= 0

# The published names, where a copy lies beside the checkout; else they are fetched once.
BESIDE := $(wildcard ../shared/data/names.txt)
export MICROGPT_NAMES ?= $(abspath $(BESIDE))

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

names: $(BIN)/.ready  ## train on names, print twenty that it invents; after Ctrl-C, go on
	$(BIN)/microgpt train --out names.safetensors

rom: $(BIN)/.ready-to-build  ## make both Super Nintendo cartridges: classic.sfc, turbo.sfc
	$(BIN)/microgpt rom --cartridge classic --out classic.sfc
	$(BIN)/microgpt rom --cartridge turbo --out turbo.sfc

test: $(BIN)/.ready-to-test  ## check everything (TORCH=1, SNES9X=1: also against these)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses logical --dist loadscope

test-all: test  ## the same, and what takes minutes (TORCH=1: against transformers and onnxruntime, too)
	$(if $(filter 1,$(TORCH)),$(BIN)/python -m pip install --quiet --disable-pip-version-check transformers==5.24.0 onnxscript==0.7.2 onnxruntime==1.32.0)
	$(BIN)/python -m pytest --numprocesses logical -m slow

bench: $(BIN)/.ready-to-test  ## measure: the ratios that the docs speak of
	$(BIN)/python -m bench.heart
	$(BIN)/python -m bench.xray
	$(BIN)/python -m bench.cli

docs: $(BIN)/.ready-to-test rom  ## make again what the docs show of the program
	$(BIN)/python scripts/cli_help.py > docs/cli.md
	$(BIN)/python scripts/picture.py docs/names.svg
	$(BIN)/microgpt xray emma -o docs/xray-emma.json --with source > /dev/null
	$(BIN)/python -m microgpt.school.figures > microgpt/school/figures.json
	$(BIN)/python -m microgpt.school.fingerprints
	$(BIN)/python -m microgpt.lab.recorded > microgpt/lab/static/recorded.json
	$(BIN)/microgpt compare --json > microgpt/lab/static/scale.json
	$(BIN)/python scripts/console_recording.py microgpt/lab/static
	$(BIN)/python scripts/cartridge_pictures.py classic.sfc turbo.sfc docs
	MICROGPT_PICTURES=docs/lab $(BIN)/python -m pytest tests/lab  # MICROGPT_SMOLLM2=FILE: inside.png, too

WASM := microgpt/native/wasm/kernel.wasm
wasm:  ## compile the kernel for browsers: microgpt/native/wasm/kernel.wasm
	@scripts/packages.sh $(SYSTEM_WASM)
	clang --target=wasm32 -std=gnu11 -Os -msimd128 -mbulk-memory -ffp-contract=off -ffreestanding -nostdlib \
	  -Wall -Wextra -DREAL_BYTES=4 -Wl,--no-entry,--stack-first,--strip-debug microgpt/native/wasm/wasm.c -o $(WASM)

clean:  ## remove all that was made here
	rm -rf .venv build dist *.egg-info .*_cache .hypothesis names.safetensors classic.* turbo.*

# What a virtual environment and a C extension need of the system, and what the tests use of it.
SYSTEM := python3-venv python3-dev gcc
SYSTEM_TESTS := git chromium
SYSTEM_WASM := clang lld
# The console: an assembler, and emulator cores (fast, and true to the dot).
SYSTEM_ROM := cc65 libretro-bsnes-mercury-performance libretro-bsnes-mercury-accuracy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	@scripts/packages.sh $(SYSTEM)
	$(PYTHON) -m venv .venv

$(BIN)/.ready: $(BIN)/python pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# Each of these installs all that .ready would: the C engine is built once.
$(BIN)/.ready-to-test: $(BIN)/python pyproject.toml setup.py
	@scripts/packages.sh $(SYSTEM_TESTS) $(SYSTEM_WASM) $(SYSTEM_ROM)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' \
	  $(if $(filter 1,$(TORCH)),torch==2.13.0)
	$(if $(filter 1,$(SNES9X)),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps stable-retro==1.0.1)
	@! command -v npm >/dev/null || npm install --prefix tests --silent --no-package-lock || \
	  echo "npm could not install; what the page's tests need of it is skipped" >&2
	@touch $@ $(BIN)/.ready

$(BIN)/.ready-to-build: $(BIN)/python pyproject.toml setup.py
	@scripts/packages.sh $(SYSTEM_ROM)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[console]'
	@touch $@ $(BIN)/.ready

.PHONY: help names rom test test-all bench docs wasm clean
