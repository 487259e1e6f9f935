# Each target installs what it lacks (tools/setup) and leaves alone what is there.

.DEFAULT_GOAL := help
.PHONY: help demo run test soak lint bench

TARGET := $(or $(CARGO_TARGET_DIR),target)
# What `weir serve` is given by `make run`: make run ARGS="--listen 0.0.0.0:8080".
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## a server with the demo project: builds, apps and a registry to play with
	tools/setup demo
	tools/build-islands
	cargo build --release --locked
	exec $(TARGET)/release/weir demo

run: ## the server alone, on 127.0.0.1:8080, with its data in ./data
	tools/setup build
	tools/build-islands
	cargo build --release --locked
	exec $(TARGET)/release/weir serve $(ARGS)

test: ## all tests: unit, integration on both databases, and the console in a browser
	tools/setup test
	tools/build-islands
	tools/run-tests

soak: ## what takes hours: long runs of random tests, hundreds of kills in the midst of pushes
	tools/setup test
	WEIR_MODEL_STEPS=1000000 cargo test --locked --release --lib collector::model
	WEIR_MODEL_STEPS=1000000 cargo test --locked --release --lib store::model
	WEIR_FUZZ_INPUTS=1000000 cargo test --locked --release --lib model::reference::tests::fuzz
	WEIR_MODEL_STEPS=1000000 cargo test --locked --release --lib oci::fuzz
	WEIR_MODEL_STEPS=1000000 cargo test --locked --release --lib packages::fuzz
	WEIR_TEST_KILL_ROUNDS=200 cargo test --locked --test integration faults::kill -- --nocapture

lint: ## format, clippy on both halves, dependencies, documentation
	tools/setup lint
	tools/run-lints

bench: ## sizes and speeds, beside their targets
	tools/setup test
	tools/build-islands
	cargo bench --locked --bench pages --bench registry
	WEIR_SIMULATED_TAGS=10000 WEIR_SIMULATED_HOURS=3 cargo test --locked --release --lib controllers::imports::simulation -- --nocapture
