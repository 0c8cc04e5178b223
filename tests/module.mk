# SPDX-License-Identifier: GPL-2.0-only
#
# For suites with kernel modules: the recipe build_modules makes those of module_sources, with the kernel build in
# KDIR, and puts them into O.
#
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
