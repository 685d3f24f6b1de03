# Two commands do all the set-up: `make demo` and `make test`. Nothing needs to be installed before them
# but Python 3.11 or newer (on Debian with python3-venv) and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST_ARGS ?=

.PHONY: help demo test check lint bench soak fuzz lock clean

help:
	@echo "make demo        the whole story in one local network: deal, job, blocks, payment, proof (KEEP=1 keeps it up, NV=29 plays Solstice, FLAVOUR=curio)"
	@echo "make test        all tests that can run on this machine; PYTEST_ARGS='-k words' chooses"
	@echo "make check       lint, types, import rules and tests: what CI runs"
	@echo "make bench       speed and memory of the data plane"
	@echo "make soak        the follower through random forks, drops and kills (SECONDS=3600, SEED=n, DEVNET=1 for a real devnet); or JOBS=1000 jobs through kills (DOCKER=50 of them containers)"
	@echo "make fuzz NAME=car  a parser with bytes that atheris chooses (SECONDS=60); without a name, the names; wants: pip install atheris"
	@echo "make lock        resolve the locked dependencies anew"

$(VENV)/.usable:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "sp-plugin needs Python 3.11 or newer as $(PYTHON); name another one with: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "this Python cannot make virtual environments; on Debian or Ubuntu type: sudo apt-get install -y python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# piece.c: an old native kernel would be ignored silently
$(VENV)/.runtime: $(VENV)/.usable requirements/runtime.lock pyproject.toml $(wildcard deals/kernels/*.c)
	@echo "installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.lock
	@echo "installing the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/sp-plugin devstack demo $(if $(KEEP),--keep) $(if $(NV),--network-version $(NV)) $(if $(FLAVOUR),--flavour $(FLAVOUR)) --out demo-out

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint test

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks

soak: $(VENV)/.dev
	@$(if $(JOBS),$(BIN)/python -m tests.soak_jobs --jobs $(JOBS) $(if $(DOCKER),--docker $(DOCKER)) $(if $(SEED),--seed $(SEED)),$(BIN)/python -m tests.soak_following --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED)) $(if $(DEVNET),--devnet))

fuzz: $(VENV)/.dev
	@$(BIN)/python -m tests.fuzz $(if $(NAME),$(NAME) --seconds $(or $(SECONDS),60),--list)

lock: $(VENV)/.dev
	@$(BIN)/pip-compile -q --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --extra bls --extra devstack -o requirements/runtime.lock pyproject.toml requirements/build.in
	@$(BIN)/pip-compile -q --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host -o requirements/dev.lock requirements/dev.in

clean:
	@rm -rf $(VENV) demo-out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
