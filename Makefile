# make demo   train the probe at its defaults and draw the figures
# make test   every check
# make bench  speed beside PEFT and the authors' loop, memory, start-up, growth: about forty minutes

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test bench clean

demo: $(VENV)/core
	$(BIN)/rankprobe probe --resume
	$(BIN)/rankprobe plot
	@echo "The logs are in runs/, the pictures in figures/: open figures/fig3.png"

test: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright
	$(BIN)/pytest

bench: $(VENV)/dev
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/diagnostics.py
	$(BIN)/python benchmarks/ensemble.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/growth.py

clean:
	rm -rf $(VENV)

$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(INSTALL) --editable '.[dev]'
	@touch $@
