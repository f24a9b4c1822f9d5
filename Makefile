# Two commands to know: `make demo` and `make test`. `make help` lists the rest.
# Each part of `make test` is a target of its own and can be run alone.

.DEFAULT_GOAL := help
CARGO ?= cargo
# How long `make soak` is.
SEEDS ?= 5000
KILLS ?= 20

# In this order: what is quick to fail comes before what is slow. Add a part by adding its target and its name.
TEST_PARTS := wasm-target fmt deny builtins test-binaries build cargo-test

# Clippy looks at our crates while they are compiled, so that dependencies are compiled once and not once more for lints.
LINTING := RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__

.PHONY: help demo test lint bench soak fuzz kargo-live $(TEST_PARTS)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  %-15s %s\n", $$1, $$2 }'

# The build profile of the tests: what one of the two has compiled, the other does not compile again.
demo: builtins ## play six incidents in virtual time, without a cluster
	@$(LINTING) $(CARGO) build --quiet --workspace --bin refloat
	@target/debug/refloat demo

test: ## everything that CI checks, with the minutes of each part
	@MAKE='$(MAKE)' scripts/parts $(TEST_PARTS)

wasm-target: ## make sure that guests can be compiled
	@scripts/wasm-target

builtins: wasm-target ## compile policies/* to target/builtins/*.wasm
	@scripts/builtins

test-binaries: ## etcd, kube-apiserver and Kargo's CRDs into the user's cache (first time 4 minutes)
	@scripts/test-binaries

fmt: ## check the formatting
	$(CARGO) fmt --all --check

deny: ## check licences, sources and duplicate or banned crates
	@scripts/cargo-deny check bans licenses sources

# Warnings are denied as an argument of clippy: a changed RUSTFLAGS would compile every dependency again.
lint: ## clippy alone, with warnings denied: quicker than `build` while you write
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

# All targets at once, so that features are unified as `cargo test` will want them.
build: ## compile everything, tests included, with clippy's warnings denied
	$(LINTING) $(CARGO) build --workspace --all-targets

cargo-test: builtins test-binaries ## all Rust tests
	$(LINTING) $(CARGO) test --workspace

# No part of `make test`: nothing here builds or fetches Kargo itself.
kargo-live: builtins test-binaries ## scenarios on the real Kargo that REFLOAT_KARGO_BIN names, in real time (10 minutes)
	@$(LINTING) CARGO='$(CARGO)' scripts/kargo-live

bench: builtins ## what a decision and a simulated incident cost, beside the figures to reach (release build, 10 minutes the first time)
	cd tests/guests/hostile && $(CARGO) build --quiet --profile guest --target wasm32-wasip2 --target-dir ../../../target/guests
	$(CARGO) build --release --quiet -p policy-engine --example bench --bin refloat-compile
	target/release/examples/bench target/builtins/retry-transient.wasm \
	  target/guests/wasm32-wasip2/guest/hostile.wasm target/release/refloat-compile
	$(CARGO) build --release --quiet -p simulator --example incidents
	target/release/examples/incidents target/release/refloat-compile host/refloat/demo/scenarios/*.yaml tests/scenarios/*.yaml
	$(CARGO) build --release --quiet -p simulator --example understanding
	target/release/examples/understanding tests/data/captures

# No part of `make test`: the same with many more seeds, kills and random inputs.
soak: builtins test-binaries ## for hours: SEEDS (5000), KILLS (20 rounds over all steps), then `fuzz` with FUZZ_SECONDS
	REFLOAT_SEEDS=$(SEEDS) $(LINTING) $(CARGO) test --quiet --workspace --test it -- --nocapture simulate::a_run_is_a_function
	@for round in $$(seq $(KILLS)); do \
	  echo "kills: round $$round of $(KILLS)"; \
	  $(LINTING) $(CARGO) test --quiet --workspace --test it -- --nocapture crash:: || exit 1; \
	done
	@scripts/fuzz $(FUZZ_TARGETS)

fuzz: ## random input to what reads other people's texts and objects, FUZZ_SECONDS (60) per target (needs a C++ compiler)
	@scripts/fuzz $(FUZZ_TARGETS)
