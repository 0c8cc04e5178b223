#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# bundle.sh DIR: what doctor --measure needs on a host, in the new directory DIR. For scripts/doctor, which has the usage.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$VPMU_ROOT/scripts/artefacts.sh"
. "$VPMU_ROOT/scripts/machine.sh"

dir=$1
[[ ! -e $dir ]] || die "$dir exists already" "name a directory that does not"

# Into the directory $1: the guest's files of the L1 that would boot them, with what doctor has it run
guest()
{
	local at=$1

	mkdir "$at/root"
	(cd "$at/root" && busybox cpio -i -d 'l2/bzImage' 'l2/initrd.cpio' <"$ROOTFS_DIR/initrd.cpio" 2>/dev/null)
	mv "$at/root/l2/bzImage" "$at/vmlinuz"
	mkdir -p "$at/root/first/vpmu"
	install -m 755 "$VPMU_ROOT/rig/guest/measure" "$at/root/first/vpmu/run"
	{
		cat "$at/root/l2/initrd.cpio"
		_cpio_list "$at/root/first" | "$ROOTFS_DIR/gen_init_cpio" -t 0 -
	} >"$at/initrd.cpio"
	rm -rf "$at/root"
}

# The selftests of the series, and the libraries that they load: the host's may be older.
selftests()
{
	local at=$1 f

	mkdir -p "$at/lib"
	cp "$SELFTESTS_DIR"/passthrough_pmu_* "$at/"
	while read -r f; do
		[[ $f == "$at/"* ]] || cp -L "$f" "$at/lib/"
	done < <(_with_libraries "$at"/passthrough_pmu_*)
}

make_bundle()
{
	local at=$1

	guest "$at"
	selftests "$at/selftests"
	cp "$TESTS_DIR/bench/exits" "$at/exits"
	install -m 755 "$VPMU_ROOT/scripts/doctor" "$at/doctor"
	cat >"$at/README" <<-END
		What doctor --measure needs, see ./doctor --help: a guest (vmlinuz, initrd.cpio), a program that times exits,
		and the selftests of the passthrough vPMU for Linux 6.12. The checkout that made it, version
		$(git -C "$VPMU_ROOT" describe --always --dirty 2>/dev/null || echo unknown), has the sources, or the versions of Debian's packages that they come from
		($(dpkg-query -W -f '${Package} ${Version}, ' busybox-static libc6 linux-libc-dev | sed 's/, $//')).
	END
}

steps 2
step "the kernel, perf, selftests and the guest's file system"
machine_trees tcg-amd
artefact_kernel patched
artefact_rootfs "$KERNEL_DIR"
step "the bundle"
mkdir -p "$(dirname "$dir")"
tmp=$(mktemp -d "$dir.tmp.XXXXXX") || die "cannot write beside $dir"
on_exit rm -rf -- "$tmp"
run bundle make_bundle "$tmp"
chmod 755 "$tmp"
mv -T -- "$tmp" "$dir"
info "$dir: $(du -sh "$dir" | cut -f 1). Copy it to a host that runs the patched kernel, and there, as root: $(basename "$dir")/doctor --measure"
