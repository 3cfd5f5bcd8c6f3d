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

# $(call tier,name,commands): runs them and prints how long they took.
define tier
@start=$$SECONDS; echo "== $(1)"; $(2); echo "== $(1): $$((SECONDS - start)) s"
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

.PHONY: check
check: ## Format, lints and unit tests: for every save
	$(call tier,format,cargo fmt --all --check)
	$(call tier,lints,cargo clippy --workspace --all-targets -- -D warnings && deploy/local/one-tls-provider)
	$(call tier,unit tests,cargo test --workspace --lib --bins)

.PHONY: test
test: setup kubernetes-setup ## All tests: check, queries against the schema, integration, end to end, on Kubernetes (as root)
	@start=$$SECONDS; $(MAKE) --no-print-directory check queries-check integration kubernetes; echo "== all tiers: $$((SECONDS - start)) s"

# Always the whole workspace: with fewer packages other features are on, and dependencies are compiled again.
.PHONY: integration
integration: ## Each program by itself, then all of them: published clients, a real browser, crashes
	$(call tier,integration and end to end,cargo build --workspace --bins && cargo test --no-fail-fast --workspace --test '*' -- --skip kubernetes:: --skip chart::)

.PHONY: kubernetes-setup
kubernetes-setup: ## Install what a Kubernetes of one node needs (as root), or print the line that does
	@deploy/kubernetes/setup

.PHONY: kubernetes
kubernetes: kubernetes-setup ## The same cloud on a real Kubernetes that the tests start and end (as root)
	$(call tier,tools for Kubernetes (built once and kept),deploy/kubernetes/tools/build kubernetes coredns volumes helm kubeconform kwok >/dev/null)
	$(call tier,Kubernetes,cargo build --workspace --bins && cargo test --workspace --test e2e -- --test-threads 3 kubernetes:: chart::)

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
queries-check: ## Fail when .sqlx does not match the queries and the schema
	$(call tier,queries,migrations/prepare target/sqlx && diff -r .sqlx target/sqlx)
