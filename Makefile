# Everything that is done with this tree. `make` alone says what there is.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/errandhq/errand/internal/cli.version=$(VERSION)

# How long each fuzz target runs.
FUZZTIME ?= 20s

# Pinned, and run from the module cache: no tool has to be installed.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/errand: static, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/errand ./cmd/errand

.PHONY: demo
demo: build ## run a server with sample data until Ctrl-C
	bin/errand demo

.PHONY: setup
setup: ## install what tests run: PostgreSQL, PgBouncer, Chromium (Debian, as root)
	@scripts/services.sh

.PHONY: test
test: setup check fuzz unit peers browser conformance ## everything that a change must pass

.PHONY: check
check: ## formatting, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt these:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

.PHONY: unit
unit: ## unit tests with the race detector (needs a C compiler)
	$(GO) test -race -shuffle=on -timeout 30m ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@$(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... | while read -r dir; do \
		for target in $$(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //'); do \
			echo "fuzz $$target in $${dir#$(CURDIR)/} for $(FUZZTIME)"; \
			$(GO) test "$$dir" -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x </dev/null; \
		done; \
	done

.PHONY: peers
peers: ## that the comparison with peers works; what it measures then says nothing
	cd bench && $(GO) vet ./... && $(GO) test ./...

.PHONY: browser
browser: build ## the console in a real browser, by people and by attackers (needs node 20; about two minutes)
	cd browser && npm ci --no-audit --no-fund && node --test --test-concurrency=2 --test-reporter=spec

.PHONY: conformance
conformance: ## the provider's own SDKs, as users install them, against the binary
	cd conformance && $(GO) vet ./... && $(GO) test -count=1 -timeout 45m ./...

.PHONY: bench
bench: ## benchmarks; nothing here can fail a change
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 60m ./...

.PHONY: bench-peers
bench-peers: ## the same work on Errand and on its peers, side by side: docs/benchmarks.md (about 20 minutes)
	cd bench && $(GO) run . -out ../docs/benchmarks.md

.PHONY: session
session: build ## record the session at a terminal anew: docs/session.* (about a minute)
	scripts/record.py

.PHONY: pictures
pictures: build ## draw the console anew for the pages of the project: docs/images (about a minute)
	cd browser && npm ci --no-audit --no-fund && node pictures.mjs

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
