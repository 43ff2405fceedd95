# Verbs only: what they do lies in CMakePresets.json and tools/. The first three work on a bare Debian 12 with git,
# make and apt; they install what is missing after one line that says so.
.DEFAULT_GOAL := help
.PHONY: help build demo test kube test-kube python bench bench-long bench-peers asan tsan tidy fuzz format clean setup
RELEASE := build/release/build.ninja

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install the Debian packages of all verbs
	@tools/setup build test tidy

$(RELEASE):
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }

build/.folder:
	@mkdir -p build && touch $@

build: build/.folder  ## build everything into build/release/bin
	@tools/setup build
	@$(MAKE) --no-print-directory $(RELEASE)
	@cmake --build --preset release

demo: build/.folder  ## start a local cluster, run 1,000,000 tasks (DEMO_TASKS=n), stop it
	@tools/setup build
	@$(MAKE) --no-print-directory $(RELEASE)
	@cmake --build --preset release --target flmctl flmping flame-broker flame-executor flame-service
	@tools/demo

test: build/.folder  ## build and run every test: unit, contract, simulation, fuzz, system
	@tools/setup build test python
	@tools/test

kube:  ## build a real Kubernetes control plane once, into a cache outside the repository
	@tools/kube

test-kube: build/.folder  ## the tests of the Kubernetes provider, chart and manifests against that control plane
	@tools/setup build test
	@$(MAKE) --no-print-directory $(RELEASE)
	@cmake --build --preset release --target flmctl flmping flame-broker flame-executor flame-service flame-autoscaler
	@tools/kube
	@tools/test_kube

python: build/.folder  ## build the Python package: one wheel and one sdist in build/python
	@tools/setup python
	@tools/python_build

bench: build  ## measure the budgets (at most 10 minutes)
	@tools/setup test python
	@bench/run.py

bench-peers: build  ## the Python client beside Celery, Dask and Ray, which are fetched
	@tools/setup test python
	@tools/bench_peers

bench-long: build  ## the measurements that take longer
	@tools/setup test
	@bench/run.py --long

asan: build/.folder  ## the tests with the address and undefined-behaviour sanitizers
	@tools/setup build test python
	@tools/test --preset asan

tsan: build/.folder  ## the tests with the thread sanitizer
	@tools/setup build test python
	@tools/test --preset tsan

fuzz: build/.folder  ## fuzz the decoders (FUZZ_SECONDS=300)
	@tools/setup build test
	@tools/fuzz

tidy: build/.folder  ## clang-tidy, clang-format and the repository's own checks
	@tools/setup build tidy
	@tools/lint

format:  ## format every C++ file
	@tools/setup tidy
	@git ls-files '*.cpp' '*.hpp' | xargs clang-format-14 -i

clean:  ## remove every build
	@rm -rf build
