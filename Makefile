# Everything that this file calls runs by the Node that package.json pins, whatever Node the machine has.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup build check test test-unit test-integration demo demo-local bench servers generate format clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: node_modules/.package-lock.json ## Install what the lock file says

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

build: setup ## Bundle the program into dist/
	npm run --silent build

check: setup ## Types, lint, format, and generated files against their source
	npm run --silent check

test: check build test-unit test-integration ## Everything that this machine can test
	@echo 'All passed. See it work: make demo. What a run costs: make bench.'

test-unit: setup ## The logic, without servers
	npm run --silent test:unit

test-integration: setup ## The program and the operator against real servers: MinIO, Kubernetes, Collector, Jaeger
	npm run --silent test:integration

demo: demo-local ## See it work: kubectl apply, and every run a trace in Jaeger

demo-local: setup ## The same, as plain processes
	node deploy/local/demo.ts

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
