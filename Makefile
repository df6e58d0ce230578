# The targets people type. They are thin: the work is in scripts/, the pinned tools go to ./bin.
SHELL := bash
GO ?= go
export PATH := $(CURDIR)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build demo test fuzz lint fmt generate bench tools clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## bin/waymark, the one binary
	$(GO) build -trimpath -o bin/waymark ./services/waymark

demo: build ## a simulated shop, live: builds, starts everything on loopback, prints its funnel
	bin/waymark demo $(ARGS)

test: ## all tests; the end-to-end ones also on a real Kafka broker where java and mvn are there
	@scripts/test.sh

fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh

lint: ## format, vet, linters, schemas, generated code, scripts, containers
	@scripts/lint.sh

fmt: ## put the Go code and the scripts into their form
	@scripts/tools.sh golangci-lint shfmt
	golangci-lint fmt ./...
	shfmt -w scripts .ci/run

generate: ## make the generated files anew
	@scripts/generate.sh

bench: ## benchmarks into bench/results
	@scripts/bench.sh

tools: ## install the pinned tools into ./bin
	@scripts/tools.sh

clean: ## remove what was built; data folders stay
	rm -rf bin
