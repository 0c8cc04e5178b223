# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Everything that is built from the work trees to boot the emulated machine.  Each function
# below publishes a directory in the cache, named after the content that it was built from,
# and leaves the directory's name in a variable:
#
#   artefact_kernel patched|base|debug|coverage|peer	KERNEL_DIR	bzImage, modules (lib/modules), config
#   artefact_deb FILE		KERNEL_DIR	the same of a package linux-image, of the modules those that KVM needs
#   artefact_bochs patched|base	BOCHS_DIR	bochs
#   artefact_qemu		QEMU_DIR	vmrun.so, to be preloaded into QEMU where it emulates AMD hosts
#   artefact_perf			PERF_DIR	perf, static
#   artefact_selftests		SELFTESTS_DIR	the kernel's KVM selftests
#   artefact_tests		TESTS_DIR	programs of tests/* and bench, static
#   artefact_guest_kernel	GUEST_KERNEL_DIR	vmlinuz: Debian 12's kernel for clouds, as a guest's
#   artefact_rootfs KERNEL_DIR [GUEST_KERNEL_DIR]
#				ROOTFS_DIR	initrd.cpio: what L1 boots into, L2 inside it
#
# "base" is the pristine source, for comparison; "debug" the patched one with the checks of kernel.debug.config,
# "coverage" the patched one that counts (gcov) which lines of the series' own files are executed. To be
# called in the script's own shell (they use `run`). LINUX_TREE= and BOCHS_TREE= name work trees other than build/linux
# and build/bochs; what is built is the content of the work tree, edits that are not committed included.

export CCACHE_DIR=$VPMU_CACHE/ccache
export CCACHE_BASEDIR=$VPMU_ROOT CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
export KBUILD_BUILD_USER=vpmu KBUILD_BUILD_HOST=vpmu KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
_jobs=$(nproc)

linux_tree() { printf '%s\n' "${LINUX_TREE:-$(tree_dir linux)}"; }
bochs_tree() { printf '%s\n' "${BOCHS_TREE:-$(tree_dir bochs)}"; }

# source_tree DIR patched|base: git's name of the tree object with the content of the work tree,
# or of the tag (or branch) "base" in it.
source_tree()
{
	local dir=$1 index

	[[ -e $dir/.git ]] || die "$dir is not a git work tree" "./vpmu tree"
	if [[ $2 == base ]]; then
		git -C "$dir" rev-parse 'base^{tree}'
		return
	fi
	index=$(mktemp)
	cp "$(git -C "$dir" rev-parse --path-format=absolute --git-path index)" "$index"
	GIT_INDEX_FILE=$index git -C "$dir" add -A
	GIT_INDEX_FILE=$index git -C "$dir" write-tree
	rm -f "$index"
}

# source_part DIR TREE PATH...: the objects that stand at these paths; a path with ! before it is
# left out of the one above it.  The content key of what is built from a part of the source.
source_part()
{
	local dir=$1 tree=$2 path without=() paths=()

	shift 2
	for path; do
		case $path in
		!*) without+=("${path#!}") ;;
		*) paths+=("$path") ;;
		esac
	done
	git -C "$dir" ls-tree "$tree" "${paths[@]}" | while read -r _ _ object path; do
		case " ${without[*]-} " in
		*" $path "*) ;;
		*) printf '%s %s\n' "$object" "$path" ;;
		esac
	done
}

# source_checkout DIR TREE patched|base NAME: a directory with the source in SOURCE: the work tree
# itself, or the base's files in build/base/NAME.  Seen from a build directory beside it, that has the
# same name as the work tree from its build directory, so that ccache knows what both have in common.
source_checkout()
{
	SOURCE=$1
	[[ $3 == base ]] || return 0
	SOURCE=$VPMU_BUILD/base/$4
	if [[ $(cat "$SOURCE/.vpmu-tree" 2>/dev/null) != "$2" ]]; then
		rm -rf "$SOURCE"
		mkdir -p "$SOURCE"
		git -C "$1" archive "$2" | tar -x -C "$SOURCE"
		printf '%s\n' "$2" >"$SOURCE/.vpmu-tree"
	fi
}

