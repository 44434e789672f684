# The two commands: `make run` and `make test`. Each installs what is missing and says so; cargo is the one prerequisite.

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
RUNNER := CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUNNER

.PHONY: run test test-shuffled test-faults test-hostile test-timing test-tls test-api test-browser fuzz lint doc bench coverage

run: ## Serve on http://localhost:8000, with a private PostgreSQL cluster unless DATABASE_URL is set
	@.ci/install cc postgres
	@echo "building: some five minutes on two cores the first time, seconds after that"
	@cargo run --release -- serve

test: ## Run the unit tests and those of the API
	@.ci/install cc postgres redis
	cargo test

# The test harness shuffles only with its unstable options on, which the variable allows to the test binaries alone.
test-shuffled: ## Run them in random order, as .ci/run does
	@.ci/install cc postgres redis
	$(RUNNER)="env RUSTC_BOOTSTRAP=1" cargo test --lib --tests -- -Z unstable-options --shuffle
	cargo test --doc

# Two at a time: each has servers and clients of its own, and measures how long they take.
test-faults: ## Kill, freeze, cut, fill up and attack real servers under load (Linux)
	@.ci/install cc postgres pgbouncer haproxy slowhttptest h2load
	cargo test --test faults -- --test-threads 2

# One at a time, or they would measure each other.
test-hostile: ## Attack the service, and tell what honest clients see meanwhile (Linux)
	@.ci/install cc postgres slowhttptest h2load
	@rm -f target/hostile.md
	HOSTILE_TABLE=$(CURDIR)/target/hostile.md cargo test --release --test faults -- hostile:: --test-threads 1
	@tests/faults/hostile/table target/hostile.md

test-timing: ## Compare how long refused logins take; plots in target/timing (Linux)
	@.ci/install cc postgres
	cargo test --test faults -- timing:: --nocapture --test-threads 1

test-tls: ## Try HTTPS with tools of others: pebble (ACME), h2load, testssl.sh (Linux)
	@.ci/install cc postgres pebble h2load testssl
	cargo test --test tls -- --test-threads 2

test-api: ## Try the service against its own OpenAPI document with schemathesis
	@.ci/install cc postgres python curl
	tests/schemathesis/run

test-browser: ## Try the documents in a real headless Chromium
	@.ci/install cc postgres chromium npm
	tests/browser/run

TIME := 10
fuzz: ## Fuzz the parsers of what clients send, 10 seconds each; TIME=600 for ten minutes each
	@.ci/install cc c++
	.ci/fuzz $(TIME)

lint: ## Format and clippy; linters and TypeScript on the OpenAPI document
	@.ci/install cc npm
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --test faults --test tls -- -D warnings
	tests/openapi/run

doc: ## The code's own documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

bench: ## Measure the service; PEER=DIRECTORY of the Python service measures that beside it
	@.ci/install cc postgres wrk john python
	cargo bench --bench load

coverage: ## Line coverage of the tests
	@.ci/install cc postgres redis llvm
	.ci/coverage
