# SPDX-License-Identifier: MIT
# A front for Meson: one target for each thing that people do here. Each does
# its own set-up; when nothing is missing, that takes a fraction of a second.

BUILD := build
SAN := build/san
PREFIX ?= /usr/local
ARGS ?=

all: build

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

# Meson notices its own changed files; only the first configuration is ours.
$(BUILD)/build.ninja:
	@scripts/setup build
	@meson setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mkdir -p $(BUILD) && mv $(BUILD).log $(BUILD)/setup.log

# The microhypervisor alone (make build makes it, too): build/hv/mullion.elf, and for UEFI mullion.efi.
hv: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet hv/mullion.elf hv/mullion.efi

# An interactive shell in a VM that runs Debian's kernel.
run:
	@scripts/setup run
	@$(MAKE) --no-print-directory build
	@scripts/images default
	@exec $(BUILD)/mullion run $(ARGS)

# The microhypervisor in an emulated PC, with a primary VM and a guest in it.
run-metal:
	@scripts/setup metal
	@$(MAKE) --no-print-directory build
	@scripts/images default
	@exec scripts/run-metal $(ARGS)

# Everything that can fail; the last line counts.
test:
	@scripts/setup test metal
	@$(MAKE) --no-print-directory build
	@scripts/images all
	@tests/run $(ARGS)

# The fuzzers, a minute each; ARGS='600 pci' says how long, and which.
fuzz:
	@scripts/setup test
	@tests/fuzz/run $(ARGS)

# 50 boots in a row, then 20 minutes of mixed work in one guest.
soak:
	@scripts/setup test
	@$(MAKE) --no-print-directory build
	@tests/soak $(ARGS)

# The same work natively, here and under QEMU TCG, side by side.
bench:
	@scripts/setup bench
	@$(MAKE) --no-print-directory build
	@scripts/images bench
	@bench/run $(ARGS)

images:
	@scripts/setup run
	@scripts/images all

# The program, its manual pages, completion, the schema of VM files, and the default VM's kernel and initramfs.
install: build
	@scripts/setup run
	@scripts/images default
	@meson configure $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD) --quiet
	@meson install -C $(BUILD) --no-rebuild --quiet
	@install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/mullion images/vmlinuz-cloud images/initrd.img guest/build-debian
	@$(BUILD)/mullion schema >$(BUILD)/vm.schema.json
	@install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/mullion $(BUILD)/vm.schema.json
	@$(BUILD)/mullion completion bash >$(BUILD)/completion.bash
	@install -D -m 644 $(BUILD)/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/mullion

# Names for editors, manual pages, and how much of the code the tests reach.
tags:
	@scripts/setup dev-tags
	@ctags -R --languages=C --exclude=build --exclude=images .

man:
	@scripts/setup dev-man
	@scripts/check-man

coverage:
	@scripts/setup dev-coverage
	@scripts/coverage

format:
	@scripts/setup dev-format
	@git ls-files -co --exclude-standard '*.[ch]' ':!bench/data' | xargs clang-format -i

check:
	@scripts/check-all

clean:
	@rm -rf build build-clang tags coverage

.PHONY: all build hv run run-metal test fuzz soak bench images install tags man coverage format check clean
