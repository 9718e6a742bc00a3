# SPDX-License-Identifier: Apache-2.0
#
# One Makefile for everything. `make help` lists the targets; the lists below say
# what is built from what, the rules after them how.
#
#   make [CC=clang] [SAN=address,undefined | SAN=thread] [WERROR=0] [V=1] [TARGET]

comma  := ,
O      ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(filter clang%,$(CC)),-clang)
PREFIX ?= /usr/local
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sandbox
Q      := $(if $(V),,@)
VERSION := 0.1.0
.DEFAULT_GOAL := all

# ---- configuration -------------------------------------------------------------------------
-include .config

.config: | defconfig
	@cp defconfig $@
$(O)/config.h: .config Kconfig
	@mkdir -p $(@D)
	@{ echo '/* made from .config */'; sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=y$$/#define \1 1/p' .config; } >$@
menuconfig: .config
	kconfig-mconf Kconfig

# ---- what is built -------------------------------------------------------------------------
# The host's library: everything but main(); a program links what it uses of it.
obj-y := $(addprefix vmm/,base.o log.o gmem.o loop.o bus.o virtq.o virtio.o virtio_mmio.o \
	conf.o kvm.o vcpu.o board.o entry_x86.o emul_x86.o) devices/registry.o
obj-$(CONFIG_VIRTIO_CONSOLE) += devices/console.o
obj-$(CONFIG_VIRTIO_RNG) += devices/rng.o
obj-y += $(patsubst %.c,%.o,$(wildcard firmware/*.c))
obj-y += $(patsubst %.c,%.o,$(wildcard agent/proto.c agent/client*.c))

# Programs: NAME-src are the files with main() and what only this program needs.
sandbox-vmm-src := vmm/main.c vmm/vm.c
sandbox-src     :=
LIBS_HOST       := -luring -lfdt

# The agent: static, against musl, nothing shared with the host but the protocol.
AGENT_CC  := musl-gcc
AGENT_SRC := $(filter-out agent/client%.c,$(wildcard agent/*.c))

UNIT_SRC := $(wildcard tests/unit/*.c)
FUZZERS  := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# ---- how -----------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough \
	-Wswitch-enum -Wnull-dereference $(if $(filter 0,$(WERROR)),,-Werror)
CFLAGS_ALL = -std=gnu17 -D_GNU_SOURCE -I. -include $(O)/config.h -O2 -g -fno-common -fPIE -DSANDBOX_VERSION='"$(VERSION)"' \
	-fstack-protector-strong $(WARN) -MMD -MP \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now,-z,noexecstack -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

LIBHOST := $(O)/libhost.a
PROGRAMS := $(foreach p,sandbox-vmm sandbox,$(if $($(p)-src),$(O)/$(p)))

all: $(LIBHOST) $(PROGRAMS)

$(O)/%.o: %.c $(O)/config.h
	@mkdir -p $(@D); echo "  CC      $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c $< -o $@

$(LIBHOST): $(addprefix $(O)/,$(obj-y))
	@rm -f $@; echo "  AR      $@"
	$(Q)$(AR) rcs $@ $^

define program
$(O)/$(1): $(patsubst %.c,$(O)/%.o,$($(1)-src)) $(LIBHOST)
	@echo "  LINK    $$@"
	$(Q)$(CC) $(LDFLAGS_ALL) $$^ $(LIBS_HOST) -o $$@
endef
$(foreach p,sandbox-vmm sandbox,$(eval $(call program,$(p))))

# ---- tests ---------------------------------------------------------------------------------
$(O)/unit: $(patsubst %.c,$(O)/%.o,$(UNIT_SRC)) $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_HOST) -lcriterion -o $@

unit: $(O)/unit
	$(Q)$(O)/unit

# Fuzzers are a build of their own: every object instrumented, one binary each.
FUZZ_O := build-fuzz
FUZZ_CC ?= clang
fuzz-build:
	+$(Q)$(MAKE) --no-print-directory O=$(FUZZ_O) CC=$(FUZZ_CC) SAN=fuzzer-no-link,address,undefined \
		$(addprefix $(FUZZ_O)/,$(FUZZERS))
$(O)/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(LIBHOST)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ $(LIBS_HOST) -o $@

clean:
	rm -rf build build-*

.PHONY: all menuconfig unit fuzz-build clean
.SECONDARY:
-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d)