compiler_key() { gcc --version | head -n 1; ld --version | head -n 1; }

_kernel_args=(ARCH=x86 CC='ccache gcc' LOCALVERSION= KCONFIG_NOSILENTUPDATE=1)

# ---- kernel ----

# The series' new files, by the objects' names as Makefiles have them, which others in the tree may have as well: those of
# arch/x86/kvm are all in its own Makefile.
_coverage_args()
{
	find "$VPMU_ROOT/arch" "$VPMU_ROOT/kernel" -name '*.c' ! -name '*_kunit.c' -printf '%P\n' |
		sed -e 's|^x86/kvm/||; t end' -e 's|.*/||' -e ': end' -e 's|\(.*\)\.c$|GCOV_PROFILE_\1.o=y|' | sort -u
}

# kernel_config patched|base|debug|coverage|peer: what the kernel's configuration has beyond allnoconfig
kernel_config()
{
	if [[ $1 != debug ]]; then
		cat "$VPMU_ROOT/kernel.config"
		# KVM_CREATE_IRQCHIP: an option in later kernels, without which KVM makes no VM of ours.
		[[ $1 != peer ]] || echo CONFIG_KVM_IOAPIC=y
		[[ $1 != coverage ]] || echo CONFIG_GCOV_KERNEL=y
		return
	fi
	# Of two lines about a symbol the second counts.
	awk -F = '{ if (/^CONFIG_/) { if (!($1 in line)) order[++n] = $1; line[$1] = $0 } }
		END { for (i = 1; i <= n; i++) print line[order[i]] }' "$VPMU_ROOT/kernel.config" \
		"$VPMU_ROOT/kernel.debug.config"
}

# The build directory of a kernel, beside its source
_kernel_obj()
{
	if [[ $1 == base ]]; then
		printf '%s\n' "$VPMU_BUILD/base/kernel"
	else
		printf '%s\n' "$VPMU_BUILD/kernel-$1"
	fi
}

# Configures the kernel $3 in the build directory $2.
_configure_kernel()
{
	local src=$1 obj=$2 which=$3

	mkdir -p "$obj"
	rm -f "$obj/.vpmu-key"
	kernel_config "$which" >"$obj/vpmu.config"
	make -C "$src" O="$obj" "${_kernel_args[@]}" KCONFIG_ALLCONFIG="$obj/vpmu.config" allnoconfig
	_check_config "$src" "$obj"
}

# Each line of it must have come through: a renamed symbol or a new dependency would drop it
# silently. Symbols that the pristine source does not have are the series' own. A peer need not have all.
_check_config()
{
	local src=$1 config=$2/.config line symbol

	while read -r line; do
		[[ $line == CONFIG_*=* ]] || continue
		symbol=${line%%=*}
		if [[ $line == *=n ]]; then
			! grep -q "^$symbol=" "$config" || _config_lacks "$line"
		elif ! grep -qxF "$line" "$config"; then
			! grep -rqE "config ${symbol#CONFIG_}\$" --include='Kconfig*' "$src/arch/x86" "$src/init" \
				"$src/kernel" "$src/lib" "$src/mm" "$src/drivers" "$src/virt" "$src/fs" "$src/net" ||
				_config_lacks "$line"
		fi
	done <"$2/vpmu.config"
}

_config_lacks()
{
	if [[ $_kernel_which == peer ]]; then
		echo "the peer's configuration lacks '$1'"
	else
		die "kernel configuration: '$1' did not come through; .config says: $(grep -w "$symbol" "$config")"
	fi
}

