# pyox: the pipeline as Make rules, and the project's own tasks.
#
#   make demo       package a real application and run it
#   make test       everything that must hold
#   make test-apps  applications from PyPI, see tests/apps/run.py; `make test-apps APPS='numpy black'` for some;
#                   APPS_ROOT=forky has them on CPython 3.14 and 3.15, in a root folder of Debian's next release
#   make test-cpython  CPython's own tests in an executable and beside it, see tests/cpython/run.py; half an hour;
#                   `make test-cpython MODULES='test_glob test_os'` for some;
#                   SNAPSHOT=stdlib has both in executables with a start-up snapshot of that level
#   make test-roots  in root folders of other Debian releases: an old glibc, CPython 3.14 and 3.15
#   make test-arm   executables for 64-bit Arm, under qemu in such a root folder
#   make test-debug  on a CPython with its assertions, built from source, and whether references are lost
#   make test-lto   on a CPython that clang has built as LLVM bitcode, with and without LLVM linkers
#   make test-valgrind  an application under valgrind
#   make bench      measurements, see benches/README.md; `make bench-quick` in three minutes
#   make bench-peers  pyox beside other packagers, see docs/benchmarks.md; an hour
#   make bench-speed  how fast the Python inside runs, see docs/speed.md; with --pgo, which takes half an hour to build
#   make install    the tools and their run-time libraries, below PREFIX
#   make wheel      the same as a wheel for `pip install`
#
# The distribution of the demo, as pyox-fetch takes it: the first that can be had.
DIST ?= cpython@3.13 host
PREFIX ?= /usr/local
CARGO ?= cargo
PYTHON ?= python3

TOOLS := pyox pyox-fetch pyox-collect pyox-pack pyox-link pyox-snapshot pyox-inspect
# Minor versions of Python that the run-time library is compiled for.
TAGS := cp311 cp312 cp313 cp314 cp315
BIN := target/release
B := build
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Where the toolchain of rust-toolchain.toml is missing and cannot be fetched, the user's own.
ifeq ($(shell rustc --version 2>/dev/null),)
export RUSTUP_TOOLCHAIN := $(firstword $(shell cd / && rustup show active-toolchain 2>/dev/null))
endif

.PHONY: fuzz test-debug test-lto test-valgrind lint-abi check deny all tools runtime demo test test-rust test-python test-apps test-cpython test-roots test-arm roots-system bench bench-quick bench-peers bench-speed lint install wheel system system-optional clean
.DELETE_ON_ERROR:

all: tools runtime

# --- what pyox is made of ---------------------------------------------------

tools: | system-optional
	$(CARGO) build --release

# One library for each minor version, because CPython's structures differ. None of them needs a Python.
runtime: $(TAGS:%=target/runtime/$(TARGET:%=%/)%/libpyembed_runner.a)

# A runner without libpython, which it loads from its blob.
runtime: $(TAGS:%=target/runtime/$(TARGET:%=%/)%/portable-runner)

