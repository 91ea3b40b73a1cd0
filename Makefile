# make demo          install, run stages 1 to 6 on the laptop profile, show the records of a photo, an invoice and a contract
# make own           learn 20 delivery notes of our own making, and show what that changed on 20 others; see docs/own.md
# make install-inference   only what inference.py and app.py need with a GGUF build or a server: no PyTorch
# make test          install, check the style, run every test that needs no GPU
# make tools         build llama-server, llama-imatrix and llama-quantize once (some minutes); tests that need them are skipped without
# make screenshots   after make demo: take the pictures of the page in docs/pictures again
# make hardening     faults, hostile documents, injected instructions, leaks and load; writes docs/hardening.md
# make fuzz          odd inputs for the readers and parsers, for FUZZ_SECONDS=600
# make lock          write requirements.lock from requirements.txt
# make audit         ask for known vulnerabilities of what is locked (needs a network)
# make clean         delete what the stages made
# A Linux machine without a GPU saves gigabytes with:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
FUZZ_SECONDS ?= 600
PY = .venv/bin/python
INSTALLED = .venv/installed
SAMPLES = data/samples/documents
DEMO = output/cpu/demo.jsonl
OWN = output/own_example
OWN_SET = --set data.own=$(OWN)/documents --set data.datasets_dir=$(OWN)/datasets \
	--set data.training_dir=$(OWN)/training --set output.dir=$(OWN)
BEFORE = $$(echo $(OWN)/before/cpu/gguf/doc-intel-*.gguf)
NO_COMPILER = { command -v c++ > /dev/null || echo "error: there is no C++ compiler; on Debian: apt-get install build-essential"; exit 2; }

.PHONY: install install-inference demo own tools test lint lock audit clean screenshots hardening fuzz

install: $(INSTALLED)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, set PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "error: python3 -m venv failed; on Debian: apt-get install python3-venv"; exit 2; }

$(INSTALLED): requirements.txt | $(PY)
	$(if $(TORCH_INDEX),$(PY) -m pip install --index-url $(TORCH_INDEX) $(shell grep -o '^torch==[0-9.]*' requirements.txt))
	@echo "installing the packages; llama-cpp-python is compiled once, which takes some minutes"
	$(PY) -m pip install --quiet --requirement requirements.txt || $(NO_COMPILER)
	@touch $@

install-inference: | $(PY)
	@echo "installing the packages; llama-cpp-python is compiled once, which takes some minutes"
	$(PY) -m pip install --quiet --requirement requirements-inference.txt || $(NO_COMPILER)

demo: install
	$(PY) download_datasets.py
	$(PY) prepare_training_data.py
	$(PY) train_moe.py
	$(PY) export_gguf.py
	$(PY) export_gguf.py --base-only
	$(PY) test_moe.py --model base-gguf
	$(PY) test_moe.py --model gguf --compare base-gguf
	$(PY) inference.py $(SAMPLES)/receipt_photo_1.jpg $(SAMPLES)/invoice.pdf $(SAMPLES)/contract_1.pdf \
		--omit-null -o $(DEMO)
	@$(PY) -m json.tool --json-lines --no-ensure-ascii $(DEMO)
	@echo "Records:  $(DEMO)"
	@echo "Report:  " output/cpu/evaluation/gguf-*/report.html
	@echo "Page:     $(PY) app.py"

own: install
	$(PY) -m benchmarks.delivery_notes $(OWN)/documents/delivery_note
	$(PY) download_datasets.py $(OWN_SET)
	$(PY) prepare_training_data.py $(OWN_SET)
	$(PY) train_moe.py $(OWN_SET)
	$(PY) export_gguf.py $(OWN_SET)
	$(PY) export_gguf.py $(OWN_SET) --set output.dir=$(OWN)/before --base $(OWN)/cpu/base_model --adapter data/embedded/adapter
	$(PY) test_moe.py $(OWN_SET) --model $(BEFORE)
	$(PY) test_moe.py $(OWN_SET) --model gguf --compare $(BEFORE)
	$(PY) inference.py $(OWN_SET) $(OWN)/documents/delivery_note/new_00[1-3].* --type delivery_note --format table

tools: install
	$(PY) -m pip install --quiet cmake==4.4.4 ninja==1.13.2
	$(PY) -m extraction.export.llama_source .cache

test: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest

lint: install
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

lock: install
	$(PY) -m pip install --quiet uv==0.13.9
	$(PY) -m uv pip compile requirements.txt --quiet --generate-hashes --no-annotate --no-header \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file requirements.lock

audit: install
	$(PY) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet pip-audit==2.10.1
	.venv/audit/bin/python -m pip_audit --strict --disable-pip --require-hashes --requirement requirements.lock

screenshots: install
	$(PY) -m benchmarks.screenshots

hardening: install
	$(PY) -m tests.hardening

fuzz: install
	$(PY) -m tests.hardening.fuzz --seconds $(FUZZ_SECONDS)

clean:
	rm -rf output data/datasets data/training data/gpu