_build_kernel()
{
	local src=$1 obj=$2 which=$3 key=$4 out=$5 image more=()

	_configure_kernel "$src" "$obj" "$which"
	[[ $which != coverage ]] || mapfile -t more < <(_coverage_args)
	make -C "$src" O="$obj" "${_kernel_args[@]}" ${more[@]+"${more[@]}"} -j"$_jobs" bzImage modules
	image=$(make -s -C "$src" O="$obj" "${_kernel_args[@]}" image_name)
	cp "$obj/$image" "$out/bzImage"
	cp "$obj/.config" "$out/config"
	cp "$obj/System.map" "$obj/Module.symvers" "$out/"
	make -C "$src" O="$obj" "${_kernel_args[@]}" INSTALL_MOD_PATH="$out" INSTALL_MOD_STRIP=1 modules_install
	rm -f "$out"/lib/modules/*/build "$out"/lib/modules/*/source
	if [[ $which == coverage ]]; then
		mkdir "$out/gcno"
		printf '%s\n' "$obj" "$(readlink -f "$src")" >"$out/gcno/objects"
		(cd "$obj" && find . -name '*.gcno' ! -type l -exec cp --parents {} "$out/gcno" \;)
	fi
	printf '%s\n' "$key" >"$obj/.vpmu-key"
}

artefact_kernel()
{
	local which=$1 dir tree part

	need ccache gcc make flex bison bc
	dir=$(linux_tree)
	_kernel_source=$dir
	case $which in
	debug | coverage) tree=$(source_tree "$dir" patched) ;;
	*) tree=$(source_tree "$dir" "$which") ;;
	esac
	part=$(source_part "$dir" "$tree" ./ !Documentation !MAINTAINERS !tools)
	part+=$(source_part "$dir" "$tree" tools/ !tools/testing !tools/perf)
	_kernel_which=$which
	_kernel_tree=$tree
	_kernel_key=$(content_key "$part" "$(kernel_config "$which")" "$(compiler_key)" \
		"$(declare -f _configure_kernel _build_kernel _coverage_args)")
	KERNEL_DIR=$VPMU_CACHE/kernel/${_kernel_key:0:16}
	! cached "$KERNEL_DIR" || return 0
	source_checkout "$dir" "$tree" "$which" linux
	[[ ! -e $SOURCE/.config ]] ||
		die "$SOURCE was configured in place, and so no kernel can be built from it elsewhere" \
			"make -C $SOURCE mrproper; builds of your own: make O=DIRECTORY"
	info "          building the $which kernel (a few minutes the first time)"
	hint "if the compiler fails, mend $SOURCE and run again"
	run "kernel-$which" publish "$KERNEL_DIR" _build_kernel "$SOURCE" "$(_kernel_obj "$which")" "$which" \
		"$_kernel_key"
}

# For modules of ours: makes sure that build/kernel-patched (kernel-debug, base/kernel) is the build directory of the
# kernel that artefact_kernel found, which may have come from the cache.
_kernel_build_dir()
{
	local obj

	obj=$(_kernel_obj "$_kernel_which")

	KERNEL_OBJ=$obj
	[[ $(cat "$obj/.vpmu-key" 2>/dev/null) != "$_kernel_key" ]] || return 0
	source_checkout "$_kernel_source" "$_kernel_tree" "$_kernel_which" linux
	_configure_kernel "$SOURCE" "$obj" "$_kernel_which"
	make -C "$SOURCE" O="$obj" "${_kernel_args[@]}" -j"$_jobs" modules_prepare
	cp "$KERNEL_DIR/Module.symvers" "$obj/"
	printf '%s\n' "$_kernel_key" >"$obj/.vpmu-key"
}