PORTABLE_SOURCES := $(wildcard tools/pyox-link/src/*.rs tools/pyox-link/src/portable/*)

target/runtime/%/portable-runner: target/runtime/%/libpyembed_runner.a $(PORTABLE_SOURCES) | tools
	$(CARGO) run --quiet --release --package pyox-link --example portable_runner -- $< $@ $(PORTABLE_CC)

RUNTIME_SOURCES := Cargo.toml Cargo.lock $(shell find pyembed crates/pyox-blob crates/pyox-private -type f -not -name '*.md' -not -path 'pyembed/unpacker/*')

target/runtime/%/libpyembed_runner.a: $(RUNTIME_SOURCES) | system-optional
	PYO3_CONFIG_FILE=$(CURDIR)/pyembed/abi/$*.txt RUSTFLAGS='$(REMAP)' \
	    $(CARGO) build --package pyembed-runner --profile runtime
	mkdir -p $(@D) && cp target/runtime/libpyembed_runner.a $@

# A program of pyembed's examples, in place of the one that runs an application; the tests link it.
EXAMPLES := $(foreach tag,cp311 cp313,target/runtime/examples/$(tag)/libpyembed_runner.a)

target/runtime/examples/%/libpyembed_runner.a: $(RUNTIME_SOURCES) | runtime
	PYO3_CONFIG_FILE=$(CURDIR)/pyembed/abi/$*.txt RUSTFLAGS='$(REMAP)' \
	    $(CARGO) build --package pyembed --example interpreters --profile runtime
	mkdir -p $(@D) && cp target/runtime/examples/libinterpreters.a $@

# For a CPython with its assertions.
DEBUG_RUNTIME := target/runtime/cp313d/libpyembed_runner.a target/runtime/examples/cp313d/libpyembed_runner.a

# Cargo builds one after another; the libraries share its folder.
.NOTPARALLEL: $(TAGS:%=target/runtime/%/libpyembed_runner.a) $(EXAMPLES) $(DEBUG_RUNTIME)

# No path of the building machine gets into an executable.
REMAP = --remap-path-prefix=$(CURDIR)=pyox --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo

# --- other machines ---------------------------------------------------------

# Run-time libraries for another machine, which `pyox-link` takes where a distribution is for that:
# `make runtime TARGET=aarch64-unknown-linux-gnu TAGS=cp314`. Debian's Rust makes them, in a root folder that has the standard
# library for that machine and a cross compiler; a Rust of one's own that has both: `CROSS=`.
TARGET ?=
FOREIGN := aarch64-unknown-linux-gnu
CROSS_CC := aarch64-linux-gnu-gcc
CARGO_FOLDER := $(or $(CARGO_HOME),$(HOME)/.cargo)
CROSS ?= scripts/roots forky-cross --bind $(CARGO_FOLDER) -- env PATH=/usr/bin:/bin CARGO_HOME=$(CARGO_FOLDER)

ifneq ($(TARGET),)
ifneq ($(TARGET),$(FOREIGN))
$(error TARGET: expected $(FOREIGN), got $(TARGET))
endif
endif

target/runtime/$(FOREIGN)/%/libpyembed_runner.a: $(RUNTIME_SOURCES) | roots-system
	$(CROSS) env PYO3_CONFIG_FILE=$(CURDIR)/pyembed/abi/$*.txt RUSTFLAGS='$(REMAP)' \
	    cargo build --locked --package pyembed-runner --profile runtime --target $(FOREIGN) --target-dir target/cross
	mkdir -p $(@D) && cp target/cross/$(FOREIGN)/runtime/libpyembed_runner.a $@

target/runtime/$(FOREIGN)/%/portable-runner: target/runtime/$(FOREIGN)/%/libpyembed_runner.a $(PORTABLE_SOURCES) | roots-system
	$(CARGO) build --quiet --release --package pyox-link --example portable_runner
	$(CROSS) target/release/examples/portable_runner $< $@ $(CROSS_CC)

.NOTPARALLEL: $(TAGS:%=target/runtime/$(FOREIGN)/%/libpyembed_runner.a)

# --- the pipeline -----------------------------------------------------------

$(B)/dist.json: | tools
	mkdir -p $(@D)
	pyox-fetch $(DIST) --lock $(B)/pyox.lock -o $@

$(B)/todo.json: $(B)/dist.json $(shell find examples/todo -type f)
	pyox-collect -d $< -r examples/todo/requirements.txt examples/todo/todo --run-module todo -o $@

$(B)/%.blob: $(B)/%.json
	pyox-pack $< -o $@

$(B)/%: $(B)/%.blob | runtime
	pyox-link $< -o $@

.PRECIOUS: $(B)/%.json $(B)/%.blob

demo: tools runtime $(B)/todo
	@PYTHON=$(PYTHON) examples/demo $(B)/todo $(B)/dist.json $(B)/todo.json

# --- what must hold ---------------------------------------------------------

test: lint test-rust test-python

test-rust: tools | system
	$(CARGO) test --workspace --exclude pyembed --exclude pyembed-c --exclude pyembed-runner

VENV := $(B)/venv

$(VENV)/ready: tests/requirements.txt | system
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement tests/requirements.txt
	touch $@

test-python: tools runtime $(EXAMPLES) $(VENV)/ready
	$(VENV)/bin/python -m pytest tests

# In root folders of other Debian releases: the portable runner on an old one, CPython 3.14 and 3.15 on the next.
test-roots: tools runtime $(VENV)/ready
	scripts/system mmdebstrap
	$(VENV)/bin/python -m pytest tests/roots
	scripts/roots forky -- tests/versions/run

# Executables for 64-bit Arm, under qemu in a root folder: see tests/arm/run, which takes other tests too.
test-arm: tools target/runtime/$(FOREIGN)/cp311/libpyembed_runner.a target/runtime/$(FOREIGN)/cp313/portable-runner target/runtime/$(FOREIGN)/cp314/portable-runner $(VENV)/ready | roots-system
	tests/arm/run

# On a CPython that checks itself: the tests that take each distribution in turn, and counts of all references.
test-debug: tools runtime $(DEBUG_RUNTIME) $(VENV)/ready
	PYOX_TEST_PYTHONS=source@3.13+debug $(VENV)/bin/python -m pytest tests tests/checkers/test_references.py $(if $(TESTS),-k '$(TESTS)')

# On a CPython of LLVM bitcode, which clang has built: its archive, and what each LLVM linker makes of it, or none.
test-lto: tools runtime $(VENV)/ready
	scripts/system clang lld llvm
	PYOX_TEST_PYTHONS=source@3.13+lto $(VENV)/bin/python -m pytest tests/checkers/test_bitcode.py tests/test_distribution.py tests/test_stdlib.py $(if $(TESTS),-k '$(TESTS)')

test-valgrind: tools runtime $(VENV)/ready
	scripts/system valgrind
	PYOX_TEST_PYTHONS=source@3.13 $(VENV)/bin/python -m pytest tests/checkers/test_valgrind.py

# On the Pythons of a root folder, or on those of this machine.
APPS_ROOT ?=
APPS_RUN = $(if $(APPS_ROOT),scripts/roots $(APPS_ROOT) -- python3.14 tests/apps/run.py,$(PYTHON) tests/apps/run.py)
APPS_DIST ?= $(if $(APPS_ROOT),host:/usr/bin/python3.14 host:/usr/bin/python3.15)

test-apps: tools runtime
	$(if $(APPS_ROOT),scripts/system mmdebstrap)
	$(APPS_RUN) $(if $(APPS),--only $(APPS)) $(if $(APPS_DIST),--dist $(APPS_DIST)) $(if $(SNAPSHOT),--snapshot $(SNAPSHOT))

test-cpython: tools runtime
	$(PYTHON) tests/cpython/run.py $(if $(MODULES),--only $(MODULES),$(if $(SNAPSHOT),,--table)) $(if $(CPYTHON_DIST),--dist $(CPYTHON_DIST)) $(if $(SNAPSHOT),--snapshot $(SNAPSHOT))

lint: | system
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps

# The run-time crate as each minor version has it.
lint-abi: | system
	for tag in $(TAGS) cp313d; do \
	    PYO3_CONFIG_FILE=$(CURDIR)/pyembed/abi/$$tag.txt $(CARGO) clippy --package pyembed --package pyembed-c --package pyembed-runner --all-targets -- --deny warnings || exit 1; \
	done

# Whether all of it compiles, such as with the oldest Rust that it is for: `make check CARGO='cargo +1.88'`.
check: | system
	$(CARGO) check --workspace --all-targets --locked

# The licences, sources and advisories of all crates, by deny.toml. `cargo install --locked cargo-deny` brings the tool.
# Advisories are fetched: without the network, `make deny DENY='licenses bans sources'`.
DENY ?= all
deny:
	$(CARGO) deny --locked check $(DENY)

# The fuzz targets, so many minutes each; with 0 their corpora alone. `make fuzz MINUTES=5 TARGETS='blob elf'` for some.
MINUTES ?= 1
fuzz:
	scripts/fuzz $$((60 * $(MINUTES))) $(TARGETS)

bench-quick: tools runtime
	$(PYTHON) benches/run.py --quick

bench: tools runtime
	$(PYTHON) benches/run.py

# It needs strace. The Python that all of them package: `make bench-peers PEERS='--python /usr/bin/python3.13'`.
bench-peers: tools runtime
	$(PYTHON) benches/peers/run.py $(PEERS)

# Beside the Pythons that are named: `make bench-speed PYTHONS=/usr/bin/python3`.
bench-speed: tools runtime
	$(PYTHON) benches/speed.py $(PYTHONS)

# --- the machine ------------------------------------------------------------

# Debian's packages that a build of CPython, the hosts and the tests need.
system:
	@scripts/system

# The same, where Rust and the C compiler that it links with will do.
system-optional:
	@scripts/system --optional

# What root folders of another architecture are made with, and run by.
roots-system:
	@scripts/system arch-test mmdebstrap qemu-user-static

install: tools runtime
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(TOOLS:%=$(BIN)/%) $(DESTDIR)$(PREFIX)/bin
	@scripts/pages $(DESTDIR)$(PREFIX)/share $(TOOLS:%=$(BIN)/%)
	for tag in $(TAGS); do \
	    for file in libpyembed_runner.a portable-runner; do \
	        install -D -m 644 target/runtime/$$tag/$$file \
	            $(DESTDIR)$(PREFIX)/lib/pyox/runtime/$$tag/$$file || exit 1; \
	    done; \
	done
	for file in $(wildcard target/runtime/$(FOREIGN)/*/*); do \
	    install -D -m 644 $$file $(DESTDIR)$(PREFIX)/lib/pyox/$${file#target/} || exit 1; \
	done

# pyox itself, for `pip install`: the tools and their run-time libraries as a wheel in build/wheel; those for another machine as
# far as they were built.
wheel: tools runtime
	@scripts/wheel $(B)/wheel $(TOOLS:%=$(BIN)/%) -- $(TAGS:%=target/runtime/%/libpyembed_runner.a) $(TAGS:%=target/runtime/%/portable-runner) $(wildcard target/runtime/$(FOREIGN)/*/*)

clean:
	rm -rf $(B) target
