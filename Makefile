# Every target makes .venv, or reuses it, and needs nothing but make and Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
LRA_BENCH ?= $(BIN)/lra-bench
GPU_RESULTS ?= runs/bench-gpu
# Sizes of configs/recipe/image/s4d.yaml, for models that have no such recipe.
IMAGE_RECIPE := backbone.d_model=512 backbone.depth=6 backbone.glu=true backbone.activation=gelu train.global_batch_size=50
PEERS ?=
SHAPES := image image256 listops text pathx lds

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-gpu bench-gpu floors docs exhibits rerun lint check bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

quickstart: .venv/.installed  ## compare STU, LRU and S4D on a linear system and write a report (about a minute)
	@$(BIN)/lra-bench sweep run quickstart
	@$(BIN)/lra-bench report runs/quickstart --out report/quickstart

test: .venv/.installed-dev  ## run the tests
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not gpu"

test-slow: .venv/.installed-dev  ## run the tests that take minutes
	@$(BIN)/python -m pytest -m slow

test-gpu: .venv/.installed-dev  ## run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

# Where there is no network, install with `pip install --no-deps --no-build-isolation -e .` and say LRA_BENCH=lra-bench.
bench-gpu: $(if $(filter $(BIN)/%,$(LRA_BENCH)),.venv/.installed)  ## measure speed on a CUDA device: layers, the image recipe, scaling, training; PEERS as in bench
	@mkdir -p $(GPU_RESULTS)
	@$(LRA_BENCH) bench layer stu stu_t lru s5 s4d s4 $(SHAPES:%=--shape %) --device cuda --json $(GPU_RESULTS)/layers.json
	@$(LRA_BENCH) bench layer stu lru s4d --block --shape 50,1024,512 $(addprefix --peer ,$(PEERS)) --device cuda --json $(GPU_RESULTS)/image.json
	@$(LRA_BENCH) bench scaling stu s4d s4 lru s5 --device cuda --json $(GPU_RESULTS)/scaling.json
	@for model in stu lru s4d; do $(LRA_BENCH) bench train image $$model --synthetic train.accelerator=gpu $(IMAGE_RECIPE) --json $(GPU_RESULTS)/train_$$model.json || exit 1; done

floors: .venv/.installed-dev  ## measure the trivial baselines of all prepared tasks, for docs/tasks.md
	@$(BIN)/python -m lra_bench.task_cards .

docs: .venv/.installed-dev  ## write docs/models.md, tasks.md, sweeps.md, schema/ and the table behind `lra-bench list models`
	@$(BIN)/python -m lra_bench.cards .
	@$(BIN)/python -m lra_bench.sweep_cards .
	@$(BIN)/python -m lra_bench.schema_files .

exhibits: .venv/.installed  ## write docs/report/ and the tables of docs/findings.md from the records in results/
	@$(BIN)/python -m lra_bench.exhibits .

rerun: .venv/.installed  ## measure an exhibit again and compare it with its records: make rerun EXHIBIT=figure-3b [MODEL=stu]
	@test -n "$(EXHIBIT)" || { echo "say which exhibit of docs/exhibits.yaml: make rerun EXHIBIT=figure-3b" >&2; exit 1; }
	@$(BIN)/python -m lra_bench.exhibits.rerun . $(EXHIBIT) $(MODEL)

lint: .venv/.installed-dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint test  ## everything that CI runs

bench: .venv/.installed  ## measure speed on this machine, for README and docs/speed.md; PEERS="FILE.py:FACTORY ..." goes beside it
	@$(BIN)/lra-bench bench layer stu stu_released stu_t lru s5 s4d s4 mamba $(addprefix --shape ,$(SHAPES)) \
		$(addprefix --peer ,$(PEERS)) --json docs/speed/layer.json
	@$(BIN)/lra-bench bench scaling stu stu_t lru s5 s4d s4 --json docs/speed/scaling.json
	@$(BIN)/lra-bench bench train --json docs/speed/train.json
	@$(BIN)/lra-bench bench sweep lds_lr_sensitivity train.max_steps=500 --cells 110 --json docs/speed/sweep.json
	@$(BIN)/python -m lra_bench.benchmarks.page .

clean:  ## remove .venv and caches; runs/ and report/ stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "lra-bench needs Python 3.11 or newer; say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.installed-dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv, with the tools for development ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ .venv/.installed
