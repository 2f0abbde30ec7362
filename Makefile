# The commands that people, README and CI share. Everything a target needs it installs itself; nothing outside this
# folder is touched. `.venv` is what a user gets (no torch); `.venv-dev` is for tests, training and export,
# `.venv-extras` for the tests of extras that need more room.
PYTHON ?= python3
OUT ?= out

# As they were typed, quotes, blanks and dollars included: recipes read them from the environment.
override IMAGES := $(value IMAGES)
override OUT := $(value OUT)
export IMAGES OUT

BUILD_INPUTS := pyproject.toml CMakeLists.txt constraints.txt $(wildcard kernels/cpp/*.?pp kernels/cpp/*/*.?pp)
PACKAGE := $(shell find lexlip_infer kernels/lexlip_kernels training export -type f -not -name "*.pyc" 2>/dev/null)

.PHONY: help demo encode images-named test test-extras fuzz check check-v100 sanitize bench bench-kernels pictures stubs clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | expand -t 12

demo: .venv/.installed  ## encode twelve photographs with the shipped model, print and draw their words, search them
	rm -rf demo-out
	.venv/bin/python examples/demo.py demo-out

encode: images-named .venv/.installed  ## encode your own photographs: make encode IMAGES=dir/ OUT=out/
	.venv/bin/lexlip-encode --images "$$IMAGES" --output "$$OUT"

images-named:
	@test -n "$$IMAGES" || { echo "usage: make encode IMAGES=dir/ OUT=out/" >&2; exit 2; }

# One process a core: each test has one thread. Which branches are reached is measured with both sets of tests together;
# what only a GPU can run is run by stand-ins or in Triton's interpreter, so that no file has to be left out.
TEST_PROCESSES ?= $(shell nproc)
PYTEST := pytest -q -n $(TEST_PROCESSES) --dist worksteal --durations=20 --cov

test: .venv-dev/.installed  ## run all tests, and measure which branches they reach
	.venv-dev/bin/$(PYTEST) --cov-fail-under=94

# Anserini, Ray, Faiss and the clients of other engines, in an environment of their own. A test that skips here fails.
test-extras: .venv-extras/.installed  ## then those that need the extras anserini, ray, faiss and formats
	.venv-extras/bin/$(PYTEST) --cov-append --cov-fail-under=96 --no-skips tests/infer/formats tests/infer/search \
	  tests/infer/pipeline/test_ray.py tests/infer/impacts/lint tests/infer/cli/test_large_scale.py \
	  tests/infer/bench/large_scale tests/kernels/impact_dot/test_anserini.py tests/export/graphs/test_anserini.py \
	  tests/export/public/test_end_to_end.py

# SEED=2 for other damage; docs/security.md says what must hold.
SEED ?= 1

fuzz: .venv-dev/.installed  ## damage thousands of inputs, and of folders of four kinds, each in a process with limits; minutes
	.venv-dev/bin/pytest -q tests/infer/fuzz --hypothesis-profile=fuzz
	.venv-dev/bin/python tests/hostile/run.py --trials 2400 --seed "$(SEED)" --report benchmarks/results/hostile.json

check: .venv-dev/.installed  ## formatting, lints, types, and the stub of the compiled module
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/ruff check .
	.venv-dev/bin/mypy
	.venv-dev/bin/clang-format --dry-run -Werror kernels/cpp/*.?pp kernels/cpp/*/*.?pp tests/kernels/*.cpp tests/kernels/*/*.cpp
	.venv-dev/bin/python -m nanobind.stubgen -q -m lexlip_kernels._native -o build/_native.pyi
	diff -u kernels/lexlip_kernels/_native.pyi build/_native.pyi

# As on a machine with a V100: the platforms whose wheels it takes, newest first. Needs the network; installs nothing.
V100_PLATFORMS := $(addprefix --platform manylinux,_2_28_x86_64 _2_27_x86_64 _2_17_x86_64 2014_x86_64)

check-v100: .venv-dev/.installed  ## whether the pins of the V100 extra resolve, by a dry run of pip (docs/v100.md)
	.venv-dev/bin/pip install --dry-run --target build/v100 --only-binary=:all: --implementation cp \
	  --python-version 3.11 $(V100_PLATFORMS) -c constraints-v100.txt '.[gpu-v100]'

