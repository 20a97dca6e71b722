# `make demo` shows it, `make test` proves it. Neither asks anything.

SHELL := /bin/sh
export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin
export CARGO_TERM_PROGRESS_WHEN ?= never
STEP := @.ci/step
# Packages of their own, beside the one at the top.
BESIDE := $(wildcard benches/compare/load/Cargo.toml)

# So that `foreach` makes lines of their own in a recipe.
define newline


endef

.PHONY: help demo test bench fuzz tools fmt lint doc deny tests doctests
.NOTPARALLEL:

help:
	@echo "make demo    build switchd and run it in front of two embedded upstreams"
	@echo "make test    everything that CI runs; installs what it needs"
	@echo "make bench   switchd, nginx and HAProxy side by side"
	@echo "make fuzz    every fuzz target for a minute"

# The debug build is ready in half a minute, the optimised one takes several.
demo:
	@.ci/tools packages cc:gcc
	@.ci/tools cargo
	@cargo build --locked --quiet --bins
	@cargo run --locked --quiet --bin switchd -- demo

test: tools fmt lint doc deny doctests tests

tools:
	$(STEP) "packages" .ci/tools packages cc:gcc curl:curl openssl:openssl ps:procps git:git prometheus:prometheus python3:python3 pg_ctlcluster:postgresql setpriv:util-linux
	$(STEP) "rust" .ci/tools rust
	$(STEP) "nextest" .ci/tools nextest
	$(STEP) "cargo-deny" .ci/tools deny
	$(STEP) "cargo-machete" .ci/tools machete

fmt:
	$(STEP) "format" cargo fmt --all --check
	$(foreach manifest,$(BESIDE),$(STEP) "format of $(manifest)" cargo fmt --manifest-path $(manifest) --check$(newline))

lint:
	$(STEP) "clippy" cargo clippy --locked --all-targets -- -D warnings
	$(foreach manifest,$(BESIDE),$(STEP) "clippy of $(manifest)" cargo clippy --manifest-path $(manifest) --locked --all-targets -- -D warnings$(newline))

doc: export RUSTDOCFLAGS := -Dwarnings
doc:
	$(STEP) "documentation" cargo doc --locked --no-deps

deny:
	$(STEP) "licences, bans, sources" cargo deny --locked check bans licenses sources
	$(STEP) "advisories" .ci/advisories
	$(STEP) "unused dependencies" cargo machete

tests:
	$(STEP) "tests" cargo nextest run --locked

doctests:
	$(STEP) "doctests" cargo test --locked --doc

bench:
	@.ci/tools packages cc:gcc nginx:nginx haproxy:haproxy python3:python3
	@python3 benches/compare/compare.py

# The sanitizer is a nightly feature; RUSTC_BOOTSTRAP lets the stable toolchain use it.
fuzz: export RUSTC_BOOTSTRAP := 1
fuzz:
	@.ci/tools packages c++:g++
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked --root .tools cargo-fuzz
	@for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
		cargo fuzz run --fuzz-dir tests/fuzz $$target -- -max_total_time=60 || exit 1; \
	done
