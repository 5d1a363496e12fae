# Everything a developer runs. `make demo` and `make test` are all a new user needs.
GO      ?= go
BIN     := bin/meridian
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 20s

.PHONY: build demo test test-long test-race test-sim test-nemesis test-fuzz test-planted test-compose model bench bench-matrix microbench lint fmt generate image clean

build: ## bin/meridian: one static binary, no cgo
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/meridian

demo: build ## a three-region cluster in one process; flags through ARGS="--latency wan"
	@$(BIN) demo $(ARGS)

test: ## all tests
	CGO_ENABLED=0 $(GO) test -timeout 11m ./...

test-long: ## tests of real processes with more rounds and with bounds in seconds, for a quiet machine
	CGO_ENABLED=0 MERIDIAN_LONG=1 $(GO) test -count=1 -timeout 60m -v -run 'TestKill' ./cmd/meridian

test-race: ## all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -tags pebblegozstd -timeout 30m ./...

test-sim: ## whole clusters on virtual time with seeded faults; SEEDS=n runs more of them
	CGO_ENABLED=0 MERIDIAN_SIM_SEEDS=$(or $(SEEDS),50) $(GO) test -timeout 60m -run 'Sim' -v ./server/...

test-planted: ## bugs planted on purpose, each of which `meridian sim` must find
	CGO_ENABLED=0 $(GO) test -tags planted -count=1 -timeout 150m -v -run TestPlantedBugs ./cmd/meridian

model: ## the commit protocol and its read locks with spin (needs spin and a C compiler), leases with more states of the real votes
	docs/model/check.sh
	CGO_ENABLED=0 MODEL_STATES=$(or $(STATES),1000000) $(GO) test -count=1 -timeout 30m -v -run 'TestLeaseModel$$' ./range

test-nemesis: build ## kills, pauses and partitions of real processes in network namespaces, histories checked (needs root)
	CGO_ENABLED=0 $(GO) run ./cmd/meridian-nemesis -meridian $(BIN) $(ARGS)

test-fuzz: ## every fuzz target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; CGO_ENABLED=0 $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

test-compose: image ## three regions in containers: stopped, killed, cut off, restarted and upgraded under load, without the time, a node lost, one taken out
	deploy/compose/test.sh

bench: build ## pgbench, or with ARGS=-tpch TPC-H, against three Meridian nodes and against PostgreSQL
	CGO_ENABLED=0 $(GO) run ./cmd/meridian-bench -meridian $(BIN) $(ARGS)

bench-matrix: build ## every pgbench workload, protocol and client count on three nodes; fails on any failed transaction
	CGO_ENABLED=0 $(GO) run ./cmd/meridian-bench -meridian $(BIN) -only-meridian -seconds 5 -modes simple,extended,prepared $(ARGS)

microbench: ## testing.B benchmarks of every package
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchmem ./...

lint:
	$(GO) vet ./...
	$(GO) tool -modfile=.ci/tools/go.mod staticcheck ./...

fmt:
	gofmt -w $$(git ls-files '*.go')

generate:
	$(GO) generate ./...

image: ## meridian:dev, FROM scratch with just the binary
	CGO_ENABLED=0 GOOS=linux $(GO) build -ldflags '$(LDFLAGS)' -o deploy/image/meridian ./cmd/meridian
	docker build -q -t meridian:dev -f deploy/Dockerfile deploy/image

clean:
	rm -rf bin deploy/image
