# A fresh Debian machine with Go and Node needs no more than `make run` and `make test`:
# .ci/need installs what else a target wants, and says so. What is longer than a line is in .ci.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# The tools that are written in Go, in the versions of .ci/tools and apart from the product's modules.
tool := go tool -modfile=.ci/tools/go.mod

client := examples/socketio/dist/socket.io.js

.PHONY: run build test check fmt lint race e2e fuzz bench microbench vuln soak faults deadlock links

run: build    ## serve on this machine alone, without authentication
	exec bin/confgate serve --dev

build: $(client)  ## bin/confgate
	go build -o bin/confgate ./cmd/confgate

# The Socket.IO client, as npm has it. What is built without make serves none.
$(client): examples/socketio/package-lock.json
	.ci/need node npm && npm ci --no-audit --no-fund --prefix examples/socketio
	cd examples/socketio && cp node_modules/socket.io-client/dist/socket.io{,.min}.js node_modules/socket.io-client/LICENSE dist/ && touch dist/socket.io.js

test:         ## everything: check, race and e2e, with a summary
	@.ci/test

check: lint   ## what needs no run: vet, lint, scripts, modules
	go vet ./...
	.ci/need shellcheck && shellcheck .ci/deadlock .ci/fuzz .ci/need .ci/run .ci/test
	go mod tidy -diff && go mod verify

lint:         ## the linters and formatters of .golangci.yml
	$(tool) golangci-lint run

fmt:          ## gofmt and goimports
	$(tool) golangci-lint fmt

race:         ## every Go test, under the race detector
	.ci/need gcc && $(tool) gotestsum --format standard-quiet -- -race ./...

deadlock:     ## the Go tests with mutexes that watch for deadlocks and wrong order
	.ci/deadlock

e2e: $(client) ## real clients in a real browser
	.ci/need node npm chromium && cd cmd/confgate/e2e && npm ci --no-audit --no-fund && npm test

fuzz:         ## every fuzz target, for FUZZTIME each (10s)
	.ci/fuzz

vuln:         ## what the Go vulnerability database knows of the code that is called; needs a way to it
	$(tool) govulncheck ./...

soak:         ## half an hour of churn and faults, then an audit; SOAK=time of another length, RACE=1 for data races: docs/security.md
	go build -o bin/ ./cmd/confgate/bench/soak && go build $${RACE:+-race} -o bin/ ./cmd/confgate
	bin/soak bin/confgate soak $${RACE:+--instrumented} --duration $${SOAK:-30m} $(addprefix --corpus ,$(wildcard protocol/*/testdata/fuzz/FuzzDecode))

faults:       ## one fault after the other, with its figures
	go build -o bin/ ./cmd/confgate ./cmd/confgate/bench/soak
	failed=0; for fault in herd slow drain takeover turnover disk memory cut; do bin/soak bin/confgate $$fault || failed=1; done; exit $$failed

links: $(client) ## calls on lines that lose, and thin ones; LEVELS=1,5,10 (percent) SECONDS=60: docs/security.md
	.ci/need node npm chromium && cd cmd/confgate/e2e && npm ci --no-audit --no-fund && env SECONDS=$(or $(SECONDS),60) node links.js

bench:        ## confgate against the baseline, PAIRS times in turn (3): docs/performance.md
	go build -o bin/ ./cmd/confgate ./cmd/confgate/bench/baseline ./cmd/confgate/bench/compare
	bin/compare --pairs $${PAIRS:-3} bin/confgate bin/baseline

microbench:   ## every Go benchmark
	go test -run '^$$' -bench . -benchmem ./...
