# All commands in this file use the Node version pinned in package.json, not the one installed on the machine.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

VERSION ?= $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE ?= ghcr.io/storageprobe/storage-probe:$(VERSION)
HAS_KIND := docker info >/dev/null 2>&1 && kind version >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help setup build check test test-unit test-integration test-e2e demo demo-local demo-kind demo-kind-down image bench servers generate format clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: node_modules/.package-lock.json ## Install the dependencies from the lock file

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

build: setup ## Bundle the program into dist/
	npm run --silent build

check: setup ## Check types, lint, formatting, and that generated files are up to date
	npm run --silent check

test: check build test-unit test-integration ## Run every check and test that this machine can run
	@if $(HAS_KIND); then $(MAKE) test-e2e; \
	else echo 'Skipped: the end-to-end tests need a running Docker engine and kind.'; fi
	@echo 'All passed. For a demo, run: make demo. To measure the cost of a run: make bench.'

test-unit: setup ## Run the unit tests, without servers
	npm run --silent test:unit

test-integration: setup ## Test the CLI and the operator against real servers: MinIO, Kubernetes, Collector, Jaeger
	npm run --silent test:integration

test-e2e: setup ## Test the image and both charts on a kind cluster
	npm run --silent test:e2e

demo: ## See it work: on kind if Docker is running and kind is installed, otherwise as local processes
	@if $(HAS_KIND); then $(MAKE) demo-kind; else $(MAKE) demo-local; fi

demo-local: setup ## Run the demo as plain processes: Kubernetes API server, operator, MinIO, Collector, Jaeger
	node deploy/local/demo.ts

demo-kind: setup ## Run the demo on a kind cluster, with the image and charts of this checkout
	node deploy/kind/demo.ts

demo-kind-down: ## Delete the demo's kind cluster
	kind delete cluster --name storage-probe

image: ## Build the image (variables: VERSION, REVISION, IMAGE)
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --tag $(IMAGE) .

bench: build ## Compare the cost of a run with that of similar tools, and measure the operator with 1,000 and 10,000 probes
	node test/bench/bench.ts $(BENCH)

servers: setup ## Build the servers for the tests and the demo once, in a cache outside this checkout
	node deploy/local/build.ts

generate: setup ## Generate the reference pages, the CRD and other derived files
	npm run --silent generate

format: setup ## Format the sources
	npm run --silent format

clean: ## Remove all build output and dependencies; the servers stay in the cache
	rm -rf dist node_modules .demo
