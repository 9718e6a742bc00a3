# SPDX-License-Identifier: Apache-2.0
#
# One Makefile for everything. `make help` lists the targets; the lists below say
# what is built from what, the rules after them how.
#
#   make [CC=clang] [SAN=address,undefined | SAN=thread] [WERROR=0] [V=1] [TARGET]

comma  := ,
O      ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(filter clang%,$(CC)),-clang)
PREFIX ?= /usr/local
# Services that start builds may have none.
export HOME := $(or $(HOME),$(shell getent passwd "$$(id -u)" | cut -d: -f6))
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sandbox
Q      := $(if $(V),,@)
VERSION := 0.1.0
.DEFAULT_GOAL := all

# ---- Debian packages -----------------------------------------------------------------------
# What `make setup` installs; the only list of it. QEMU is compared against, never used.
PKG_BUILD := gcc libc6-dev linux-libc-dev liburing-dev libfdt-dev libseccomp-dev libcap-ng-dev \
	libjansson-dev libarchive-dev libssl-dev musl-tools kconfig-frontends python3
PKG_GUEST := linux-source-6.12 flex bison bc libelf-dev libssl-dev xz-utils patch cpio \
	busybox-static e2fsprogs
PKG_TEST  := libcriterion-dev clang clang-tidy libclang-rt-14-dev llvm gcc-aarch64-linux-gnu \
	libc6-dev-arm64-cross shellcheck git fuse3 procps stress-ng erofs-utils skopeo openssh-client
# Unpacked by tests, never installed.
PKG_UNPACK := openssh-server libwrap0
# (npm may be there from elsewhere, with a node that keeps Debian's from being installed.)
PKG_LONG   = mmdebstrap xfsprogs $(if $(shell command -v npm),,npm)
PKG_BENCH := qemu-system-x86 qemu-system-common fio

# ---- configuration -------------------------------------------------------------------------
# Without a .config (made by menuconfig) the committed defconfig holds.
CONFIG := $(firstword $(wildcard .config) defconfig)
include $(CONFIG)

ifeq ($(CONFIG),.config)
.config: Kconfig
	$(Q)kconfig-conf --olddefconfig Kconfig >/dev/null && touch $@
endif
$(O)/config.h: $(CONFIG) FORCE
	@mkdir -p $(@D)
	@sed -n -e 's/^\(CONFIG_[A-Z0-9_]*\)=y$$/#define \1 1/p;t' \
		-e 's/^\(CONFIG_[A-Z0-9_]*\)=\(.*\)/#define \1 \2/p' $(CONFIG) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# ---- what is built -------------------------------------------------------------------------
# The host's library: everything but main(); a program links what it uses of it.
obj-y := $(addprefix vmm/,base.o log.o gmem.o bucket.o quota.o loop.o bus.o virtq.o virtio.o virtio_mmio.o virtio_state.o \
	vmgenid.o jail.o jail_fs.o jail_seal.o jail_filters.o landlock.o conf.o conf_disk.o kvm.o vcpu.o board.o blob.o state_x86.o control.o entry_x86.o emul_x86.o) devices/registry.o
