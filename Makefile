# `make demo` shows it, `make test` proves it. Neither asks anything.

SHELL := /bin/sh
export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin
export CARGO_TERM_PROGRESS_WHEN ?= never
STEP := @.ci/step

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
	@cargo run --locked --quiet --bin switchd -- demo

test: tools fmt lint doc deny tests doctests

tools:
	$(STEP) "packages" .ci/tools packages cc:gcc openssl:openssl ps:procps git:git
	$(STEP) "rust" .ci/tools rust
	$(STEP) "nextest" .ci/tools nextest
	$(STEP) "cargo-deny" .ci/tools deny

fmt:
	$(STEP) "format" cargo fmt --all --check

lint:
	$(STEP) "clippy" cargo clippy --locked --all-targets -- -D warnings

doc: export RUSTDOCFLAGS := -Dwarnings
doc:
	$(STEP) "documentation" cargo doc --locked --no-deps

deny:
	$(STEP) "licences, bans, sources" cargo deny --locked check bans licenses sources
	$(STEP) "advisories" .ci/advisories

tests:
	$(STEP) "tests" cargo nextest run --locked

doctests:
	$(STEP) "doctests" cargo test --locked --doc

bench:
	@.ci/tools packages cc:gcc nginx:nginx haproxy:haproxy python3:python3
	@benches/compare/run

fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked --root .tools cargo-fuzz
	@cd tests/fuzz && for target in $$(cargo +nightly fuzz list --fuzz-dir .); do \
		cargo +nightly fuzz run --fuzz-dir . $$target -- -max_total_time=60 || exit 1; \
	done
