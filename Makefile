# What a person types; `make help` lists it. CMake and ninja do the work, in the folder $(BUILD).
#
#   BUILD=folder         where to build (build)
#   CMAKE_FLAGS=...      more for cmake: -DMY_LLM_WERROR=ON, -DCMAKE_C_COMPILER=clang
#   PREFIX=folder        where `make install` puts things (/usr/local); DESTDIR=root for packagers

BUILD ?= build
CMAKE_FLAGS ?=
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
C_FILES = $(shell git ls-files '*.c' '*.h')

PYTEST = PYTHONDONTWRITEBYTECODE=1 MY_LLM_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -p no:cacheprovider

.PHONY: build help run test check check-c check-python deps deps-dev lint format install uninstall clean
.DEFAULT_GOAL := build

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: $(BUILD)/build.ninja ## build the program, build/my-llm, and the libraries (what `make` alone does)
	@ninja -C $(BUILD)

# ninja itself runs cmake again when its files change. A configuration that failed leaves no build.ninja.
$(BUILD)/build.ninja:
	@cmake -G Ninja -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS) || \
	    { rm -f $@; echo "Is something missing? 'make deps' installs what the build needs." >&2; exit 1; }

# "deps" first, also under -j: a build without its packages would fail.
run: deps ## install what is missing, build, write a sample; at a terminal, go on to the prompt
	@$(MAKE) --no-print-directory build
	@$(BUILD)/my-llm generate -m bundled --interactive "Once upon a time"

test: deps ## install what is missing, build, run all tests
	@$(MAKE) --no-print-directory check

check: check-c check-python ## the tests alone, on what is installed

check-c: build ## ... those in C
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

check-python: build ## ... those of the program, in Python
	@$(PYTEST) tests

deps: ## install what building and testing need (Debian, Ubuntu)
	@sh tools/deps.sh

deps-dev: ## ... and what `make lint` and .ci/run need
	@sh tools/deps.sh --dev

lint: $(BUILD)/build.ninja ## clang-format, clang-tidy, cppcheck
	@ninja -C $(BUILD) gpt2_merges.c
	@clang-format --dry-run -Werror $(C_FILES)
	@git ls-files 'src/*.c' ':!*_tmpl.c' | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet --warnings-as-errors='*' 2>/dev/null
	@cppcheck --project=$(BUILD)/compile_commands.json -j $(JOBS) --quiet --error-exitcode=1 --inline-suppr \
	    --file-filter='*src/*' --enable=warning,performance,portability --std=c17
	@echo "lint: nothing found in $(words $(C_FILES)) files"

format: ## let clang-format rewrite what it would complain about
	@clang-format -i $(C_FILES)

install: build ## put program, manual, completions, libraries, header and bundled model under PREFIX
	@cmake -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(BUILD) > /dev/null && ninja -C $(BUILD) > /dev/null
	@cmake --install $(BUILD)

uninstall: ## remove what `make install` put there
	@ninja -C $(BUILD) uninstall

clean: ## remove what was built
	@rm -rf $(BUILD)
