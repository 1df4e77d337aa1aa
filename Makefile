# make demo   tracks held-out video with the shipped weights, then trains a small GRM on procedural video and
#             tracks with it; tables, plots, MP4s in runs/demo
# make test   the linter and the tests; test-plan those of plan.py, which install compilers for TPUs (300 MB) and NVIDIA
#             cards (1.7 GB on disk); test-slow parity at full size and other long ones
# make docs   the documentation as a site in build/site
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -V >/dev/null 2>&1 && echo python3.12 || \
	(command -v python3.11 >/dev/null 2>&1 && python3.11 -V >/dev/null 2>&1 && echo python3.11) || echo python3)
VENV ?= .venv
RUN := $(VENV)/bin/python
DEMO ?= runs/demo
# Real video for `make demo` to track too, e.g. SEQUENCES=/data/video: folders of frames with groundtruth.txt.
SEQUENCES ?=
export JAX_PLATFORMS ?= cpu
export TF_CPP_MIN_LOG_LEVEL ?= 3
# XLA gets its buffers anew at every step on a CPU: on huge pages that costs a fifth of the page faults.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: demo test test-plan test-slow lint docs clean

$(VENV)/installed: requirements.txt $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12), (3, 13)) else f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet -r requirements.txt
	@touch $@

# Compilers for TPUs and NVIDIA cards, which only plan.py needs; the second in a folder of its own (docs/scaling.md).
$(VENV)/planning: requirements/plan.txt $(VENV)/installed
	$(RUN) -m pip install --quiet -r requirements/plan.txt
	rm -rf $(VENV)/xla-cuda
	$(RUN) -m pip install --quiet --no-deps --target $(VENV)/xla-cuda $$($(RUN) -m trackers.planning.cards)
	@touch $@

# First what the shipped weights do, then a small tracker trained from nothing.
demo: $(VENV)/installed
	@test -d $(DEMO)/video || $(RUN) -m data_pipelines synthetic --config configs/grm.py:demo --out $(DEMO)/video \
		--sequences 8 --length 60 --seed 1
	$(RUN) eval.py --benchmark frames:$(DEMO)/video --out $(DEMO)/shipped --baselines static,kcf,csrt --draw
	@echo "the shipped tracker, drawn: $(DEMO)/shipped/filmstrip.png and videos"
	$(RUN) train.py --config configs/grm.py:demo --workdir $(DEMO)
	$(RUN) eval.py --config configs/grm.py:demo --checkpoint $(DEMO) --benchmark frames:$(DEMO)/video \
		--out $(DEMO)/eval --baselines untrained,static,kcf,csrt --draw
	@for folder in $(SEQUENCES); do $(RUN) eval.py --benchmark frames:$$folder --out $(DEMO)/shipped_real \
		--baselines static,kcf,csrt --draw && $(RUN) eval.py --config configs/grm.py:demo --checkpoint $(DEMO) \
		--benchmark frames:$$folder --out $(DEMO)/eval_real --baselines static,kcf,csrt --draw; done
	@echo "tables, plots and videos: $(DEMO)/shipped, $(DEMO)/eval"

test: $(VENV)/installed lint
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow" --ignore=tests/planning

test-plan: $(VENV)/planning
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow" tests/planning tests/test_platforms.py

test-slow: $(VENV)/installed
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -n 2 --dist loadfile -m slow

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

docs: $(VENV)/installed
	$(RUN) -m pip install --quiet -r requirements/docs.txt
	$(VENV)/bin/zensical build --strict -f mkdocs.yml

clean:
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache
