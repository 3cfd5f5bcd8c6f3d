# Everything a developer or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where the cloud of `make up` keeps its state, and its ports: make up STATE=/srv/cloud PORTAL_PORT=8081
STATE ?=
PORTAL_PORT ?= 8080
GATEWAY_PORT ?= 9443

# Where the one-node Kubernetes keeps its state: make kubernetes-up KUBERNETES_STATE=/srv/kubernetes
KUBERNETES_STATE ?=

KUBERNETES_OPTIONS := $(if $(KUBERNETES_STATE),--state $(KUBERNETES_STATE))
# Tenants of the simulated fleet in make bench-kubernetes.
TENANTS ?= 1000

# Size of make campaign.
LIVES ?= 100000
ROUNDS ?= 3

UP_OPTIONS := $(if $(STATE),--state $(STATE)) --portal-port $(PORTAL_PORT) --gateway-port $(GATEWAY_PORT)
# Queries are checked against .sqlx, so that nothing needs a database to build.
export SQLX_OFFLINE := true

# Minutes that make test may take on a machine that has no more. The tiers that there is no time for are told; format,
# queries, unit tests and the lints of what they build are never left out.
MINUTES ?=

# Clippy is the compiler of our own packages wherever they are tested: one build lints them and is what the tests run.
check unit-tests test integration planted kubernetes: export RUSTC_WORKSPACE_WRAPPER := clippy-driver
check unit-tests test integration planted kubernetes: export CLIPPY_ARGS := -Dwarnings
# Always all of it: with fewer packages or targets other features are on, and dependencies are compiled again.
BUILD := cargo build --workspace --all-targets
UNIT_TESTS := cargo test --workspace --lib --bins
# Why a test failed is told at once where time can end before the list that the test program prints last.
AT_ONCE := $(if $(TESTS_END),--nocapture)
E2E := $(BUILD) --quiet && cargo test --workspace --test e2e -- $(AT_ONCE)

# $(call tier,name,commands): runs them and prints how long they took.
define tier
@tests/tier '$(1)' $(SHELL) $(.SHELLFLAGS) '$(2)'
endef

.PHONY: help
help: ## List what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: ## Install what the machine lacks (as root), or print the line that does
	@deploy/local/setup

.PHONY: up
up: setup ## Serve the whole cloud on loopback until Ctrl-C (STATE=, PORTAL_PORT=, GATEWAY_PORT=)
	@cargo build --release --workspace --bins
	@target/release/fluvio-cloud-local up $(UP_OPTIONS)

.PHONY: kubernetes-up
kubernetes-up: setup kubernetes-setup ## Start a Kubernetes of one node and the whole cloud on it (as root; KUBERNETES_STATE=)
	@deploy/kubernetes/tools/build kubernetes coredns volumes helm >/dev/null
	@cargo build --release --workspace --bins
	@deploy/images/build --programs target/release
	@deploy/kubernetes/up $(KUBERNETES_OPTIONS)
	@deploy/kubernetes/cloud $(KUBERNETES_OPTIONS)

.PHONY: kubernetes-down
kubernetes-down: ## End it and remove every trace of it, its data too
	@deploy/kubernetes/down $(KUBERNETES_OPTIONS) --purge

.PHONY: demo
demo: setup ## Do the main job with a real data set and print its timings
	@cargo build --release --workspace --bins
	@target/release/demo

.PHONY: format
format:
	$(call tier,format,cargo fmt --all --check)

.PHONY: check
check: format ## Format, lints and unit tests: for every save
	$(call tier,build and lints,$(BUILD) && deploy/local/one-tls-provider)
	$(call tier,unit tests,$(UNIT_TESTS))

.PHONY: unit-tests
unit-tests:
	$(call tier,unit tests,$(UNIT_TESTS) && deploy/local/one-tls-provider)

.PHONY: test
test: ## All tests: check, queries against the schema, integration, planted bugs, Kubernetes (as root; MINUTES=)
	@start=$$SECONDS end=$(if $(MINUTES),$$(($$(date +%s) + 60 * $(MINUTES)))); \
	$(MAKE) --no-print-directory setup format queries-check unit-tests; \
	TESTS_END=$$end $(MAKE) --no-print-directory integration planted kubernetes; \
	echo "== all tiers: $$((SECONDS - start)) s"

.PHONY: integration
integration: ## Each program by itself, then all of them: published clients, a real browser, crashes
	$(call tier,build of everything,$(BUILD))
	$(call tier,integration and end to end,cargo test --no-fail-fast --workspace --test "*" -- $(AT_ONCE) --skip kubernetes:: --skip chart:: --skip planted::)

.PHONY: planted
planted: ## Known bugs, planted one by one in a copy of the engine: each must be found
	$(call tier,planted bugs,$(E2E) planted::)

.PHONY: kubernetes-setup
kubernetes-setup: ## Install what a Kubernetes of one node needs (as root), or print the line that does
	@deploy/kubernetes/setup

.PHONY: kubernetes
kubernetes: ## The same cloud on a real Kubernetes that the tests start and end (as root)
	$(call tier,packages for Kubernetes,deploy/kubernetes/setup)
	$(call tier,tools for Kubernetes (built once and kept),deploy/kubernetes/tools/build kubernetes coredns volumes helm kubeconform kwok >/dev/null)
	$(call tier,Kubernetes,$(E2E) --test-threads 3 kubernetes:: chart::)

.PHONY: campaign
campaign: setup ## The engine's longer tests: LIVES= by seed, ROUNDS= of killed servers, planted bugs; kept in tests/campaigns
	@tests/campaign --lives $(LIVES) --rounds $(ROUNDS)

.PHONY: bench
bench: setup ## Measure speed against floors and peers, and fail below the hard floors
	@cargo build --release --workspace --bins
	@target/release/bench

.PHONY: bench-kubernetes
bench-kubernetes: setup ## The same on Kubernetes: click to record, the gateway alone, TENANTS= on simulated nodes
	@cargo build --release --workspace --bins
	@target/release/bench kubernetes fleet --tenants $(TENANTS)
	@cargo bench --workspace --bench relay

.PHONY: queries
queries: setup ## Check every query against the schema and write .sqlx
	@migrations/prepare .sqlx

.PHONY: queries-check
queries-check: ## Build the programs, and fail when .sqlx does not match the queries and the schema
	$(call tier,build and queries,migrations/prepare target/sqlx $(UNIT_TESTS) --no-run && diff -r .sqlx target/sqlx)
