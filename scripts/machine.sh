# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# One run of L1 on an emulated machine.  Needs lib.sh and artefacts.sh.  A machine is a file in rig/machines:
# "vendor=" names the KVM module, "cpu=" the emulator's CPU model; "perfmon=" the PMU's model in Bochs, or
# "emulator=qemu" for QEMU's own emulation (TCG), which is fast and has no PMU; "with=" and "without=" name
# features of Bochs that the processor has unlike its CPU model, as "pt" (Intel PT) or "sgx".
#
#   machine_names			the machines, one a line
#   machine_check MACHINE		dies unless there is such a machine
#   machine_pmu MACHINE			prints "pmu" or "no-pmu"
#   machine_lends MACHINE			can its PMU be given to guests?
#   machine_lenders			those machines, one a line
#   machine_why MACHINE			what its file says of it
#   machine_refuses MACHINE		of one that does not lend its PMU: why
#   machine_check_options MACHINE CPUS SKID	dies unless it can have these
#   machine_trees MACHINE...		installs the packages needed, brings build/linux and build/bochs up to date
#   machine_artefacts KERNEL MACHINE...	builds what is missing for these machines; KERNEL as artefact_kernel takes it, or
#					a package's file, whose guests have the patched kernel then
#   machine_run MACHINE [OPTION...]	boots L1, waits until it powers off
#	--name NAME		of the run: its files are in build/run/NAME (default: MACHINE)
#	--script FILE		what L1 runs as root; without it the console is interactive
#	--env NAME=VALUE	for the script; may be repeated
#	--file NAME=FILE	stands as /vpmu/NAME in L1; may be repeated
#	--cpus N, --skid N	processors; instructions from an overflow to its interrupt
#	--without FEATURES	what the processor has not, besides what the machine's file says
#	--memory MIB		of L1 (default: 1024)
#	--initrd-tail BYTES	let the initramfs end so much below a full MiB: what stands there is easily overwritten
#	--append TEXT		more for L1's kernel command line
#	--marks FILE		where the emulator's marks go
#	--timeout SECONDS	of real time
#	--echo			show L1's console
#	--times FILE		write the emulator's processor time, in seconds, into FILE
#   The result is L1's exit status, or what scripts/run-l1.py says.

# shellcheck disable=SC2034 # for the callers
default_machine=sapphire-rapids
# Clock ticks per second of the emulated machine; an instruction takes one. Lower: more timer
# interrupts per instruction. About what the emulator reaches in real time.
_ips=100000000
# What the firmware of Bochs takes for the ACPI tables at the top of memory.
_firmware_tables=65536
# The same for QEMU: 2^2 ns per instruction, and an idle machine does not wait, unless somebody types there. Its clocks
# follow the instructions, not the real time of a busy host, with which some tests that compare clocks fail, also on the
# pristine kernel.
_icount=shift=2

machine_names() { (cd "$VPMU_ROOT/rig/machines" && ls); }

machine_check()
{
	[[ $1 =~ ^[a-z0-9-]+$ && -f $VPMU_ROOT/rig/machines/$1 ]] ||
		die "no machine '$1'" "choose one of: $(machine_names | tr '\n' ' ')"
}

# machine_pmu MACHINE: "pmu" or "no-pmu"
machine_pmu()
{
	case $(machine_get "$1" perfmon) in
	'' | none | hidden) echo no-pmu ;;
	*) echo pmu ;;
	esac
}

machine_lends() { [[ $(machine_pmu "$1") == pmu && $(machine_get "$1" perfmon) != zen1 ]]; }

machine_lenders()
{
	local machine

	for machine in $(machine_names); do
		! machine_lends "$machine" || printf '%s\n' "$machine"
	done
}

# The comment, in one line
machine_why() { sed -n 's/^# //p' "$VPMU_ROOT/rig/machines/$1" | tr '\n' ' ' | sed 's/\.* $//'; }

# Why it must refuse the feature
machine_refuses()
{
	case $(machine_get "$1" perfmon) in
	zen1) echo "its PMU lacks PerfMonV2" ;;
	*) echo "it has no PMU" ;;
	esac
}

# Before anything is built for it
machine_check_options()
{
	local machine=$1 cpus=$2 skid=$3

	[[ $cpus =~ ^[1-8]$ ]] || die "1 to 8 CPUs, not '$cpus'"
	[[ $skid =~ ^[0-9]{1,6}$ ]] || die "a skid of 0 to 999999 instructions, not '$skid'"
	[[ $skid == 0 || $(machine_pmu "$machine") == pmu ]] || die "machine $machine has no PMU: no --skid"
}

