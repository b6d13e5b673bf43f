# imsafe: what a person or CI does with the tree. CI does nothing that a laptop cannot do.
#
#   make          build bin/imsafe
#   make test     all tests, with all of their set-up (15 minutes at most on two cores)
#   make check    format, vet, staticcheck and the tests that hold the house (check/)
#   make fuzz     every fuzz target for FUZZTIME, within FUZZBUDGET seconds
#   make attack   every attack of the catalogue on a target of its own, with its controls on and off; evidence in .cache/evidence
#   make mutate   break one line of each control, one after the other, and see whether the attacks notice (an hour; MUTANTS names some)
#   make target   attacks aimed at imsafe and at Kamailio's IMS as at foreign systems: what is said, and what is so, must agree (half a minute)
#   make soak     a node for SOAK (an hour) with clients that come and go, calls and floods: what it holds must not grow; prints a table
#   make prove    the same, and what follows from it: a signed bundle with a page for people in .cache/proof
#   make bench    the benchmarks of the hot paths, in benchstat's form
#   make memory   what a registered user takes of memory, without and with associations, at USERS (100,000)
#   make generate rewrite the generated documents
#   make vuln     known weaknesses of the modules we use (asks the Go vulnerability database)
#   make setup    only the set-up of the tests
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

GO          ?= go
TESTFLAGS   ?=
PKG         ?= ./...
FUZZTIME    ?= 10s
FUZZBUDGET  ?= 300
BENCH       ?= .
SOAK        ?= 1h
BENCHCOUNT  ?= 1
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: build setup test check fuzz soak bench memory generate vuln attack mutate target prove clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/imsafe ./cmd/imsafe

setup:
	@test/setup.sh

# The race detector needs a C compiler; test/setup.sh has just seen to that or said why not. It allocates by itself, makes pools poison
# what they get back, and is slow. So the tests that hold allocations at zero, the whole of the rooms that say of themselves what they
# can't show under it (race_off), and what is done a hundred or 100,000 times run once more without it. ALONE are rooms
# whose code has no goroutines: they run without it only, which takes a tenth of the time. Without it nothing needs a C compiler either,
# so that what is built is the same as for bin/imsafe and for the guests of test/kernelesp.
PLAIN := $(addprefix ./,$(patsubst %/,%,$(sort $(dir $(wildcard proto/*/race_off*.go)))))
ALONE := imsafe/check imsafe/proof/report

# EARLY are the rooms that take longest: they begin, so that none of them is left alone at the end, and those that wait beside those that
# compute. Many rooms wait for most of their time, so TOGETHER of them run at once. The detector has a program sleep for a second before it
# ends, and the tests end hundreds: they don't. SQLite is C that a program has turned into Go: it is full of unsafe pointers into memory of its
# own, and to check each of them costs more than what is shown (QUIET). What go vet says is for `make check`.
EARLY    := $(addprefix ./,cmd/imsafe test/kernelesp/phone test/foreign test/kernelesp/pcscf test/foreign/baresip test/kernelesp test/scenario bench/load \
	test/foreign/hss test/simulation test/durability test/hostile)
TOGETHER ?= 3
QUIET    := -gcflags='modernc.org/...=-d=checkptr=0'
ROOMS     = $(if $(filter ./...,$(PKG)),$(EARLY) $(filter-out $(ALONE),$(shell $(GO) list ./...)),$(PKG))
test: export GORACE := atexit_sleep_ms=0 $(GORACE)

test: setup
	@race=(); ! command -v cc >/dev/null || race=(-race $(QUIET)); plain="env CGO_ENABLED=0 $(GO) test -json -vet=off"; \
	{ failed=0; \
	  $(GO) test -json "$${race[@]}" -vet=off -p $(TOGETHER) -timeout 14m $(TESTFLAGS) $(ROOMS) || failed=1; \
	  $(if $(filter ./...,$(PKG)),$$plain $(TESTFLAGS) $(ALONE) || failed=1;) \
	  [ -z "$${race[*]}" ] || $$plain -count=1 ./test/durability $(PLAIN) || failed=1; \
	  [ -z "$${race[*]}" ] || $$plain -run 'Alloc|ten_thousand' ./proto/... ./store/... ./trace/... ./imsbox/filter ./test/scenario || failed=1; \
	  exit $$failed; } | \
		$(GO) run ./test/summary -missing .cache/missing -budget 15m

check:
	@$(GO) test -count=1 -json ./check/ | $(GO) run ./test/summary -budget 15s
	$(GO) vet $(PKG)
	@if $(GO) run $(STATICCHECK) -version >/dev/null 2>&1; then \
		echo "staticcheck $(PKG)"; $(GO) run $(STATICCHECK) $(PKG); \
	else \
		echo "SKIPPED: staticcheck cannot be fetched here" >&2; [ "$${CI:-}" != true ]; \
	fi

fuzz:
	@GO="$(GO)" FUZZTIME=$(FUZZTIME) FUZZBUDGET=$(FUZZBUDGET) test/fuzz.sh

soak:
	IMSAFE_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run TestSoak ./test/soak

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCHCOUNT) $(PKG)

memory:
	$(GO) test -run '^$$' -bench Memory -benchtime $(or $(USERS),100000)x -timeout 60m ./bench/spine

generate:
	$(GO) test -count=1 ./check/ -run 'TestClauses|TestWhere' -update
	$(GO) test -count=1 ./cmd/imsafe/ -run TestPage -update
	$(GO) test -count=1 ./doctor/ -run TestPage -update

vuln:
	$(GO) run $(GOVULNCHECK) $(PKG)

attack: build
	bin/imsafe attack run --evidence .cache/evidence

mutate:
	$(GO) run ./test/mutate -together 6 $(MUTANTS)

target:
	$(GO) test -count=1 -run TestTarget ./test/foreign/kamailio
	$(GO) test -count=1 -run 'TestAimed|TestAttack_target' ./cmd/imsafe

prove: build
	bin/imsafe prove --out .cache/proof --key .cache/runner.key

clean:
	rm -rf bin .cache
