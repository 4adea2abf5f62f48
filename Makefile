# SPDX-License-Identifier: Apache-2.0
#
# The front door. The build itself is CMake's (CMakeLists.txt, CMakePresets.json).
#
#   make demo     the main job on real data, in minutes
#   make test     every test
#   make help     the rest
#
# Variables: CMAKE_FLAGS (for cmake at configuration), TEST_FLAGS (for ctest),
# PREFIX and DESTDIR (for install).
BUILD = build
JOBS := $(shell nproc)
PREFIX = /usr/local
DESTDIR =

.PHONY: help setup setup-full setup-check build demo test bench check format install clean

help:
	@echo 'make setup       install what building, demo and tests need (apt-get)'
	@echo 'make setup-full  and the references that tests and bench compare with'
	@echo 'make build       build/exeunt, the libraries, the tests'
	@echo 'make demo        train, calibrate, evaluate on Fashion-MNIST; leaves demo/'
	@echo 'make test        every test'
	@echo 'make bench       compare with PyTorch and ONNX Runtime; writes bench/'
	@echo 'make check       format, cppcheck, clang-tidy, layers, fuzz targets'
	@echo 'make format      clang-format on every source'
	@echo 'make install     library, header, command; PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make clean       remove build directories'

setup:
	tools/setup

setup-full:
	tools/setup full

setup-check:
	tools/setup check

# A build directory that exists keeps its generator and its options.
build: setup
	@test -f $(BUILD)/CMakeCache.txt && test -z '$(CMAKE_FLAGS)' || \
	  cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS)
	cmake --build $(BUILD) -j $(JOBS)

demo: build
	$(BUILD)/exeunt demo

test: build
	ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure $(TEST_FLAGS)

bench: setup-full build
	bench/run

check: setup-check
	tools/check

format: setup-check
	tools/check format-write

# Needs no set-up and no root for what is already built.
install:
	@test -f $(BUILD)/CMakeCache.txt || $(MAKE) build
	cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build $(BUILD) -j $(JOBS)
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)
	@test -n '$(DESTDIR)' || test "$$(id -u)" -ne 0 || ldconfig

clean:
	rm -rf build build-*
