# Each target brings what it needs (tests/setup: once per machine, in the cache folder) and says
# so while that takes long.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

cache := $(or $(LOCKGATE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lockgate)
target := wasm32-unknown-unknown
# One list for every host build: cargo unifies features over the crates it is given, so another list
# would compile twice.
crates := -p lockgate-edge -p lockgate-core -p lockgate-api -p lockgate-git -p lockgate-tls -p lockgate-forge -p lockgate-forge-fakes -p lockgate -p lockgate-e2e
# Tested under Node too, and held to the lists of what they may depend on.
pure := -p lockgate-edge -p lockgate-core
setup := tests/setup
# The compiler for wasm32: the pinned toolchain's, or Debian's where rustup cannot fetch the target.
wasm_cargo := export RUSTC; RUSTC=$$($(setup)/wasm); cargo

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: wasm build ## A signed Flux event becomes a commit, on this machine; KEEP=1 leaves it running
	@export LOCKGATE_ENVOY; LOCKGATE_ENVOY=$$($(setup)/envoy); target/debug/demo $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: demo-stop
demo-stop: ## Ends what make demo KEEP=1 left running
	@if [ -x target/debug/demo ]; then target/debug/demo --stop; fi

.PHONY: test
test: lint wasm wasm-panic ## Lints and every test: host, Node, the module in a host of its own, real Envoy
	@$(setup)/runner >/dev/null
	@export LOCKGATE_ENVOY LOCKGATE_CONTRACT LOCKGATE_AZURE_CLIENT LOCKGATE_FORGE_CLIENTS; LOCKGATE_ENVOY=$$($(setup)/envoy); \
	  LOCKGATE_CONTRACT=$$($(setup)/contract); LOCKGATE_AZURE_CLIENT=$$($(setup)/azure-client); \
	  LOCKGATE_FORGE_CLIENTS=$$($(setup)/forge-clients); cargo test $(crates)
	@export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER; CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$$($(setup)/runner); \
	  $(wasm_cargo) test $(pure) --target $(target)

.PHONY: e2e
e2e: wasm build ## The heavy real servers: Gitea (built once per machine with Go, 4 to 5 minutes), and the pull requests on it
	@export LOCKGATE_ENVOY LOCKGATE_GITEA; LOCKGATE_ENVOY=$$($(setup)/envoy); LOCKGATE_GITEA=$$($(setup)/gitea); \
	  cargo test $(crates) --test 'e2e_*'

.PHONY: check
check: lint ## The inner loop: format, lints, docs, the tests of the host crates but not those with Envoy
	@RUSTDOCFLAGS='-D warnings' cargo doc -q --no-deps $(pure) -p lockgate-api -p lockgate-git -p lockgate-tls -p lockgate-forge -p lockgate
	@cargo test -q $(crates) --lib

.PHONY: lint
lint: ## Format, spelling, clippy, what the pure crates depend on, pure crates and filter for wasm32
	@cargo fmt --all --check
	@$$($(setup)/typos)
	@cargo clippy -q $(crates) --all-targets -- -D warnings
	@cargo clippy -q $(crates) --test 'e2e_*' -- -D warnings
	@for list in filter/edge sidecar/core; do \
	  diff $$list/dependencies.txt <(cargo tree -p lockgate-$${list#*/} -e normal --prefix none -f '{p}' | cut -d' ' -f1 | sort -u) \
	  || { echo "lint: $$list/dependencies.txt (<) and what it uses (>) differ"; exit 1; }; done
	@$(wasm_cargo) check -q $(pure) --target $(target)
	@case $$($(setup)/wasm) in \
	  *wasm-sysroot*) echo 'lint: no clippy for the filter, it needs the target from rustup' ;; \
	  *) cargo clippy -q -p lockgate-filter --target $(target) -- -D warnings ;; esac

.PHONY: setup
setup: ## Only what the targets bring once per machine, without the heavy real servers and cargo-deny
	@for tool in wasm envoy runner typos hey contract azure-client forge-clients; do $(setup)/$$tool; done

.PHONY: audit
audit: ## Licences, banned and doubled crates, where crates come from; builds cargo-deny once per machine
	@$$($(setup)/cargo-deny) --log-level warn check bans licenses sources

.PHONY: build
build: ## The lockgate binary (target/debug/lockgate) and the demo
	@cargo build $(crates) --bin lockgate --bin demo

.PHONY: wasm
wasm: ## The filter module (target/wasm32-unknown-unknown/wasm/lockgate_filter.wasm)
	@$(wasm_cargo) build -p lockgate-filter --target $(target) --profile wasm

.PHONY: wasm-panic
wasm-panic: # The same with a trigger for a panic, for the test that Envoy heals
	@$(wasm_cargo) build -p lockgate-filter --target $(target) --profile wasm --features panic-trigger --target-dir target/panic

.PHONY: bench
bench: wasm ## The numbers of tests/README.md as ratios, with Envoy's own answers beside them; writes target/bench.json
	@$(wasm_cargo) build -p lockgate-filter --target $(target) --profile wasm --example noop
	@cargo build --release -p lockgate -p lockgate-e2e --bins
	@export LOCKGATE_ENVOY; LOCKGATE_ENVOY=$$($(setup)/envoy); LOCKGATE_BIN=$(CURDIR)/target/release/lockgate target/release/bench

.PHONY: load
load: wasm ## hey against the running demo, or an optimised stack of its own; prints a table
	@export LOCKGATE_ENVOY LOCKGATE_HEY; LOCKGATE_ENVOY=$$($(setup)/envoy); LOCKGATE_HEY=$$($(setup)/hey); \
	  cargo build --release -p lockgate -p lockgate-e2e --bins; LOCKGATE_BIN=$(CURDIR)/target/release/lockgate target/release/load

.PHONY: clean
clean: demo-stop ## Removes what belongs to this checkout
	@cargo clean -q

.PHONY: clean-cache
clean-cache: ## Removes what is kept once per machine (Envoy, Gitea, the test runner)
	rm -rf '$(cache)'