obj-$(CONFIG_VIRTIO_BALLOON) += devices/balloon.o
obj-$(CONFIG_VIRTIO_BLK) += $(addprefix devices/,blk.o blk_req.o blk_io.o blk_open.o)
obj-$(CONFIG_VIRTIO_CONSOLE) += devices/console.o
obj-$(CONFIG_VIRTIO_FS) += devices/fs.o
obj-$(CONFIG_VIRTIO_RNG) += devices/rng.o
obj-$(CONFIG_VIRTIO_VSOCK) += $(addprefix devices/,vsock.o vsock_conn.o vsock_flow.o vsock_host.o)
obj-y += $(patsubst %.c,%.o,$(wildcard firmware/*.c))
obj-y += $(patsubst %.c,%.o,$(filter-out devices/fs/main.c,$(wildcard devices/fs/*.c)))
obj-y += $(patsubst %.c,%.o,$(filter-out agent/main.c,$(wildcard agent/*.c agent/client/*.c)))

# Programs: NAME-src are the files with main() and what only this program needs.
PROGRAM_NAMES   := sandbox-vmm sandbox-fsd sandbox guestctl
sandbox-vmm-src := vmm/main.c vmm/vm.c vmm/snapshot.c vmm/save.c vmm/inspect.c
sandbox-fsd-src := devices/fs/main.c
sandbox-src     := $(wildcard cli/*.c cli/*/*.c)
sandbox-libs    := -ljansson
guestctl-src    := tests/vm/guestctl.c
LIBS_HOST       := -luring -lfdt -lcap-ng

# Where marks of system calls are looked for (docs/jail.md).
JAIL_SRC := $(filter-out vmm/jail_filters.c,$(patsubst %.o,%.c,$(filter vmm/% devices/%,$(obj-y)))) \
	$(sandbox-vmm-src) $(wildcard devices/fs/*.c)

# The agent: static, against musl, nothing shared with the host but the protocol.
AGENT_CC  := musl-gcc
AGENT_SRC := $(wildcard agent/*.c)

# Static programs that tests put into a guest.
GUEST_TESTS := $(addprefix $(O)/tests/vm/,avx_state dirty_pages guest_features) \
	$(O)/tests/fs/posix
avx_state-src      := tests/vm/avx_state.c
dirty_pages-src    := tests/vm/dirty_pages.c
guest_features-src := $(wildcard tests/vm/guest_features*.c)
posix-src          := $(wildcard tests/fs/posix*.c)

BARE_GUESTS := $(addprefix $(O)/tests/vm/bare-,hang reset triple poweroff panic flood say)

# Guest programs for user mode, without a kernel, and what they have in common.
DRIVER_SRC  := tests/vm/driver_start.S tests/vm/driver.c
USER_GUESTS := $(addprefix $(O)/tests/vm/,hostile busy)
hostile-src := $(wildcard tests/vm/hostile*.c)
busy-src    := $(wildcard tests/vm/busy*.c)
blk-src     := bench/guest/blk.c

UNIT_SRC := $(wildcard tests/unit/*.c)
FUZZERS  := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# ---- flags ---------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough \
	-Wswitch-enum -Wnull-dereference $(if $(filter 0,$(WERROR)),,-Werror)
CFLAGS_BASE = -std=gnu17 -D_GNU_SOURCE -I. -DSANDBOX_VERSION='"$(VERSION)"' -g -fno-common \
	-fstack-protector-strong $(WARN) -MMD -MP
CFLAGS_ALL = $(CFLAGS_BASE) -include $(O)/config.h -O2 -fPIE \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer, \
		-D_FORTIFY_SOURCE=2) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,-z,noexecstack -pthread $(if $(SAN),-fsanitize=$(SAN)) \
	$(LDFLAGS)
# musl has no copy of the kernel's headers; links to them stand in for one.
CFLAGS_MUSL = $(CFLAGS_BASE) -isystem $(O)/musl/include -Os -static -ffunction-sections \
	-fdata-sections
LDFLAGS_MUSL = -static -Wl,--gc-sections,-z,relro,-z,now,-z,noexecstack

# Rewritten when a command line changes, so that what was compiled by it is made again.
FLAGS_TEXT = $(subst ','\'',$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(AGENT_CC) $(CFLAGS_MUSL))
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS_TEXT)' | cmp -s - $@ || echo '$(FLAGS_TEXT)' >$@

# ---- how: the host's side ------------------------------------------------------------------
LIBHOST := $(O)/libhost.a
PROGRAMS := $(addprefix $(O)/,$(PROGRAM_NAMES))
AGENT := $(if $(AGENT_SRC),$(O)/agent/agent)

# The same program, under the name by which git finds it.
GIT_HELPER := $(O)/git-remote-sandbox
$(GIT_HELPER): | $(O)/sandbox
	@ln -sf sandbox $@

all: $(LIBHOST) $(PROGRAMS) $(AGENT) $(GIT_HELPER)

$(O)/%.o: %.c $(O)/config.h $(O)/flags
	@mkdir -p $(@D); echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c $< -o $@

# Marks -> rules -> filters.
$(O)/gen/jail_rules.h: $(JAIL_SRC) vmm/seccomp/marks.py
	@mkdir -p $(@D); echo "  MARKS   $@"
	$(Q)vmm/seccomp/marks.py list $(JAIL_SRC) >$(@D)/calls.txt
	$(Q)vmm/seccomp/marks.py rules $(JAIL_SRC) >$@

$(O)/gen/compile: vmm/seccomp/compile.c $(O)/gen/jail_rules.h vmm/jail_filters.h vmm/jail.h
	@echo "  CC      $@"
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -I. -I$(O)/gen $(WARN) -O1 $< -lseccomp -o $@

$(O)/vmm/jail_filters.o: $(O)/gen/compile $(O)/config.h $(O)/flags
	@mkdir -p $(@D); echo "  FILTERS $@"
	$(Q)$< $(if $(SAN),--sanitizer) >$(O)/gen/jail_filters.c
	$(Q)$(CC) $(CFLAGS_ALL) -c $(O)/gen/jail_filters.c -o $@

$(LIBHOST): $(addprefix $(O)/,$(obj-y))
	@rm -f $@; echo "  AR      $@"
	$(Q)$(AR) rcs $@ $^

define program
$(O)/$(1): $(patsubst %.c,$(O)/%.o,$($(1)-src)) $(LIBHOST)
	@echo "  LINK    $$@"
	$(Q)$(CC) $(LDFLAGS_ALL) $$^ $(LIBS_HOST) $$($(1)-libs) -o $$@
endef
$(foreach p,$(PROGRAM_NAMES),$(eval $(call program,$(p))))

# ---- how: the guest's side -----------------------------------------------------------------
$(O)/musl/include:
	@mkdir -p $@
	@ln -sfn /usr/include/linux $@/linux; ln -sfn /usr/include/asm-generic $@/asm-generic
	@ln -sfn /usr/include/$$($(CC) -print-multiarch)/asm $@/asm

$(O)/musl/%.o: %.c $(O)/flags | $(O)/musl/include
	@mkdir -p $(@D); echo "  CC-MUSL $<"
	$(Q)$(AGENT_CC) $(CFLAGS_MUSL) -c $< -o $@

$(O)/agent/agent: $(patsubst %.c,$(O)/musl/%.o,$(AGENT_SRC))
	@mkdir -p $(@D); echo "  LINK    $@"
	$(Q)$(AGENT_CC) $(LDFLAGS_MUSL) $^ -o $@

$(O)/tests/vm/guest_features: $(O)/musl/tests/vm/guest_features_io.o
define guest_program
$(O)/$(1): $(patsubst %.c,$(O)/musl/%.o,$($(notdir $(1))-src))
	@mkdir -p $$(@D); echo "  LINK    $$@"
	$(Q)$(AGENT_CC) $(LDFLAGS_MUSL) $$^ -o $$@
endef
$(foreach p,$(GUEST_TESTS:$(O)/%=%),$(eval $(call guest_program,$(p))))

$(BARE_GUESTS): $(O)/tests/vm/bare-%: tests/vm/bare.S
	@mkdir -p $(@D); echo "  AS      $@"
	$(Q)$(CC) -nostdlib -static -no-pie -Wl,-Ttext-segment=0x1000000,--build-id=none \
		-D$$(echo $* | tr a-z A-Z) $< -o $@

# No vector registers, no library.
define user_guest
$(O)/$(1): $(DRIVER_SRC) $($(notdir $(1))-src) $(wildcard tests/vm/*.h)
	@mkdir -p $$(@D); echo "  CC-BARE $$@"
	$(Q)$(CC) -std=gnu17 -I. -O2 $(WARN) -ffreestanding -fno-stack-protector -fno-pic -fno-pie \
		-mgeneral-regs-only -mno-red-zone -fcf-protection=none -nostdlib -static \
		-Wl,-Ttext-segment=0x1000000,--build-id=none $$(filter %.S %.c,$$^) -o $$@
endef
$(foreach p,$(USER_GUESTS:$(O)/%=%) bench/guest/blk,$(eval $(call user_guest,$(p))))

# The kernel is built in the cache folder, once for each state of its inputs.
GUEST_KERNEL := $(O)/guest/bzImage $(O)/guest/vmlinux
GUEST_INITRD := $(O)/guest/initramfs.cpio
guest: $(GUEST_KERNEL) $(GUEST_INITRD)

$(GUEST_KERNEL) &: $(wildcard guest/build-kernel.sh guest/kernel.config guest/patches/*)
	@mkdir -p $(@D); echo "  KERNEL  $(@D)"
	$(Q)guest/build-kernel.sh >$(@D)/kernel.path
	$(Q)dir=$$(tail -n 1 $(@D)/kernel.path) && cp "$$dir/vmlinux" "$$dir/bzImage" $(@D)

$(GUEST_INITRD): guest/build-initramfs.sh $(O)/agent/agent
	@mkdir -p $(@D); echo "  INITRD  $@"
	$(Q)guest/build-initramfs.sh $@ $(O)/agent/agent

# ---- the two commands of the README --------------------------------------------------------
# `setup` first, then the rest in a second make: nothing may be compiled before it.
RUN = $(O)/sandbox run -- sh -c 'echo "Hello from $$(uname -sr) on $$(nproc) CPU"'
run: setup
	+$(Q)$(MAKE) --no-print-directory all guest
	@printf '+ %s\n' '$(subst ','\'',$(RUN))'
	@$(RUN)

test: fetch
	+$(Q)O=$(O) CACHE='$(CACHE)' MAKE=$(MAKE) tests/run.sh

# The same tests, and what takes hours of them.
test-long: fetch
	@tests/setup.sh $(PKG_LONG)
	+$(Q)TEST_LONG=1 FUZZ_SECONDS=600 O=$(O) CACHE='$(CACHE)' MAKE=$(MAKE) tests/run.sh

setup:
	@tests/setup.sh $(PKG_BUILD) $(PKG_GUEST) $(PKG_TEST)

fetch: setup
	@tests/fetch.sh '$(CACHE)/packages' $(PKG_UNPACK)

# ---- tests ---------------------------------------------------------------------------------
$(O)/unit: $(patsubst %.c,$(O)/%.o,$(UNIT_SRC) $(filter-out cli/main.c,$(sandbox-src))) $(LIBHOST) | $(AGENT)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) $(sandbox-libs) -lcriterion -o $@

# Bounded proofs: all of a small world, against the words of a specification.
PROOFS := $(addprefix $(O)/tests/prove/,chain index range bucket)
$(O)/tests/prove/%: $(O)/tests/prove/%.o $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) -o $@
# Words that notice when they wrap are a matter of C++, which no other file here is.
$(O)/tests/prove/bucket: tests/prove/bucket.cc vmm/bucket.c vmm/bucket.h vmm/base.h $(O)/flags
	@mkdir -p $(@D); echo "  PROOF   $<"
	$(Q)clang++ -std=c++20 -O2 -Wall -Werror -Wno-c99-designator -I. -D_GNU_SOURCE $< -o $@

prove: $(PROOFS)
	$(Q)set -e; for p in $^; do $$p; done

# The same with a KVM: machines that never run, or run a few instructions.
UNIT_KVM_SRC := $(wildcard tests/vm/test_*.c) tests/unit/plain.c
$(O)/unit-kvm: $(patsubst %.c,$(O)/%.o,$(UNIT_KVM_SRC)) $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) -lcriterion -o $@

# A program that tries what the jail forbids.
JAIL_TESTS := $(addprefix $(O)/tests/jail/,walls record record-fsd killat fail.so \
	tell.so)
$(O)/tests/jail/fail.so: tests/jail/fail.c $(O)/flags
	@mkdir -p $(@D); echo "  CC      $@"
	$(Q)$(CC) $(CFLAGS_BASE) -O2 -fPIC -shared $< -o $@
$(O)/tests/jail/tell.so: tests/jail/tell.c tests/jail/tell.h $(O)/flags
	@mkdir -p $(@D); echo "  CC      $@"
	$(Q)$(CC) $(CFLAGS_BASE) -O2 -fPIC -shared $< -o $@
$(O)/tests/jail/record.o: $(O)/gen/jail_rules.h
$(O)/tests/jail/record.o: CFLAGS_ALL += -I$(O)/gen
$(O)/tests/jail/record-fsd: $(O)/tests/jail/record
	@ln -sf record $@
$(O)/tests/jail/record $(O)/tests/jail/killat: %: %.o
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ -o $@

$(O)/tests/jail/walls: $(addprefix $(O)/,tests/jail/walls.o tests/jail/world.o tests/jail/acts.o \
		cli/base/spawn.o cli/share/enclose.o) $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) -o $@

jail-test-build: $(JAIL_TESTS)

unit: $(O)/unit
	$(Q)$(O)/unit

vm-test: all guest vm-test-build
	$(Q)$(O)/unit-kvm
	$(Q)O=$(O) tests/vm/run.py $(if $(VMM),--vmm $(VMM)) $(T)

vm-test-build: $(O)/unit-kvm $(GUEST_TESTS) $(BARE_GUESTS) $(USER_GUESTS)

e2e: all guest
	$(Q)O=$(O) tests/run.sh e2e

lint: $(O)/config.h
	$(Q)O=$(O) tests/lint/lint.sh

# Firmware for arm64 is compiled with each change, though nothing here can run it.
ARM64_CC := aarch64-linux-gnu-gcc
ARM64_SRC := $(filter-out %_x86.c %/bzimage.c,$(wildcard firmware/*.c))
arm64: $(patsubst %.c,$(O)/arm64/%.o,$(ARM64_SRC))
$(O)/arm64/%.o: %.c $(O)/config.h $(O)/flags
	@mkdir -p $(@D); echo "  CC-ARM  $<"
	$(Q)$(ARM64_CC) $(CFLAGS_BASE) -include $(O)/config.h -O2 -idirafter /usr/include -c $< -o $@

# Fuzzers are a build of their own: every object instrumented, one binary each.
FUZZ_O := build-fuzz
FUZZ_CC ?= clang
FUZZ_SECONDS ?= 60
fuzz-build:
	+$(Q)$(MAKE) --no-print-directory O=$(FUZZ_O) CC="$(FUZZ_CC)" \
		SAN=fuzzer-no-link,address,undefined $(addprefix $(FUZZ_O)/,$(FUZZERS))
$(O)/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(filter %.o,$^) $(filter %.a,$^) $(LIBS_HOST) -o $@

# The reader of images is the command's.
$(O)/fuzz_image: $(addprefix $(O)/cli/,image/tree.o image/erofs.o image/tar.o base/lazy.o)
$(O)/fuzz_manifest: $(addprefix $(O)/cli/,image/oci.o image/tree.o image/tar.o base/sum.o base/lazy.o)
$(O)/fuzz_manifest: LIBS_HOST += -ljansson
# These have most of the command behind them.
$(O)/fuzz_keeper $(O)/fuzz_stored: $(patsubst %.c,$(O)/%.o,$(filter-out cli/main.c,$(sandbox-src)))
$(O)/fuzz_keeper $(O)/fuzz_stored: LIBS_HOST += $(sandbox-libs)

fuzz: fuzz-build
	$(Q)tests/fuzz/run.sh $(FUZZ_O) $(FUZZ_SECONDS) $(or $(FUZZER),$(FUZZERS))

BENCH_PARTS := bench/fuse_window.c bench/fuse_vhost.c
BENCH_TOOLS := $(patsubst %.c,$(O)/%,$(filter-out $(BENCH_PARTS),$(wildcard bench/*.c))) \
	$(O)/bench/guest/blk
$(O)/bench/fuse_trip: $(patsubst %.c,$(O)/%.o,$(BENCH_PARTS))
$(O)/bench/%: $(O)/bench/%.o $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) -o $@

bench: setup
	@tests/setup.sh $(PKG_BENCH)
	+$(Q)$(MAKE) --no-print-directory all guest $(BENCH_TOOLS)
	$(Q)O=$(O) bench/run $(BENCH)

# ---- install -------------------------------------------------------------------------------
# Quoted: a path with a space in it is one.
DEST    = '$(subst ','\'',$(DESTDIR)$(PREFIX))'
MANUALS = $(wildcard docs/*.[1-8])
install: all guest
	install -D -t $(DEST)/bin $(O)/sandbox
	ln -sf sandbox $(DEST)/bin/git-remote-sandbox
	install -D -t $(DEST)/libexec/sandbox $(O)/sandbox-vmm $(O)/sandbox-fsd
	install -D -m 644 -t $(DEST)/share/sandbox $(GUEST_KERNEL) $(GUEST_INITRD)
	for m in $(MANUALS); do install -D -m 644 -t $(DEST)/share/man/man$${m##*.} $$m; done
	umask 022 && mkdir -p $(DEST)/share/bash-completion/completions $(DEST)/share/zsh/site-functions
	umask 022 && $(O)/sandbox completion bash >$(DEST)/share/bash-completion/completions/sandbox
	umask 022 && $(O)/sandbox completion zsh >$(DEST)/share/zsh/site-functions/_sandbox

uninstall:
	rm -f $(DEST)/bin/sandbox $(DEST)/bin/git-remote-sandbox \
		$(DEST)/share/bash-completion/completions/sandbox \
		$(DEST)/share/zsh/site-functions/_sandbox
	rm -rf $(DEST)/libexec/sandbox $(DEST)/share/sandbox
	for m in $(MANUALS); do rm -f $(DEST)/share/man/man$${m##*.}/$${m##*/}; done

# ---- the rest ------------------------------------------------------------------------------
menuconfig:
	@[ -e .config ] || cp defconfig .config
	kconfig-mconf Kconfig

savedefconfig:
	kconfig-conf --savedefconfig defconfig Kconfig

clean:
	rm -rf build build-*

help:
	$(info $(HELP))
	@:

define HELP
Targets
  all            sandbox, sandbox-vmm and the agent, in build/
  run            install what is missing, build, start a sandbox and run a command in it
  test           install what is missing, build, run every test
  test-long      every test at full length: hours
  setup          only install what is missing
  unit           unit tests (Criterion; no KVM)
  prove          every small ring, range and bucket against a specification; half a minute
  vm-test        guests booted for real; VMM=path: another sandbox-vmm, T=name: one test
  e2e            the sandbox command from end to end
  lint           include rules, file headers, layout, static analysis
  arm64          compile the arm64 half
  fuzz           every fuzzer for FUZZ_SECONDS=60; FUZZER=fuzz_x: one
  bench          measure, and compare with peers
  guest          kernel and initramfs, in build/guest/
  menuconfig     choose devices and features (.config); savedefconfig keeps the choice
  install        to DESTDIR and PREFIX=/usr/local; uninstall
  clean          remove build/ and build-*/; the kernel stays in the cache folder
Variables
  SAN=address,undefined or SAN=thread, CC=clang, WERROR=0, V=1, O=folder
endef
FORCE:
.PHONY: prove jail-test-build all run test test-long setup fetch unit vm-test vm-test-build e2e lint arm64 fuzz-build fuzz bench guest \
	install uninstall menuconfig savedefconfig clean help FORCE
.SECONDARY:
.DELETE_ON_ERROR:
-include $(shell [ -d $(O) ] && find $(O) -name '*.d')
