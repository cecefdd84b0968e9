# One command per wish; `make help` lists them. Works with GNU make 3.81 and bash 3.2, as root or not.

SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
WORKERS ?= 2
DATA := $(if $(CHATGRID_DATA),$(CHATGRID_DATA),.chatgrid)

# A list that changed has another stamp, so the environment follows it; nothing is asked of the network when it stands.
stamp = $(VENV)/.installed-$(shell cat $(1) chatgrid/dev/uv.txt | cksum | cut -d' ' -f1)
RUNTIME := $(call stamp,requirements.txt)
EVERYTHING := $(call stamp,requirements-dev.txt)

# The newest Python that really runs: a name on PATH may be an empty shim.
FIND_PYTHON = for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$name; break; fi; done

.DEFAULT_GOAL := help
.PHONY: help run manage install test test-fast lint types contracts scan format bench bench-injection bench-retrieval bench-scale \
	calibrate browser lock reset sbom licences audit

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

run: $(RUNTIME) ## ChatGrid on this machine with a demo company (PORT=9000 chooses the port)
	@exec $(PYTHON) -m chatgrid.dev.run $(if $(PORT),--port $(PORT))

manage: $(RUNTIME) ## a command of manage.py on what `make run` runs: make manage DO="verify_audit"
	@$(PYTHON) -m chatgrid.dev.command $(DO)

install: $(RUNTIME) ## what `make run` needs, without running

# Each stage prints how long it took; the first that fails ends it.
stage = @start=$$(date +%s); $(MAKE) --no-print-directory $(1) || exit 1; echo "== $(1): $$(( $$(date +%s) - start )) s"

test: $(EVERYTHING) ## every check and every test, as CI runs them
	$(call stage,lint)
	$(call stage,types)
	$(call stage,contracts)
	$(call stage,scan)
	$(call stage,licences)
	$(call stage,audit)
	$(call stage,browser)
	$(call stage,tests)

.PHONY: tests
tests: $(EVERYTHING)
	$(PYTHON) -m pytest -n $(WORKERS)

test-fast: $(EVERYTHING) ## the tests without browser and faults, stopping at the first failure
	$(PYTHON) -m pytest -n $(WORKERS) -x -m "not browser and not faults"

lint: $(EVERYTHING) ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(EVERYTHING) ## puts the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The plugin of django-stubs reads the settings, which refuse to be read without these; nothing connects to them.
types: export CHATGRID_ENVIRONMENT := test
types: export CHATGRID_SECRET_KEY := only for the type checker
types: export CHATGRID_DATABASE_URL := postgresql://nobody@localhost/nothing
types: export CHATGRID_REDIS_URL := redis://localhost/0
types: $(EVERYTHING) ## mypy --strict
	$(BIN)/mypy chatgrid departments audit

contracts: $(EVERYTHING) ## who may import whom
	$(BIN)/lint-imports

scan: $(EVERYTHING) ## looks for keys in every tracked file and in the built pages
	$(PYTHON) -m chatgrid.dev.scan

sbom: $(EVERYTHING) ## writes build/sbom.json: everything that runs in production (CycloneDX)
	@mkdir -p build && $(PYTHON) -m chatgrid.dev.supply sbom > build/sbom.json && echo "build/sbom.json is written."

licences: $(EVERYTHING) ## the licence of each package; fails for one that is not allowed
	$(PYTHON) -m chatgrid.dev.supply licences

audit: $(EVERYTHING) ## looks every package up among the known flaws; says so where that cannot be done
	$(PYTHON) -m chatgrid.dev.supply audit

bench: $(EVERYTHING) ## speed: the same streams direct from the simulator and through ChatGrid
	$(PYTHON) -m tests.bench.chat
	$(PYTHON) -m pytest -p no:randomly -s tests/bench
	$(PYTHON) -m tests.bench.charts

bench-injection: $(EVERYTHING) ## prompt injection: rates, times and a walk through every page with the texts of TEXTS=folder
	$(PYTHON) -m tests.bench.injection $(TEXTS)

bench-retrieval: $(EVERYTHING) ## finding and citing: the demo company, or CORPUS=folder; EMBEDDINGS=url MODEL=name takes real vectors
	$(PYTHON) -m tests.bench.retrieval $(CORPUS) $(if $(EMBEDDINGS),--embeddings $(EMBEDDINGS)) $(if $(MODEL),--model $(MODEL))

bench-scale: $(EVERYTHING) ## finding in a department of PASSAGES=200000: the index's recall, latency; takes minutes
	$(PYTHON) -m tests.bench.scale $(CORPUS) $(if $(EMBEDDINGS),--embeddings $(EMBEDDINGS)) $(if $(PASSAGES),--passages $(PASSAGES))

calibrate: $(EVERYTHING) ## the confidence of the search, from labelled questions; CORPUS, EMBEDDINGS, MODEL as above
	$(PYTHON) -m tests.bench.calibrate $(CORPUS) $(if $(EMBEDDINGS),--embeddings $(EMBEDDINGS)) $(if $(MODEL),--model $(MODEL))

# Browser tests skip themselves, with a message, where no Chromium is found.
browser: ## finds or installs the Chromium of the browser tests
	@if [ -n "$$CHROMIUM" ] || command -v chromium chromium-browser google-chrome >/dev/null \
		|| [ -d "/Applications/Google Chrome.app" ]; then echo "Chromium is there."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null \
			|| echo "Chromium could not be installed: browser tests will be skipped."; \
	else echo "No Chromium: browser tests will be skipped. Install it, or set CHROMIUM to its path."; fi

COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url

lock: $(EVERYTHING) ## renews the hashed lists from requirements.in and requirements-dev.in
	$(COMPILE) --quiet requirements-dev.in -o requirements-dev.txt
	$(COMPILE) --quiet requirements.in -c requirements-dev.txt -o requirements.txt
	$(COMPILE) --quiet requirements-vaults.in -c requirements-dev.txt -o requirements-vaults.txt
	@{ echo "# The installer, pinned and hashed: \`make lock\` renews it."; \
		echo uv | $(COMPILE) --quiet --no-header -; } > chatgrid/dev/uv.txt.new && mv chatgrid/dev/uv.txt.new chatgrid/dev/uv.txt

reset: ## deletes the data of `make run`, after asking
	@if [ ! -f "$(DATA)/lock" ]; then echo "There is no data in $(DATA)."; exit 0; fi; \
	pid=$$(cat "$(DATA)/lock"); if [ -n "$$pid" ] && kill -0 "$$pid" 2>/dev/null; then \
		echo "ChatGrid runs on $(DATA): stop it first (process $$pid)."; exit 1; fi; \
	printf 'Delete %s with every document, conversation, key and record in it? Type yes: ' "$(DATA)"; \
	read answer; if [ "$$answer" != yes ]; then echo "Nothing was deleted."; exit 0; fi; \
	rm -rf -- "$(DATA)" && echo "Deleted."

install_list = @python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then echo "ChatGrid needs Python 3.11 or newer: install it, then run make again." >&2; exit 1; fi; \
	echo "Installing $(1) into $(VENV) ($$("$$python" --version)); the first time takes a minute."; \
	"$$python" -I chatgrid/dev/install.py $(VENV) $(1) && rm -f $(VENV)/.installed-*

$(RUNTIME):
	$(call install_list,requirements.txt)
	@touch $@

# The longer list holds all of the shorter one.
$(EVERYTHING):
	$(call install_list,requirements-dev.txt)
	@touch $@ $(RUNTIME)