# Debian's modules are compressed, and modprobe of busybox does not expect that.
_unpack_deb()
{
	local deb=$1 out=$2 f release

	mkdir "$out/root"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$out/root" --wildcards './boot/*' '*/lib/modules/*/modules.*' \
		'*/lib/modules/*/kernel/arch/x86/kvm/*' '*/lib/modules/*/kernel/virt/lib/*'
	# What kvm-amd needs of it, if it is no built-in
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$out/root" --wildcards '*/lib/modules/*/kernel/drivers/crypto/ccp/*' \
		2>/dev/null || :
	cp "$out"/root/boot/vmlinuz-* "$out/bzImage"
	cp "$out"/root/boot/config-* "$out/config"
	cp "$out"/root/boot/System.map-* "$out/System.map"
	mkdir "$out/lib"
	mv "$(find "$out/root" -type d -path '*/lib/modules')" "$out/lib/modules"
	find "$out/lib/modules" -name '*.xz' -exec xz -d {} +
	release=$(ls "$out/lib/modules")
	for f in kvm kvm-intel kvm-amd; do
		[[ -n $(find "$out/lib/modules" -name "$f.ko") ]] || { echo "there is no $f.ko in $deb" >&2; return 1; }
	done
	depmod -b "$out" "$release"
	rm -rf "$out/root"
}

artefact_deb()
{
	local deb=$1

	need dpkg-deb depmod xz
	[[ -f $deb ]] || die "$deb does not exist" "./vpmu deb"
	[[ $(dpkg-deb -f "$deb" Package 2>/dev/null) == linux-image-* ]] || die "$deb is no package of a kernel's image" \
		"name a linux-image-*.deb"
	KERNEL_DIR=$VPMU_CACHE/kernel/deb-$(content_key @"$deb" "$(declare -f _unpack_deb)" | cut -c 1-16)
	! cached "$KERNEL_DIR" || return 0
	hint "$deb must be what ./vpmu deb makes, or Debian's linux-image-*-unsigned"
	run kernel-deb publish "$KERNEL_DIR" _unpack_deb "$deb"
}

# ---- Bochs ----

_bochs_configure=(
	--enable-cpu-level=6 --enable-x86-64 --enable-vmx=2 --enable-svm --enable-avx --enable-evex --enable-smp
	--enable-perfmon --enable-repeat-speedups --enable-fast-function-calls --enable-handlers-chaining
	--enable-all-optimizations --enable-pci --enable-long-phy-address --enable-monitor-mwait --with-nogui
	--without-x --without-wx --without-sdl --without-sdl2 --without-term --disable-debugger --disable-docbook
)

_build_bochs()
{
	local src=$1 obj=$2 out=$3

	# Configured in a copy: a work tree that was configured in place would be taken for the build.
	rm -rf "$obj"
	mkdir -p "$obj"
	if [[ -e $src/.git ]]; then
		git -C "$src" ls-files -z --cached --others --exclude-standard |
			tar -C "$src" --null -T - -c | tar -x -C "$obj"
	else
		cp -r "$src/." "$obj"
	fi
	(
		cd "$obj" || exit
		./configure CC='ccache gcc' CXX='ccache g++' CFLAGS=-O2 CXXFLAGS=-O2 "${_bochs_configure[@]}"
		make -j"$_jobs"
	)
	cp "$obj/bochs" "$out/bochs"
	strip "$out/bochs"
}

