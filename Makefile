# Weir's commands. `make help` lists them; everything below is a short call of cargo, npm or a script in scripts/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo build test bench soak lint fuzz web deps

FUZZ_TARGETS := rtmp amf0 flv toml profile codecs push flight ts srt webrtc
FUZZ_SECONDS ?= 15
# Targets at a time.
FUZZ_JOBS ?= $(shell nproc)
WEB := control-plane/web
PLAYER := media-server/player

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: build ## build, start both programs and print how to publish and watch (MEDIA_CONFIG=, CONTROL_CONFIG=, WEIR_DATA=)
	@scripts/deps.sh run
	@exec scripts/run.sh

demo: ## publish a moving test picture with sound to the running demo channel
	@scripts/deps.sh run demo
	@exec scripts/demo.sh

build: deps web ## build both programs, optimised
	cargo build --release --locked

test: deps web ## everything: unit, integration, end to end with real clients, short fuzz runs, the web pages' checks
	@scripts/deps.sh run demo test
	@scripts/test.sh

bench: deps web ## the benchmarks, each beside a peer in the same run; writes docs/benchmarks.md
	@scripts/deps.sh run demo test bench
	cargo build --release --locked --workspace --all-targets
	@scripts/bench.sh

soak: deps web ## the long tests; each writes its row into docs/benchmarks.md
	@scripts/deps.sh run demo test soak
	@scripts/soak.sh

lint: deps web ## rustfmt, clippy with warnings denied, the web pages' checks, cargo-deny
	@scripts/lint.sh

fuzz: ## fuzz each target for FUZZ_SECONDS (default 15) on its kept corpus
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P $(FUZZ_JOBS) -I TARGET fuzz/quietly.sh TARGET $(FUZZ_SECONDS)

deps: ## install what is missing to build, by apt (scripts/apt-packages.txt)
	@scripts/deps.sh build

web: $(WEB)/node_modules/.built $(PLAYER)/node_modules/.built ## build the pages that the programs embed

# npm runs only where a lock file or a source is newer than what was made of it. `install --no-save` and not `ci`:
# it takes every version from the lock too, but accepts a lock that lists this platform's optional packages alone.
$(WEB)/node_modules/.built: $(WEB)/node_modules/.installed $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
	npm --prefix $(WEB) run --silent build
	@touch $@
$(PLAYER)/node_modules/.built: $(PLAYER)/node_modules/.installed $(PLAYER)/index.html $(PLAYER)/between_segments.js $(PLAYER)/build.js $(PLAYER)/package.json
	npm --prefix $(PLAYER) run --silent build
	@touch $@
%/node_modules/.installed: %/package-lock.json
	npm --prefix $* install --no-save --no-audit --no-fund --loglevel=error
	@touch $@
$(WEB)/node_modules/.installed $(PLAYER)/node_modules/.installed: | deps
