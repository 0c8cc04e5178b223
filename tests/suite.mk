# SPDX-License-Identifier: GPL-2.0-only
#
# What the Makefiles of suites have in common:
#
#	make -C tests/SUITE [KDIR=<kernel build>] O=<directory>
#
# puts all that the suite needs on the emulated machine into O: programs, which are static, kernel modules (without KDIR:
# none), the script `run`. To be included first. The recipe build_modules makes the modules of module_sources, with the
# kernel build in KDIR, and puts them into O.

O ?= $(CURDIR)/out
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2

.DEFAULT_GOAL := all
.PHONY: all

$(O):
	mkdir -p $@

$(O)/run: run | $(O)
	cp $< $@

# Kernel builds leave their objects beside the sources: they get a copy. O means something else to them, hence the
# clean environment.
define build_modules
rm -rf $(O)/.module
mkdir -p $(O)/.module
cp $(module_sources) $(O)/.module/
env -u MAKEFLAGS -u MAKEOVERRIDES -u O make -C $(KDIR) M=$(abspath $(O))/.module CC='$(CC)' W=1 modules
strip --strip-debug $(O)/.module/*.ko
mv $(O)/.module/*.ko $(O)/
rm -rf $(O)/.module
endef