# Stock Bochs, which could not load L1's initramfs without this one patch.
_stock_bochs_tree()
{
	local index patch

	patch=$(echo "$VPMU_ROOT"/rig/bochs-patches/*-memory-load-an-optional-RAM-image-*.patch)
	index=$(mktemp)
	GIT_INDEX_FILE=$index git -C "$1" read-tree base
	GIT_INDEX_FILE=$index git -C "$1" apply --cached "$patch"
	GIT_INDEX_FILE=$index git -C "$1" write-tree
	rm -f "$index"
}

artefact_bochs()
{
	local which=$1 dir tree key

	need ccache g++ make
	dir=$(bochs_tree)
	if [[ $which == base ]]; then
		tree=$(_stock_bochs_tree "$dir")
	else
		tree=$(source_tree "$dir" "$which")
	fi
	key=$(content_key "$tree" "$(compiler_key)" "$(declare -f _build_bochs)" "${_bochs_configure[@]}")
	BOCHS_DIR=$VPMU_CACHE/bochs/${key:0:16}
	! cached "$BOCHS_DIR" || return 0
	source_checkout "$dir" "$tree" "$which" bochs
	info "          building the emulator, Bochs ($which, a few minutes the first time)"
	hint "if the compiler fails, mend $SOURCE and run again"
	run "bochs-$which" publish "$BOCHS_DIR" _build_bochs "$SOURCE" "$VPMU_BUILD/bochs-$which.obj"
}

# ---- QEMU ----

_build_qemu() { gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$1/vmrun.so" "$VPMU_ROOT/rig/qemu/vmrun.c"; }

artefact_qemu()
{
	need gcc
	QEMU_DIR=$VPMU_CACHE/qemu/$(content_key @"$VPMU_ROOT/rig/qemu" "$(compiler_key)" \
		"$(declare -f _build_qemu)" | cut -c 1-16)
	! cached "$QEMU_DIR" || return 0
	run qemu publish "$QEMU_DIR" _build_qemu
}

# ---- perf ----

_perf_args=(
	NO_LIBPERL=1 NO_LIBPYTHON=1 NO_SLANG=1 NO_GTK2=1 NO_LIBBPF=1 NO_LIBUNWIND=1
	NO_LIBDW_DWARF_UNWIND=1 NO_DWARF=1 NO_LIBNUMA=1 NO_LIBAUDIT=1 NO_LIBCRYPTO=1 NO_LIBBABELTRACE=1 NO_LIBCAP=1
	NO_LIBPFM4=1 NO_LIBDEBUGINFOD=1 NO_LZMA=1 NO_AIO=1 NO_SDT=1 NO_DEMANGLE=1 NO_JEVENTS=1
	NO_LIBZSTD=1 NO_JVMTI=1 NO_CAPSTONE=1 NO_SHELLCHECK=1
	NO_BACKTRACE=1 BUILD_BPF_SKEL=0 WERROR=0 LDFLAGS=-static
)

_build_perf()
{
	local src=$1 obj=$2 out=$3

	mkdir -p "$obj"
	make -C "$src/tools/perf" O="$obj" CC='ccache gcc' HOSTCC='ccache gcc' "${_perf_args[@]}" -j"$_jobs" "$obj/perf"
	cp "$obj/perf" "$out/perf"
	strip "$out/perf"
}

artefact_perf()
{
	local dir tree key

	need ccache gcc make flex bison
	dir=$(linux_tree)
	tree=$(source_tree "$dir" patched)
	key=$(content_key "$(source_part "$dir" "$tree" tools/ !tools/testing !tools/objtool)" "$(compiler_key)" \
		"${_perf_args[@]}" "$(declare -f _build_perf)")
	PERF_DIR=$VPMU_CACHE/perf/${key:0:16}
	! cached "$PERF_DIR" || return 0
	info "          building perf (two minutes the first time)"
	run perf publish "$PERF_DIR" _build_perf "$dir" "$VPMU_BUILD/perf"
}

# ---- selftests ----

_build_selftests()
{
	local src=$1 obj=$2 out=$3 f

	mkdir -p "$obj/headers"
	make -C "$src" O="$obj/headers" "${_kernel_args[@]}" INSTALL_HDR_PATH="$obj/headers/usr" headers_install
	make -C "$src/tools/testing/selftests/kvm" ARCH=x86_64 OUTPUT="$obj" CC='ccache gcc' \
		KHDR_INCLUDES="-isystem $obj/headers/usr/include" -j"$_jobs"
	for f in "$obj"/*_test* "$obj"/* "$obj"/x86_64/*; do
		[[ -f $f && -x $f && $(head -c 4 "$f" | tail -c 3) == ELF ]] || continue
		strip -o "$out/$(basename "$f")" "$f"
	done
}

artefact_selftests()
{
	local dir tree key

	need ccache gcc make rsync
	dir=$(linux_tree)
	tree=$(source_tree "$dir" patched)
	key=$(content_key "$(source_part "$dir" "$tree" include/uapi arch/x86/include/uapi)" \
		"$(source_part "$dir" "$tree" tools/testing/selftests/kvm tools/testing/selftests/lib.mk tools/include \
			tools/arch)" \
		"$(compiler_key)" "$(declare -f _build_selftests)")
	SELFTESTS_DIR=$VPMU_CACHE/selftests/${key:0:16}
	! cached "$SELFTESTS_DIR" || return 0
	info "          building the kernel's KVM selftests (a minute or two the first time)"
	run selftests publish "$SELFTESTS_DIR" _build_selftests "$dir" "$VPMU_BUILD/selftests"
}

# ---- our own test programs ----

# tests/SUITE/NAME.c (or bench/NAME.c) becomes NAME, linked statically; NAME.so.c becomes NAME.so, to be
# preloaded; NAME.S has no C library under it, so that each of its instructions is in sight, and NAME32.S is for
# 32-bit programs. A suite with a Makefile builds itself into O, its kernel modules with KDIR.
_build_tests()
{
	local out=$1 dir dst src

	cp "$VPMU_ROOT/tests/ktap.sh" "$out/"
	for dir in "$VPMU_ROOT"/tests/*/ "$VPMU_ROOT/bench/"; do
		dst=$out/$(basename "$dir")
		[[ -e $dir/run ]] || continue
		# Modules of ours need not compile for a peer, which runs the benchmark alone, with our guests.
		case $_kernel_which.$(basename "$dir") in
		peer.bench | peer.guest | peer.rig) ;;
		peer.*) continue ;;
		esac
		mkdir "$dst"
		if [[ -e $dir/Makefile && $_kernel_which != peer ]]; then
			_kernel_build_dir
			make -C "$dir" O="$dst" KDIR="$KERNEL_OBJ" CC='ccache gcc'
			continue
		fi
		for src in "$dir"/*.[cS]; do
			[[ -e $src ]] || continue
			case $src in
			*.so.c)
				ccache gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$dst/$(basename "$src" .c)" "$src"
				;;
			*.c) ccache gcc -O2 -Wall -Wextra -Werror -static -o "$dst/$(basename "$src" .c)" "$src" ;;
			*32.S) gcc -m32 -Wall -Werror -static -nostdlib -o "$dst/$(basename "$src" .S)" "$src" ;;
			*.S) gcc -Wall -Werror -static -nostdlib -o "$dst/$(basename "$src" .S)" "$src" ;;
			esac
		done
		find "$dir" -maxdepth 1 -type f ! -name '*.[cSh]' ! -name suite ! -name here ! -name rules ! -name '*.py' \
			-exec cp {} "$dst/" \;
	done
	find "$out" -type f -perm -100 -exec sh -c 'head -c 4 "$1" | grep -q ELF && strip --strip-debug "$1"' - {} \;
}

artefact_tests()
{
	local dir parts=()

	# Suites that run here alone have no part in it.
	for dir in "$VPMU_ROOT"/tests/*; do
		[[ -d $dir && ! -e $dir/run ]] || parts+=("${dir##*/}" "@$dir")
	done
	[[ $_kernel_which != peer ]] || parts+=(peer)
	TESTS_DIR=$VPMU_CACHE/tests/$(content_key "$KERNEL_DIR" "${parts[@]}" @"$VPMU_ROOT/bench" \
		"$(compiler_key)" "$(declare -f _build_tests)" | cut -c 1-16)
	! cached "$TESTS_DIR" || return 0
	run tests publish "$TESTS_DIR" _build_tests
}