# Does one of these machines need Bochs?
_need_bochs()
{
	local machine

	for machine; do
		[[ $(machine_get "$machine" emulator) == qemu ]] || return 0
	done
	return 1
}

# Does one of them need QEMU?
_need_qemu()
{
	local machine

	for machine; do
		[[ $(machine_get "$machine" emulator) != qemu ]] || return 0
	done
	return 1
}

machine_trees()
{
	attended "$VPMU_ROOT/scripts/setup" --packages
	[[ -n ${LINUX_TREE-} ]] || attended "$VPMU_ROOT/scripts/tree"
	[[ -n ${BOCHS_TREE-} ]] || ! _need_bochs "$@" || attended "$VPMU_ROOT/scripts/tree" --bochs
}

# machine_get MACHINE KEY: one setting of the machine's file
machine_get()
{
	machine_check "$1"
	sed -n "s/^$2=//p" "$VPMU_ROOT/rig/machines/$1"
}

machine_artefacts()
{
	local guest='' host

	! _need_bochs "${@:2}" || artefact_bochs patched
	! _need_qemu "${@:2}" || artefact_qemu
	if [[ $1 == debug || $1 == coverage || $1 == */* ]]; then
		# What is to be checked is the host; its guests' counts are those of the usual kernel.
		artefact_kernel patched
		guest=$KERNEL_DIR
	fi
	if [[ $1 == */* ]]; then
		# The test programs are those for the patched kernel.
		artefact_deb "$1"
		host=$KERNEL_DIR
		KERNEL_DIR=$guest
	else
		artefact_kernel "$1"
		host=$KERNEL_DIR
	fi
	artefact_rootfs "$host" "${guest:-$host}"
	KERNEL_DIR=$host
}

# The boot ROM wants a medium: a CD with the kernel.  The initramfs does not fit through the
# emulated BIOS in reasonable time; Bochs puts it into memory.
_boot_iso()
{
	local iso=$1 cmdline=$2 dir=$1.d

	rm -rf "$dir"
	mkdir -p "$dir/isolinux"
	ln "$KERNEL_DIR/bzImage" "$dir/isolinux/linux" 2>/dev/null || cp "$KERNEL_DIR/bzImage" "$dir/isolinux/linux"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$dir/isolinux/"
	printf 'default linux\nprompt 0\ntimeout 0\nlabel linux\n kernel linux\n append %s\n' "$cmdline" \
		>"$dir/isolinux/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table "$dir" 2>"$iso.log" || { cat "$iso.log" >&2; return 1; }
	rm -rf "$dir"
}