SANITIZED := $(patsubst kernels/cpp/%.cpp,build/sanitize/%.o,$(wildcard kernels/cpp/*/*.cpp))
SANITIZE := -std=c++20 -O1 -g -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -fopenmp-simd -Ikernels/cpp
ifneq ($(filter x86_64 amd64,$(shell uname -m)),)
PATHS := build/sanitize/lexicon_head/kernels_
$(PATHS)avx2.o: SANITIZE += -mavx2 -mfma
$(PATHS)amx.o: SANITIZE += -mamx-tile -mamx-int8
$(PATHS)avx512_vnni.o $(PATHS)amx.o: SANITIZE += -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma
endif

# First the C++ core without Python; then what Python calls, each argument wrong in turn: exceptions, and never a signal.
SHARED_SANITISERS = $(shell $(CXX) -print-file-name=libasan.so) $(shell $(CXX) -print-file-name=libubsan.so)
REFUSALS := tests/kernels/test_native_shapes.py $(wildcard tests/kernels/*/test_refusals.py)

sanitize: build/sanitize/check build/sanitize/_native.so  ## run the compiled code under address and undefined-behaviour sanitisers
	build/sanitize/check
	LD_PRELOAD="$(SHARED_SANITISERS)" ASAN_OPTIONS=detect_leaks=0 LEXLIP_NATIVE=$(CURDIR)/build/sanitize/_native.so \
	  .venv-dev/bin/python -m pytest -q -p no:cacheprovider $(REFUSALS)

NANOBIND = $(shell .venv-dev/bin/python -c "import nanobind; print(nanobind.source_dir())")
INCLUDES = $(shell .venv-dev/bin/python -c "import sysconfig, nanobind as n; p = sysconfig.get_path('include'); \
  print(f'-isystem {p} -isystem {n.include_dir()} -isystem {n.source_dir()}/../ext/robin_map/include')")

build/sanitize/_native.so: kernels/cpp/bindings.cpp $(SANITIZED) .venv-dev/.installed
	$(CXX) -std=c++20 -O1 -fPIC -fno-strict-aliasing -w $(INCLUDES) -c $(NANOBIND)/nb_combined.cpp -o build/sanitize/nanobind.o
	$(CXX) $(SANITIZE) $(INCLUDES) -shared $< $(SANITIZED) build/sanitize/nanobind.o -pthread -o $@

build/sanitize/check: tests/kernels/sanitize_check.cpp $(SANITIZED)
	$(CXX) $(SANITIZE) -Wno-unknown-pragmas $^ -pthread -o $@

build/sanitize/%.o: kernels/cpp/%.cpp $(wildcard kernels/cpp/*.hpp kernels/cpp/*/*.hpp) Makefile
	mkdir -p $(@D)
	$(CXX) $(SANITIZE) -c $< -o $@

bench: bench-kernels  ## measure what needs no data and no GPU; results go to benchmarks/results/
	.venv-dev/bin/python benchmarks/micro.py
	.venv-dev/bin/lexlip-bench --items 1000 --batch-sizes 1,16,32 --save benchmarks/results/bench_cpu_tiny.json
	.venv-dev/bin/python benchmarks/bench_index.py
	.venv-dev/bin/python benchmarks/write_performance_doc.py

bench-kernels: .venv-dev/.installed  ## measure every kernel that runs here, and draw its roofline
	.venv-dev/bin/python benchmarks/bench_impact_dot.py
	.venv-dev/bin/python benchmarks/bench_lexicon_head.py
	.venv-dev/bin/python benchmarks/bench_lexicon_pool.py
	.venv-dev/bin/python benchmarks/bench_triton_ops.py --if-possible
	.venv-dev/bin/python benchmarks/plot_rooflines.py --ceilings

# Of README.md what the demo draws, of docs/clouds.md the rest. `lexlip cloud` overwrites nothing.
CLOUDS := cd examples/photographs && ../../.venv-dev/bin/lexlip cloud

pictures: .venv-dev/.installed  ## draw the photographs with their words, hits and clouds in docs/images anew, with the shipped model
	rm -rf build/pictures docs/images/cloud.png docs/images/contact_sheet.jpg
	.venv-dev/bin/python examples/demo.py build/pictures
	cp build/pictures/words.jpg build/pictures/hits.jpg docs/images/
	$(CLOUDS) bicycles.jpg --caption "children ride bicycles in a parking lot" -o ../../docs/images/cloud.png
	$(CLOUDS) balloon.jpg bridge.jpg cat.jpg lighthouse.jpg stadium.jpg -o ../../docs/images/contact_sheet.jpg

stubs: .venv-dev/.installed  ## write the stub of the compiled module anew
	.venv-dev/bin/python -m nanobind.stubgen -q -m lexlip_kernels._native -o kernels/lexlip_kernels/_native.pyi

clean:  ## remove environments and build results
	rm -rf .venv .venv-dev .venv-extras build demo-out

.venv/.installed: $(BUILD_INPUTS) $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -c constraints.txt .
	touch $@

# torch first and pinned: see constraints.txt. Triton (1 GB) is for its interpreter and compiler, which need no GPU.
.venv-dev/.installed: $(BUILD_INPUTS)
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install -q -c constraints.txt torch
	.venv-dev/bin/pip install -q -c constraints.txt -e '.[dev,export,triton]'
	touch $@

.venv-extras/.installed: $(BUILD_INPUTS)
	$(PYTHON) -m venv .venv-extras
	.venv-extras/bin/pip install -q -c constraints.txt torch
	.venv-extras/bin/pip install -q -c constraints.txt -e '.[test,anserini,ray,faiss,formats]'
	touch $@