# ---- a kernel of somebody else ----

_guest_kernel_meta=linux-image-cloud-amd64
_guest_kernel_series=6.1

# Prints "package version sha256" of the newest on offer.
_guest_kernel_newest()
{
	local version package sum

	version=$(apt_versions "$_guest_kernel_meta" |
		sed -n "/^${_guest_kernel_series//./\\.}\\.[0-9]/ { s/ .*//p; q }")
	[[ -n $version ]] || return 0
	package=$(apt_private apt-cache show "$_guest_kernel_meta=$version" |
		sed -n 's/^Depends:.* \?\(linux-image-[^ ]*-cloud-amd64\) .*/\1/p' | head -n 1)
	sum=$(apt_versions "$package" | sed -n "s/^$version //p")
	printf '%s %s %s\n' "$package" "$version" "$sum"
}

_unpack_guest_kernel()
{
	local deb=$1 out=$2

	dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './boot/vmlinuz-*' >"$out/vmlinuz"
	[[ -s $out/vmlinuz ]]
}

# Sets GUEST_KERNEL_DIR to what was unpacked of the package with sha256 $1; succeeds if it is there.
_guest_kernel_have()
{
	GUEST_KERNEL_DIR=$VPMU_CACHE/guest-kernel/${1:0:16}
	cached "$GUEST_KERNEL_DIR"
}

