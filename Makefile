# Two commands carry malla: `make run` and `make test`. `make help` lists the others.

GO   ?= go
DATA ?= ./data
ARGS ?=

# go.mod's toolchain line names a release with current security fixes. "auto" fetches it where the local Go is older, even
# when the environment says "local", and keeps the local one where it is as new.
export GOTOOLCHAIN = auto

# What `malla version` says. A copy without its history, or a machine without git, builds all the same.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -X main.version=$(VERSION)

# -race needs cgo; what is shipped does without it, so that the binary runs on any Linux of its architecture.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

.PHONY: help run test check bench gossip build demo chaos lint clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: ## install what is missing, build, start one node with its data in ./data (DATA=, ARGS=)
	@.ci/install go ffmpeg
	@$(MAKE) --no-print-directory build
	@exec bin/malla serve --data '$(DATA)' $(ARGS)

build: ## build bin/malla
	@mkdir -p bin
	$(BUILD) -o bin/malla .

test: ## everything: formatting, vet, staticcheck, all tests with the race detector, placement of a million chunks and a crowd's gossip without it
	@.ci/install go ffmpeg chromium compiler checkers network filesystems
	@$(MAKE) --no-print-directory lint
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...
# A million chunks, at the limits that count: with -race it is a tenth of them, at wider ones.
	$(GO) test -run Simulation ./blobs
# A hundred nodes that gossip; with -race there are twenty. `make gossip` judges how fast.
	$(GO) test -run Crowd ./cluster

check: ## the quick part of it: formatting, vet, staticcheck, short tests
	@.ci/install go ffmpeg
	@$(MAKE) --no-print-directory lint
	$(GO) test -short -timeout 5m ./...

lint:
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: ## benchmarks of every hot path, then malla beside ffmpeg, dd and nginx (ARGS='-help' lists its parts; with ARGS only those)
	@.ci/install go ffmpeg
	@$(MAKE) --no-print-directory build
	@$(GO) build -buildvcs=false -o bin/bench ./examples/bench
	@case '$(ARGS)' in *proposals*) .ci/install etcd ;; esac
	@if [ -z '$(ARGS)' ]; then $(GO) test -run '^$$' -bench . -benchmem -timeout 20m ./...; fi
	@exec bin/bench $(ARGS)

gossip: ## a hundred nodes that gossip in one process while all processors are busy, at the limits that count (ARGS='-nodes 200': as many as the machine carries)
	@.ci/install go
	$(GO) test -count=1 -v -run Crowd ./cluster -args $(or $(ARGS),-limits)

demo: ## three nodes on this machine: upload, convert to every format, share, fetch elsewhere (ARGS=--exit to end by itself)
	@.ci/install go ffmpeg
	@$(MAKE) --no-print-directory build
	@$(GO) build -buildvcs=false -o bin/demo ./examples/demo
	@exec bin/demo $(ARGS)

chaos: ## five nodes under load while a random one is killed every few seconds; then everything is checked (ARGS=conversion: a film in segments; ARGS=linearizable: every answer is explained by one order)
	@.ci/install go ffmpeg
	@$(MAKE) --no-print-directory build
	@$(GO) build -buildvcs=false -o bin/chaos ./examples/chaos
	@exec bin/chaos $(ARGS)

clean: ## remove what was built (data stays)
	rm -rf bin .demo