machine_run()
{
	local machine=$1 name=$1 script='' cpus=1 skid=0 memory=1024 tail='' append='' marks='' timeout=0 env=() file=()
	local args=()
	local dir size extra model vendor perfmon emulator cmdline with without features=

	shift
	without=$(machine_get "$machine" without)
	while (($#)); do
		case $1 in
		--name) name=$2; shift ;;
		--script) script=$2; shift ;;
		--env) env+=("$2"); shift ;;
		--file) file+=("$2"); shift ;;
		--cpus) cpus=$2; shift ;;
		--skid) skid=$2; shift ;;
		--append) append+=" $2"; shift ;;
		--without) without+="${2:+${without:+ }${2//,/ }}"; shift ;;
		--marks) marks=$2; shift ;;
		--memory) memory=$2; shift ;;
		--initrd-tail) tail=$2; shift ;;
		--timeout) timeout=$2; shift ;;
		--echo) args+=(--echo) ;;
		--times) args+=(--times "$2"); shift ;;
		*) die "machine_run: $1?" ;;
		esac
		shift
	done
	machine_check_options "$machine" "$cpus" "$skid"
	# Bochs takes 2048 MiB in all.
	[[ $memory =~ ^[1-9][0-9]{2,3}$ && $memory -le 1900 ]] || die "100 to 1900 MiB of memory, not '$memory'"
	need python3
	model=$(machine_get "$machine" cpu)
	vendor=$(machine_get "$machine" vendor)
	perfmon=$(machine_get "$machine" perfmon)
	emulator=$(machine_get "$machine" emulator)
	with=$(machine_get "$machine" with)
	[[ -z ${without// } || $emulator != qemu ]] || die "machine $machine is QEMU's: no --without"

	dir=$VPMU_BUILD/run/$name
	lock "run-$(content_key "$dir" | cut -c 1-16)"
	rm -rf "$dir"
	mkdir -p "$dir/initrd/vpmu"
	{
		printf '%s=%q\n' MACHINE "$machine" VENDOR "$vendor" CPUS "$cpus" SKID "$skid"
		printf 'WITHOUT=%q\n' "$without"
		! machine_lends "$machine" || printf 'LENDS=1\n'
		for env in ${env[@]+"${env[@]}"}; do
			printf '%s=%q\n' "${env%%=*}" "${env#*=}"
		done
	} >"$dir/initrd/vpmu/env"
	for env in ${file[@]+"${file[@]}"}; do
		cp "${env#*=}" "$dir/initrd/vpmu/${env%%=*}"
	done
	if [[ -n $script ]]; then
		cp "$script" "$dir/initrd/vpmu/run"
	else
		args+=(--interactive)
	fi
	_cpio_list "$dir/initrd" | "$ROOTFS_DIR/gen_init_cpio" -t 0 - >"$dir/last.cpio"
	cp "$ROOTFS_DIR/initrd.cpio" "$dir/initrd.cpio"
	if [[ -n $tail ]]; then
		# Zeroes between two archives
		size=$(($(stat -c %s "$dir/initrd.cpio") + $(stat -c %s "$dir/last.cpio") + tail))
		truncate -s "+$(((1048576 - size % 1048576) % 1048576))" "$dir/initrd.cpio"
	fi
	cat "$dir/last.cpio" >>"$dir/initrd.cpio"
	cmdline="console=ttyS0,115200 quiet panic=-1 nmi_watchdog=0 tsc=reliable no_timer_check$append"
	args+=(--console "$dir/console.log" --timeout "$timeout")
	if [[ $emulator == qemu ]]; then
		# QEMU as it stands injects interrupts into guests twice now and then: rig/qemu/vmrun.c.
		cmd "$VPMU_ROOT/scripts/run-l1.py" "${args[@]}" --qemu env LD_PRELOAD="$QEMU_DIR/vmrun.so" \
			qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine q35,accel=tcg \
			-icount "$_icount${script:+,sleep=off}" -cpu "$model" -smp "$cpus" -m "$memory" \
			-kernel "$KERNEL_DIR/bzImage" -initrd "$dir/initrd.cpio" -append "$cmdline"
		return
	fi
	need xorriso
	# Above the memory of L1. Not memory that Linux may use otherwise: an initrd that no boot loader told of is not
	# reserved.
	size=$(stat -c %s "$dir/initrd.cpio")
	extra=$(((size + _firmware_tables + 1048575) / 1048576))
	# Stock Bochs does not know these features.
	if [[ ${MACHINE_PERFMON-1} == 1 ]]; then
		features=${with:+, add_features=\"$with\"}${without:+, exclude_features=\"$without\"}
	fi
	_boot_iso "$dir/boot.iso" "$cmdline initrdmem=${memory}M,$size memmap=${extra}M\$${memory}M"
	cat >"$dir/bochsrc" <<-END
		display_library: nogui
		plugin_ctrl: unmapped=1, biosdev=1, speaker=0, parallel=0, extfpuirq=0
		romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		memory: guest=$((memory + extra)), host=$((memory + extra))
		optramimage1: file=$dir/initrd.cpio, address=$(printf 0x%x $((memory << 20)))
		cpu: model=$model, count=$cpus, ips=$_ips, reset_on_triple_fault=0$features
		clock: sync=none, time0=946684800
		boot: cdrom
		ata0-master: type=cdrom, path=$dir/boot.iso, status=inserted
		com1: @CONSOLE@
		log: $dir/bochs.log
		panic: action=fatal
		error: action=report
		info: action=ignore
		debug: action=ignore
	END
	# Stock Bochs has no such line.
	if [[ $perfmon != none && ${MACHINE_PERFMON-1} == 1 ]]; then
		printf 'perfmon: model=%s, pmi_skid=%s%s\n' "$perfmon" "$skid" "${marks:+, marks=$marks}" \
			>>"$dir/bochsrc"
	fi
	cmd "$VPMU_ROOT/scripts/run-l1.py" "${args[@]}" --bochs "$BOCHS_DIR/bochs" --rc "$dir/bochsrc"
}
