# Everything that this file calls runs by the Node that package.json pins, whatever Node the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

VERSION ?= $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE ?= ghcr.io/storageprobe/storage-probe:$(VERSION)
HAS_KIND := docker info >/dev/null 2>&1 && kind version >/dev/null 2>&1

.DEFAULT_GOAL := help
.PHONY: help setup build check test test-unit test-integration test-e2e demo demo-local demo-kind demo-kind-down image bench servers generate format clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: node_modules/.package-lock.json ## Install what the lock file says

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

build: setup ## Bundle the program into dist/
	npm run --silent build

check: setup ## Types, lint, format, and generated files against their source
	npm run --silent check

test: check build test-unit test-integration ## Everything that this machine can test
	@if $(HAS_KIND); then $(MAKE) test-e2e; \
	else echo 'Skipped: the end-to-end tests, for no Docker engine answers or kind is not there.'; fi
	@echo 'All passed. See it work: make demo. What a run costs: make bench.'

test-unit: setup ## The logic, without servers
	npm run --silent test:unit

test-integration: setup ## The program and the operator against real servers: MinIO, Kubernetes, Collector, Jaeger
	npm run --silent test:integration

test-e2e: setup ## The image, and both charts on a kind cluster
	npm run --silent test:e2e

demo: ## See it work: on kind with Helm where a Docker engine answers, else as local processes
	@if $(HAS_KIND); then $(MAKE) demo-kind; else $(MAKE) demo-local; fi

demo-local: setup ## A Kubernetes API server, the operator, MinIO, Collector and Jaeger as plain processes
	node deploy/local/demo.ts

demo-kind: setup ## The same on a kind cluster, from this checkout's image and charts
	node deploy/kind/demo.ts

demo-kind-down: ## Delete that cluster
	kind delete cluster --name storage-probe

image: ## Build the image (VERSION, REVISION, IMAGE)
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --tag $(IMAGE) .

bench: build ## What a run costs next to its peers, and what the operator costs with 1,000 and 10,000 probes
	node test/bench/bench.ts $(BENCH)

servers: setup ## Build the real servers, once, outside of this checkout
	node deploy/local/build.ts

generate: setup ## Make the reference pages and the CRD from their source
	npm run --silent generate

format: setup ## Format the sources
	npm run --silent format

clean: ## Remove what was made here; the servers stay in the cache
	rm -rf dist node_modules .demo
