# The front door. Everything is built in build/ by Meson and Ninja; `make help` lists the targets.
PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
PYTHON ?= python3
# Kept small: the machine may be small too. `make JOBS=8` for a big one.
JOBS ?= $(shell nproc)

.PHONY: all hyla deps run check bench soak install clean docs help

all: hyla

hyla:
	@tools/build.sh $(BUILD) $(JOBS) hyla

# What a fresh Debian 12 lacks; installs it when it may, else prints the line to type and fails.
deps:
	@tools/deps.sh build run

run: deps hyla
	@tools/demo.sh $(BUILD)/hyla

check:
	@tools/deps.sh build run check
	@tools/build.sh $(BUILD) $(JOBS)
	@$(PYTHON) tests/run.py --build $(BUILD) all

bench:
	@tools/deps.sh build run bench
	@tools/build.sh $(BUILD) $(JOBS)
	@$(PYTHON) bench/run.py --build $(BUILD)

soak:
	@tools/deps.sh build run check
	@tools/build.sh $(BUILD) $(JOBS)
	@$(PYTHON) tests/run.py --build $(BUILD) soak

install: hyla
	@DESTDIR="$(DESTDIR)" tools/install.sh $(BUILD) "$(PREFIX)"

docs:
	@$(PYTHON) tools/gen_calls.py --strict --docs docs/calls.md abi/linux/calls/*.tbl
	@$(PYTHON) tools/gen_native.py --docs docs/native-calls.md abi/native/calls/types.def abi/native/calls/*.tbl
	@$(PYTHON) tools/gen_files.py --docs docs/file-messages.md abi/file/types.def abi/file/protocol.tbl

clean:
	rm -rf $(BUILD)

help:
	@echo 'make            build $(BUILD)/hyla'
	@echo 'make run        show real programs running under Hyla (installs what is missing)'
	@echo 'make check      all tests; ends on "N passed, N failed, N skipped"'
	@echo 'make bench      native and Hyla side by side'
	@echo 'make soak       the long tests'
	@echo 'make install    into PREFIX (default /usr/local), below DESTDIR'
	@echo 'make docs       renew docs/calls.md and docs/native-calls.md from the call tables'
	@echo 'make clean      remove $(BUILD)'