# The version that this cache stays with until `./vpmu setup --update`.
artefact_guest_kernel()
{
	local note=$VPMU_CACHE/guest-kernel-base package='' version='' sum='' dir deb

	# shellcheck source=scripts/apt.sh
	. "$VPMU_ROOT/scripts/apt.sh"
	lock guest-kernel
	[[ ! -e $note ]] || read -r package version sum <"$note"
	if [[ -z $sum ]] || ! _guest_kernel_have "$sum"; then
		mkdir -p "$VPMU_CACHE/download"
		# Fetched by hand?
		deb=$(find "$VPMU_CACHE/download" -maxdepth 1 \
			-name "linux-image-$_guest_kernel_series.*-cloud-amd64_*.deb" | sort -V | tail -n 1)
		if [[ -n $deb ]]; then
			package=${deb##*/}
			version=${package#*_}
			package=${package%%_*} version=${version%_*}
			sum=$(sha256sum "$deb" | cut -d ' ' -f 1)
		else
			apt_lists
			read -r package version sum < <(_guest_kernel_newest) || true
			[[ -n ${sum-} ]] || die "apt offers no $_guest_kernel_meta $_guest_kernel_series of Debian 12" \
				"./vpmu setup --update, or see ./vpmu setup --help for what to put where by hand"
			dir=$(mktemp -d "$VPMU_CACHE/download.XXXXXX")
			on_exit rm -rf -- "$dir"
			info "[$(elapsed)]   downloading $package $version (27 MB)"
			try guest-kernel apt_package "$package" "$version" "$dir" ||
				die "cannot download $package $version (log: $VPMU_LOG/guest-kernel.log)" \
					"fetch ${package}_${version}_amd64.deb by hand into $VPMU_CACHE/download"
			deb=$(echo "$dir"/*.deb)
		fi
		_guest_kernel_have "$sum" ||
			run guest-kernel-unpack publish "$GUEST_KERNEL_DIR" _unpack_guest_kernel "$deb"
		printf '%s %s %s\n' "$package" "$version" "$sum" >"$note"
	fi
	unlock guest-kernel
}

# ---- root file systems ----

_qemu=/usr/bin/qemu-system-x86_64
_qemu_data=(
	/usr/share/seabios/bios-256k.bin /usr/share/qemu/kvmvapic.bin /usr/share/qemu/linuxboot_dma.bin
)

# Programs and the libraries that they load.
_with_libraries()
{
	printf '%s\n' "$@"
	ldd "$@" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' | sort -u
}

# Lines for gen_init_cpio (usr/gen_init_cpio.c of the kernel): everything below directory $1, which
# becomes the archive's root.
_cpio_list()
{
	(
		cd "$1" || exit
		find . -mindepth 1 -printf '%y %m %P %l\n' | LC_ALL=C sort -k 3
	) | while read -r type mode path target; do
		case $type in
		d) printf 'dir /%s %s 0 0\n' "$path" "$mode" ;;
		f) printf 'file /%s %s %s 0 0\n' "$path" "$1/$path" "$mode" ;;
		l) printf 'slink /%s %s 777 0 0\n' "$path" "$target" ;;
		esac
	done
	printf 'nod /dev/console 600 0 0 c 5 1\n'
}

_root_skeleton()
{
	local root=$1 applet

	mkdir -p "$root"/{dev,proc,sys,tmp,root,run,etc,usr/bin,usr/lib,usr/lib64,vpmu}
	for applet in bin sbin lib lib64; do
		ln -s "usr/${applet/sbin/bin}" "$root/$applet"
	done
	ln -s bin "$root/usr/sbin"
	cp /bin/busybox "$root/usr/bin/busybox"
	/bin/busybox --list | while read -r applet; do
		[[ -e $root/usr/bin/$applet ]] || ln -s busybox "$root/usr/bin/$applet"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\n' >"$root/etc/group"
}

_build_rootfs()
{
	local kernel=$1 guest=$2 out=$3 f to

	gcc -O2 -o "$out/gen_init_cpio" "$(linux_tree)/usr/gen_init_cpio.c"

	# L2: busybox, perf, the test programs
	_root_skeleton "$out/l2"
	install -m 755 "$VPMU_ROOT/rig/guest/init" "$out/l2/init"
	install -m 755 "$VPMU_ROOT/rig/host/complaints" "$out/l2/usr/bin/"
	cp "$PERF_DIR/perf" "$out/l2/usr/bin/"
	mkdir "$out/l2/tests"
	cp -r "$TESTS_DIR/ktap.sh" "$TESTS_DIR/guest" "$out/l2/tests"

	# L1: the same, and QEMU with its libraries, the kernel's modules and selftests, L2
	_root_skeleton "$out/l1"
	install -m 755 "$VPMU_ROOT/rig/host/init" "$out/l1/init"
	install -m 755 "$VPMU_ROOT/rig/host/l2" "$VPMU_ROOT/rig/host/stats" "$VPMU_ROOT/rig/host/complaints" \
		"$out/l1/usr/bin/"
	cp "$PERF_DIR/perf" "$out/l1/usr/bin/"
	cp -r "$TESTS_DIR" "$out/l1/tests"
	mkdir -p "$out/l1/tests/selftests/bin"
	cp -r "$SELFTESTS_DIR/." "$out/l1/tests/selftests/bin"
	while read -r f; do
		to=$f
		case $f in
		/lib/* | /lib64/*) to=/usr$f ;;
		esac
		install -D -m 755 "$f" "$out/l1$to"
	done < <(_with_libraries "$_qemu")
	for f in "${_qemu_data[@]}"; do
		install -D -m 644 "$f" "$out/l1$f"
	done
	cp -r "$kernel/lib/modules" "$out/l1/usr/lib/modules"
	mkdir "$out/l1/l2"
	cp "$guest/bzImage" "$VPMU_ROOT/rig/guest/demo" "$out/l1/l2/"
	# A guest that is a host needs KVM of its own kernel.
	[[ $guest == "$kernel" ]] || cp -r "$guest/lib/modules" "$out/l1/l2/modules"
	_cpio_list "$out/l2" | "$out/gen_init_cpio" -t 0 - >"$out/l1/l2/initrd.cpio"
	_cpio_list "$out/l1" | "$out/gen_init_cpio" -t 0 - >"$out/initrd.cpio"
	rm -rf "$out/l1" "$out/l2"
}

artefact_rootfs()
{
	local kernel=$1 guest=${2:-$1} qemu

	need busybox "$_qemu" ldd
	artefact_perf
	artefact_selftests
	artefact_tests
	mapfile -t qemu < <(_with_libraries "$_qemu")
	ROOTFS_DIR=$VPMU_CACHE/rootfs/$(content_key "$kernel" "$guest" "$PERF_DIR" "$SELFTESTS_DIR" "$TESTS_DIR" \
		@"$VPMU_ROOT/rig/host" @"$VPMU_ROOT/rig/guest" "$(declare -f _build_rootfs _root_skeleton _cpio_list)" \
		@/bin/busybox "${qemu[@]/#/@}" "${_qemu_data[@]/#/@}" | cut -c 1-16)
	! cached "$ROOTFS_DIR" || return 0
	run rootfs publish "$ROOTFS_DIR" _build_rootfs "$kernel" "$guest"
}
