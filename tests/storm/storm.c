// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once
 *
 *	storm SEED CHANGES	until the PMU has changed its owner so often
 *
 * Up to three VMs of one to three vCPUs count and sample loops of known length (guest.S), and most record the
 * branches of one, beside one whose vPMU is perf-based. Meanwhile they are killed, stopped for a while and moved
 * between CPUs, and move to fresh VMs, each vCPU from wherever it is; events of the host of every kind come and go,
 * of tasks, CPUs and cgroups, some of them with branch records, and Intel PT; CPUs go offline, the watchdog is turned
 * on and off, code is patched, a module comes and goes. Each count and each record of each guest must be exact, and
 * each sample there; a task of the host that counts its own loops must see no more and no less than without guests;
 * no sample of the host may have a branch of a guest; memory must not dwindle.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../ktap.h"
#include "../random.h"
#include "guest.h"

#ifndef KVM_PMU_CAP_PERF_BASED
#define KVM_PMU_CAP_PERF_BASED (1ull << 29)
#endif

typedef uint64_t u64;
typedef uint32_t u32;

#define VMS		4
#define PERF_BASED	3	/* the last one is */
#define EVENTS		12
#define MSRS		300
#define STATS		"/sys/kernel/debug/kvm/"
#define CGROUPS		"/tmp/storm.cgroups"
/* Any will do. */
#define MODULE		"/tests/differential/differential.ko"
#define MODULE_NAME	"differential"

/* What VMs and the task that counts itself tell; shared with them. */
struct told {
	u64 rounds, samples, recorded, wrong, moves, starts;
	char text[200];
};

static struct told *told;
static bool amd;
static u32 cpus;
/* Each thread has numbers of its own. */
static __thread u64 state;

#define rnd()		random_next(&state)
#define below(n)	random_below(&state, n)
#define one_in(n)	random_one_in(&state, n)

static void die(const char *what)
{
	printf("# %s: %s\nBail out! %s\n", what, strerror(errno), what);
	exit(2);
}

static void pin(pid_t tid, u32 cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static u64 read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	return strtoull(text, NULL, 0);
}

static int perf_open(struct perf_event_attr *attr, pid_t pid, int cpu, int group, u64 flags)
{
	attr->size = sizeof(*attr);
	return syscall(SYS_perf_event_open, attr, pid, cpu, group, flags | PERF_FLAG_FD_CLOEXEC);
}

/* ---- a VM, in a process of its own ---- */

extern const char guest_start[], guest_nmi[], guest_end[];
extern const char guest_call[], guest_called[], guest_call_again[], guest_called_again[];
extern const char guest_jump[], guest_jumped[], guest_leaf_call[], guest_leaf[], guest_leaf_back[], guest_loop[];

struct cpuids {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[128];
};

static struct {
	int kvm, fd, vcpus;
	int vcpu[GUEST_VCPUS];
	struct kvm_run *run[GUEST_VCPUS];
	pthread_t thread[GUEST_VCPUS];
	/* All threads meet here, before a VM begins and twice while it moves. */
	pthread_barrier_t all;
	long run_size;
	char *memory;
	bool perf_based, moving;
	enum { NO_RECORDS, OLD_RECORDS, ARCH_RECORDS, AMD_RECORDS } records;
	u64 seed;
	struct told *told;
	pthread_mutex_t lock;
} vm = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void tell(const char *text)
{
	pthread_mutex_lock(&vm.lock);
	if (!vm.told->wrong++)
		snprintf(vm.told->text, sizeof(vm.told->text), "%s: %s", text, strerror(errno));
	pthread_mutex_unlock(&vm.lock);
}

static void must(int result, const char *what)
{
	if (result >= 0)
		return;
	tell(what);
	_exit(1);
}

/* Not all VMs have all of the PMU: version 2 and one counter do here. */
static void choose_cpuid(struct cpuids *c)
{
	u32 i, n;

	c->head.nent = 128;
	must(ioctl(vm.kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < c->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 0xa && one_in(2)) {
			n = e->eax & 0xff;
			if (n > 2)
				e->eax = (e->eax & ~0xffu) | (2 + below(n - 1));
			n = e->eax >> 8 & 0xff;
			if (n > 1)
				e->eax = (e->eax & ~0xff00u) | (1 + below(n)) << 8;
			if ((e->eax & 0xff) < 5)
				e->ecx = 0;
		}
		if (e->function == 0x80000022 && one_in(2) && (e->ebx & 15) > 4)
			e->ebx = (e->ebx & ~15u) | (4 + below((e->ebx & 15) - 3));
	}
}

/* Guests have branch records if KVM offers them, those of Intel's CPUs from version 4 of the PMU on. */
static void find_records(const struct cpuids *c)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } capabilities = {
		.head.nmsrs = 1, .entry.index = 0x345,
	};
	bool is_new = false, arch = false;
	u32 i;

	vm.records = NO_RECORDS;
	if (vm.perf_based)
		return;
	for (i = 0; i < c->head.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 0xa)
			is_new = (e->eax & 0xff) >= 4;
		if (e->function == 7 && !e->index)
			arch = e->edx >> 19 & 1;
		if (e->function == 0x80000022 && e->eax >> 1 & 1)
			vm.records = AMD_RECORDS;
	}
	if (!is_new)
		return;
	if (arch)
		vm.records = ARCH_RECORDS;
	else if (ioctl(vm.kvm, KVM_GET_MSRS, &capabilities) == 1 && (capabilities.entry.data & 0x3f) == 5)
		vm.records = OLD_RECORDS;
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_SIZE, .userspace_addr = (uintptr_t)vm.memory,
	};
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY, .args[0] = KVM_PMU_CAP_PERF_BASED };
	struct kvm_enable_cap no_quirks = { .cap = KVM_CAP_DISABLE_QUIRKS2 };
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	int quirks = ioctl(vm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	static struct cpuids c;
	int i;

	/* But that which fills in IA32_PERF_CAPABILITIES: the guest writes full-width counters. */
	no_quirks.args[0] = quirks & rnd() & ~(1ull << 8);

	/* Stopped in the middle of it, it is to be called again. */
	do
		vm.fd = ioctl(vm.kvm, KVM_CREATE_VM, 0);
	while (vm.fd < 0 && errno == EINTR);
	must(vm.fd, "KVM_CREATE_VM");
	if (vm.perf_based)
		must(ioctl(vm.fd, KVM_ENABLE_CAP, &cap), "KVM_CAP_PMU_CAPABILITY");
	must(ioctl(vm.fd, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(vm.fd, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	if (!c.head.nent)
		choose_cpuid(&c);
	find_records(&c);
	if (quirks)
		must(ioctl(vm.fd, KVM_ENABLE_CAP, &no_quirks), "KVM_CAP_DISABLE_QUIRKS2");
	for (i = 0; i < vm.vcpus; i++) {
		vm.vcpu[i] = ioctl(vm.fd, KVM_CREATE_VCPU, i);
		/* Somebody's event counts guests on that CPU, or did for a task: the next one may begin. */
		if (vm.vcpu[i] < 0 && errno == EBUSY)
			_exit(0);
		must(vm.vcpu[i], "KVM_CREATE_VCPU");
		/* In the place of the one before, which a signal handler may write to */
		vm.run[i] = mmap(vm.run[i], vm.run_size, PROT_READ | PROT_WRITE,
				 MAP_SHARED | (vm.run[i] ? MAP_FIXED : 0), vm.vcpu[i], 0);
		must(vm.run[i] == MAP_FAILED ? -1 : 0, "mmap of a vCPU");
		must(ioctl(vm.vcpu[i], KVM_SET_CPUID2, &c), "KVM_SET_CPUID2");
		must(ioctl(vm.vcpu[i], KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
	}
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment) {
		.selector = selector, .limit = 0xffffffff, .type = type, .s = 1, .present = 1, .g = 1, .db = 1,
	};
}

static u32 address_of(const char *label)
{
	return CODE + (label - guest_start);
}

/* What the guest records: all branches of the loop, the conditional one only, or the calls that lead to it */
static void choose_records(struct area *a)
{
	const u32 loop[][2] = {
		{ address_of(guest_leaf), address_of(guest_leaf_back) },
		{ address_of(guest_leaf_call), address_of(guest_leaf) },
		{ address_of(guest_jump), address_of(guest_jumped) },
		{ address_of(guest_loop), address_of(guest_jump) },
	};
	const u32 calls[][2] = {
		{ address_of(guest_call_again), address_of(guest_called_again) },
		{ address_of(guest_call), address_of(guest_called) },
	};
	static const u32 selects[] = { 0, 0x1f8, 0x3c4 }, arch_ctls[] = { 0x7f0007, 0x010007, 0x38000f };
	u32 i, mode = below(vm.records == AMD_RECORDS ? 2 : 3);

	if (vm.records == NO_RECORDS || one_in(4))
		return;
	a->lbr = 1;
	a->records = 32;
	a->step = 1;
	a->lbr_loops = RECORDS_MAX + 1 + below(one_in(2) ? 100 : 5000);
	switch (vm.records) {
	case OLD_RECORDS:
		a->lbr_msr = 0x1d9;
		a->lbr_on = 1;
		a->select_msr = 0x1c8;
		a->tos_msr = 0x1c9;
		a->from_msr = 0x680;
		a->to_msr = 0x6c0;
		break;
	case ARCH_RECORDS:
		a->lbr_msr = 0x14ce;
		a->lbr_on = arch_ctls[mode];
		a->from_msr = 0x1500;
		a->to_msr = 0x1600;
		break;
	default:
		a->lbr_msr = 0xc000010f;
		a->lbr_on = 1 << 6;
		a->select_msr = 0xc000010e;
		a->from_msr = 0xc0010300;
		a->to_msr = 0xc0010301;
		a->records = 16;
		a->step = 2;
		/* mispredicted, retired */
		a->from_ignored = a->to_high = 1u << 31;
	}
	a->select = selects[mode];
	a->checked = mode == 2 ? 2 : a->records;
	for (i = 0; i < a->checked; i++) {
		const u32 *branch = mode == 2 ? calls[i] : loop[mode == 1 ? 3 : i % 4];

		a->from[i] = branch[0];
		a->to[i] = branch[1];
	}
}

static void begin(int i)
{
	struct area *a = (struct area *)(vm.memory + AREA(i));
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsp = STACK(i), .rbp = AREA(i) };
	struct kvm_sregs s;

	*a = (struct area) {
		.selector_msr = amd ? 0xc0010200 : 0x186, .counter_msr = amd ? 0xc0010201 : 0x4c1,
		.ctrl_msr = amd ? 0xc0000301 : 0x38f, .reset_msr = amd ? 0xc0000302 : 0x390,
		.selector = amd ? 0x4300c2 : 0x4300c4, .selector_pmi = amd ? 0x5300c2 : 0x5300c4,
		.loops = 3000 + below(20000), .period = 2000 + below(3000), .samples = 3 + below(8),
	};
	/* Half a period more than the samples take, which the way to a handler may not use up */
	a->sampled_loops = a->samples * a->period + a->period / 2;
	choose_records(a);
	must(ioctl(vm.vcpu[i], KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs = flat(CODE_SEL, 11);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(DATA_SEL, 3);
	s.gdt = (struct kvm_dtable) { .base = GDT, .limit = 0x1f };
	s.idt = (struct kvm_dtable) { .base = IDT, .limit = 0x7ff };
	s.cr0 = 0x11;
	must(ioctl(vm.vcpu[i], KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(vm.vcpu[i], KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static __thread struct kvm_run *running;

/* Before or in KVM_RUN, which ends at once */
static void interrupted(int sig)
{
	(void)sig;
	running->immediate_exit = 1;
}

/* All vCPUs are to move, wherever they are; they see it before they run again. */
static void request_move(int self)
{
	int i;

	if (__atomic_exchange_n(&vm.moving, true, __ATOMIC_SEQ_CST))
		return;
	for (i = 0; i < vm.vcpus; i++) {
		if (i != self)
			pthread_kill(vm.thread[i], SIGUSR1);
	}
}

/* What each vCPU's thread does when they move: vCPU @i goes on in a fresh VM. */
static void migrate(int i)
{
	static __thread struct { struct kvm_msrs head; struct kvm_msr_entry entries[MSRS]; } msrs;
	static __thread struct { struct kvm_msr_list head; u32 indices[MSRS]; } list;
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } one;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	u32 j, n = 0;

	/* What an OUT was for is done. */
	vm.run[i]->immediate_exit = 1;
	if (ioctl(vm.vcpu[i], KVM_RUN, 0) >= 0 || errno != EINTR)
		must(-1, "KVM_RUN that ends at once");
	list.head.nmsrs = MSRS;
	must(ioctl(vm.kvm, KVM_GET_MSR_INDEX_LIST, &list), "KVM_GET_MSR_INDEX_LIST");
	for (j = 0; j < list.head.nmsrs; j++) {
		one.head.nmsrs = 1;
		one.entry.index = list.indices[j];
		if (ioctl(vm.vcpu[i], KVM_GET_MSRS, &one) == 1)
			msrs.entries[n++] = one.entry;
	}
	msrs.head.nmsrs = n;
	must(ioctl(vm.vcpu[i], KVM_GET_REGS, &regs), "KVM_GET_REGS");
	must(ioctl(vm.vcpu[i], KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	must(ioctl(vm.vcpu[i], KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC");
	must(ioctl(vm.vcpu[i], KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS");
	close(vm.vcpu[i]);
	if (pthread_barrier_wait(&vm.all)) {
		/* One of them makes the fresh VM; the old one goes with the last mapping of a vCPU of it. */
		close(vm.fd);
		create_vm();
		__atomic_store_n(&vm.moving, false, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&vm.told->moves, 1, __ATOMIC_RELAXED);
	}
	pthread_barrier_wait(&vm.all);
	must(ioctl(vm.vcpu[i], KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vm.vcpu[i], KVM_SET_REGS, &regs), "KVM_SET_REGS");
	must(ioctl(vm.vcpu[i], KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC");
	must(ioctl(vm.vcpu[i], KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS");
	if (ioctl(vm.vcpu[i], KVM_SET_MSRS, &msrs) != (int)n)
		must(-1, "KVM_SET_MSRS");
}

/* Filters that take nothing from the guest, but have to be looked at */
static void filters(void)
{
	struct { struct kvm_pmu_event_filter head; u64 events[2]; } events = {
		.head = { .action = KVM_PMU_EVENT_DENY, .nevents = below(3) }, .events = { 0x76, 0x2ec0 },
	};
	static uint8_t all[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct kvm_msr_filter msrs = {
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = 8, .bitmap = all,
			       .base = amd ? 0xc0010200 : 0x38d },
	};

	if (one_in(2))
		must(ioctl(vm.fd, KVM_SET_PMU_EVENT_FILTER, &events), "KVM_SET_PMU_EVENT_FILTER");
	else
		must(ioctl(vm.fd, KVM_X86_SET_MSR_FILTER, &msrs), "KVM_X86_SET_MSR_FILTER");
}

/* User space reads what the guest has, and writes the same. */
static void rewrite_msrs(int i)
{
	struct area *a = (struct area *)(vm.memory + AREA(i));
	struct { struct kvm_msrs head; struct kvm_msr_entry entries[3]; } m = {
		.head.nmsrs = 3, .entries = {
			{ .index = a->selector_msr }, { .index = a->counter_msr }, { .index = a->ctrl_msr },
		},
	};

	if (ioctl(vm.vcpu[i], KVM_GET_MSRS, &m) != 3 || ioctl(vm.vcpu[i], KVM_SET_MSRS, &m) != 3)
		must(-1, "KVM_GET_MSRS and KVM_SET_MSRS of the PMU");
}

/* Something in it stops the counters, something else the branch records. */
static u64 status_of(int i)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } status = {
		.head.nmsrs = 1, .entry.index = amd ? 0xc0000300 : 0x38e,
	};

	return ioctl(vm.vcpu[i], KVM_GET_MSRS, &status) == 1 ? status.entry.data : 0;
}

static void *run_vcpu(void *arg)
{
	int i = (int)(long)arg;
	struct area *a = (struct area *)(vm.memory + AREA(i));
	u32 counted = 0;

	state = vm.seed + i;
	begin(i);
	running = vm.run[i];
	vm.thread[i] = pthread_self();
	pthread_barrier_wait(&vm.all);
	for (;;) {
		running->immediate_exit = 0;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		while (__atomic_load_n(&vm.moving, __ATOMIC_SEQ_CST)) {
			migrate(i);
			running->immediate_exit = 0;
		}
		if (ioctl(vm.vcpu[i], KVM_RUN, 0)) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			must(-1, "KVM_RUN");
		}
		if (vm.run[i]->exit_reason != KVM_EXIT_IO) {
			errno = 0;
			tell(vm.run[i]->exit_reason == KVM_EXIT_SHUTDOWN ? "a guest shut down" : "an exit of another kind");
			_exit(1);
		}
		if (vm.run[i]->io.port == PORT_WRONG) {
			char text[160];

			/* What the host wanted of a counter first has been lost to a perf-based vPMU. */
			if (vm.perf_based)
				continue;
			errno = 0;
			if (a->wrong == WRONG_RECORD)
				snprintf(text, sizeof(text), "record %u is of %#x%08x to %#x%08x, not of %#x to %#x, "
					 "round %u, status %#llx", a->record, a->read[1], a->read[0], a->read[3],
					 a->read[2], a->from[a->record], a->to[a->record], a->rounds,
					 (unsigned long long)status_of(i));
			else
				snprintf(text, sizeof(text), a->wrong == WRONG_COUNT ?
					 "%u counted of %u branches, round %u" : "%u samples instead of %u, round %u",
					 a->wrong == WRONG_COUNT ? a->count : a->pmis,
					 a->wrong == WRONG_COUNT ? a->loops : a->samples, a->rounds);
			tell(text);
			continue;
		}
		__atomic_add_fetch(&vm.told->rounds, a->rounds - counted, __ATOMIC_RELAXED);
		__atomic_add_fetch(&vm.told->samples, (a->rounds - counted) * a->samples, __ATOMIC_RELAXED);
		__atomic_add_fetch(&vm.told->recorded, (a->rounds - counted) * a->checked, __ATOMIC_RELAXED);
		counted = a->rounds;
		if (one_in(40))
			request_move(i);
		else if (one_in(60))
			filters();
		else if (one_in(30))
			rewrite_msrs(i);
	}
	return NULL;
}

static void vm_process(struct told *t, bool perf_based, u64 seed)
{
	pthread_t thread;
	struct sigaction action = { .sa_handler = interrupted };
	u64 nmi;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &action, NULL);
	state = vm.seed = seed;
	vm.told = t;
	vm.perf_based = perf_based;
	vm.vcpus = 1 + below(GUEST_VCPUS);
	pthread_barrier_init(&vm.all, NULL, vm.vcpus);
	vm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(vm.kvm, "/dev/kvm");
	vm.run_size = ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm.memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(vm.memory == MAP_FAILED ? -1 : 0, "mmap");
	memcpy(vm.memory + CODE, guest_start, guest_end - guest_start);
	*(u64 *)(vm.memory + GDT + CODE_SEL) = 0x00cf9b000000ffffull;
	*(u64 *)(vm.memory + GDT + DATA_SEL) = 0x00cf93000000ffffull;
	nmi = CODE + (guest_nmi - guest_start);
	*(u64 *)(vm.memory + IDT + 16) = (nmi & 0xffff) | CODE_SEL << 16 | 0x8e00ull << 32;
	create_vm();
	for (i = 1; i < vm.vcpus; i++) {
		if (pthread_create(&thread, NULL, run_vcpu, (void *)(long)i))
			must(-1, "a thread");
	}
	run_vcpu(NULL);
}

/* ---- a task of the host that counts its own loops ---- */

static u64 loop_branches(int fd, u64 n)
{
	u64 before, after;

	if (read(fd, &before, 8) != 8)
		return ~0ull;
	asm volatile("1: dec %0; jnz 1b" : "+r"(n) :: "cc");
	if (read(fd, &after, 8) != 8)
		return ~0ull;
	return after - before;
}

static void counting_task(struct told *t, u64 seed)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE, .config = PERF_COUNT_HW_BRANCH_INSTRUCTIONS, .exclude_kernel = 1,
		.exclude_guest = 1, .pinned = 1,
	};
	u64 few, many, overhead;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	state = seed;
	fd = perf_open(&attr, 0, -1, -1, 0);
	if (fd < 0) {
		snprintf(t->text, sizeof(t->text), "no event for a task: %s", strerror(errno));
		t->wrong++;
		_exit(1);
	}
	overhead = loop_branches(fd, 1000) - 1000;
	for (;;) {
		few = 1000 + below(1000000);
		many = loop_branches(fd, few);
		/* A pinned event that got no counter in time reads as nothing, and is to be enabled anew. */
		if (many == ~0ull) {
			ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
			ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
			continue;
		}
		t->rounds++;
		if (many != few + overhead && !t->wrong++)
			snprintf(t->text, sizeof(t->text), "a task of the host counts %llu of its %llu branches",
				 (unsigned long long)many, (unsigned long long)(few + overhead));
		usleep(500);
	}
}

/* ---- the storm ---- */

static struct { pid_t pid; bool stopped; } vms[VMS];
static int events[EVENTS];
/* Of those that sample branches */
static struct perf_event_mmap_page *rings[EVENTS];
static struct { u64 samples, branches, guests, from, to; } host_records;
static int groups[2] = { -1, -1 };
static u64 killed, opened, refused, with_branches, of_cgroups, offline, toggled, moved, traced, modules;
static bool watchdog, can_offline;

static struct { int fd; struct perf_event_mmap_page *page; void *aux; } pt = { .fd = -1 };

#define PT_SIZE (16 * 4096)

/* They are the storm's alone: a VM does not keep what that closes. */
static void forget_events(void)
{
	int i;

	for (i = 0; i < EVENTS; i++) {
		if (events[i] >= 0)
			close(events[i]);
	}
	if (pt.fd >= 0)
		close(pt.fd);
}

static void start_vm(int i)
{
	u64 seed = rnd();

	told[i].starts++;
	fflush(stdout);
	vms[i].stopped = false;
	vms[i].pid = fork();
	if (vms[i].pid < 0)
		die("fork");
	if (!vms[i].pid) {
		forget_events();
		vm_process(&told[i], i == PERF_BASED, seed);
	}
}

static void kill_vm(int i)
{
	kill(vms[i].pid, SIGKILL);
	waitpid(vms[i].pid, NULL, 0);
	killed++;
}

#define RING_SIZE (8 * 4096)

/* Whatever the host samples, no branch of it is one of a guest: the host has no code at such addresses. */
static void look_at_samples(int i)
{
	const char *data = (const char *)rings[i] + 4096;
	u64 head, tail, at, j, nr;

	if (!rings[i])
		return;
	head = __atomic_load_n(&rings[i]->data_head, __ATOMIC_ACQUIRE);
	/* A record is never split in words. */
#define WORD(n) (*(const u64 *)(data + (at + 8 * (n)) % RING_SIZE))
	for (tail = rings[i]->data_tail; tail < head; tail += WORD(0) >> 48) {
		at = tail;
		/* perf_event_header: type, misc, size; then the IP, the number of branches, and of each one three */
		if ((u32)WORD(0) != PERF_RECORD_SAMPLE)
			continue;
		host_records.samples++;
		nr = WORD(2);
		host_records.branches += nr;
		for (j = 0; j < nr; j++) {
			u64 from = WORD(3 + 3 * j), to = WORD(4 + 3 * j);

			if ((from - CODE >= GUEST_CODE && to - CODE >= GUEST_CODE) || host_records.guests++)
				continue;
			host_records.from = from;
			host_records.to = to;
		}
	}
	__atomic_store_n(&rings[i]->data_tail, head, __ATOMIC_RELEASE);
#undef WORD
}

static void close_event(int i)
{
	if (events[i] < 0)
		return;
	look_at_samples(i);
	if (rings[i])
		munmap(rings[i], 4096 + RING_SIZE);
	rings[i] = NULL;
	close(events[i]);
	events[i] = -1;
}

static void stop_trace(void)
{
	if (pt.fd < 0)
		return;
	munmap(pt.aux, PT_SIZE);
	munmap(pt.page, 2 * 4096);
	close(pt.fd);
	pt.fd = -1;
}

/* Intel PT traces a CPU for a while. */
static void trace(void)
{
	struct perf_event_attr attr = { .exclude_guest = 1 };

	if (pt.fd >= 0) {
		stop_trace();
		return;
	}
	attr.type = read_number("/sys/bus/event_source/devices/intel_pt/type");
	if (!attr.type)
		return;
	pt.fd = perf_open(&attr, -1, below(cpus), -1, 0);
	if (pt.fd < 0)
		return;
	pt.page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pt.fd, 0);
	if (pt.page == MAP_FAILED)
		die("mmap of an event");
	pt.page->aux_offset = 2 * 4096;
	pt.page->aux_size = PT_SIZE;
	pt.aux = mmap(NULL, PT_SIZE, PROT_READ, MAP_SHARED, pt.fd, pt.page->aux_offset);
	if (pt.aux == MAP_FAILED)
		die("mmap of a trace");
	traced++;
}

/* AMD has no call-stack mode. */
static u64 some_branches(void)
{
	static const u64 kinds[] = {
		PERF_SAMPLE_BRANCH_ANY, PERF_SAMPLE_BRANCH_ANY | PERF_SAMPLE_BRANCH_USER,
		PERF_SAMPLE_BRANCH_ANY | PERF_SAMPLE_BRANCH_KERNEL, PERF_SAMPLE_BRANCH_ANY_CALL, PERF_SAMPLE_BRANCH_COND,
		PERF_SAMPLE_BRANCH_CALL_STACK | PERF_SAMPLE_BRANCH_USER,
	};

	return kinds[below(amd ? 5 : 6)];
}

static void some_event(void)
{
	static const struct { u32 type; u64 config; } kinds[] = {
		{ PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES }, { PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
		{ PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS },
		{ PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES }, { PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS },
	};
	u32 i = below(EVENTS), kind = below(5), v = below(VMS);
	struct perf_event_attr attr = {
		.type = kinds[kind].type, .config = kinds[kind].config, .exclude_guest = !one_in(12),
		.exclude_kernel = one_in(4), .pinned = one_in(6), .inherit = one_in(6), .disabled = one_in(5),
	};
	int leader = one_in(3) ? events[below(EVENTS)] : -1;

	if (events[i] >= 0) {
		if (one_in(3)) {
			ioctl(events[i], one_in(2) ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
		} else {
			close_event(i);
		}
		return;
	}
	if (kind < 3 && one_in(3)) {
		attr.sample_type = PERF_SAMPLE_IP;
		attr.freq = one_in(2);
		attr.sample_period = attr.freq ? 1000 : 200000;
		attr.precise_ip = one_in(2);
		if (attr.exclude_guest && !one_in(3)) {
			attr.sample_type |= PERF_SAMPLE_BRANCH_STACK;
			attr.branch_sample_type = some_branches();
			attr.precise_ip = 0;
		}
	}
	if (leader >= 0)
		attr.pinned = 0;
	if (one_in(4) && groups[0] >= 0) {
		events[i] = perf_open(&attr, groups[below(2)], below(cpus), leader, PERF_FLAG_PID_CGROUP);
		of_cgroups += events[i] >= 0;
	} else if (one_in(2)) {
		events[i] = perf_open(&attr, -1, below(cpus), leader, 0);
	} else {
		events[i] = perf_open(&attr, one_in(2) ? vms[v].pid : 0, -1, leader, 0);
	}
	if (events[i] < 0) {
		/* Most processors either trace or record branches. */
		if (errno == EBUSY && attr.branch_sample_type && one_in(2))
			stop_trace();
		refused++;
		return;
	}
	opened++;
	if (!attr.branch_sample_type)
		return;
	with_branches++;
	/* There is none for a task's event that children inherit. */
	rings[i] = mmap(NULL, 4096 + RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, events[i], 0);
	if (rings[i] == MAP_FAILED)
		rings[i] = NULL;
}

static void load_module(void)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!syscall(SYS_finit_module, fd, "", 0) && !syscall(SYS_delete_module, MODULE_NAME, 0))
		modules++;
	close(fd);
}

/* Each thread of a VM, or all of them at once */
static void move_vm(pid_t pid)
{
	char path[40];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			pin(atoi(e->d_name), below(cpus));
	closedir(dir);
	moved++;
}

static void into_cgroup(pid_t pid)
{
	char path[64], text[16];

	snprintf(path, sizeof(path), CGROUPS "/%u/cgroup.procs", below(2));
	snprintf(text, sizeof(text), "%d", pid);
	write_file(path, text);
}

static void one_thing(void)
{
	int i = below(VMS);

	switch (below(120)) {
	case 0 ... 1:
		kill_vm(i);
		start_vm(i);
		break;
	case 2 ... 7:
		kill(vms[i].pid, vms[i].stopped ? SIGCONT : SIGSTOP);
		vms[i].stopped = !vms[i].stopped;
		break;
	case 8 ... 25:
		move_vm(vms[i].pid);
		break;
	case 26 ... 28:
		into_cgroup(vms[i].pid);
		break;
	case 29:
		watchdog = !watchdog;
		write_file("/proc/sys/kernel/nmi_watchdog", watchdog ? "1" : "0");
		toggled++;
		break;
	case 30 ... 31:
		/* a static key: code is patched, by way of a temporary mm */
		write_file("/proc/sys/kernel/sched_schedstats", one_in(2) ? "1" : "0");
		break;
	case 32:
		write_file("/sys/bus/event_source/devices/cpu/rdpmc", one_in(2) ? "2" : "1");
		break;
	case 33:
		if (!can_offline || !one_in(4))
			break;
		if (write_file("/sys/devices/system/cpu/cpu1/online", "0")) {
			usleep(1000 * below(20));
			offline++;
			if (!write_file("/sys/devices/system/cpu/cpu1/online", "1"))
				die("CPU 1 does not come back");
		}
		break;
	case 34:
		if (one_in(4))
			load_module();
		break;
	case 35 ... 36:
		trace();
		break;
	default:
		some_event();
	}
}

static u64 milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

/* Nobody runs for a while; events and what VMs own stay as they are. */
static void rest(u64 ms, pid_t counting)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	int i;

	kill(counting, SIGSTOP);
	for (i = 0; i < VMS; i++)
		kill(vms[i].pid, SIGSTOP);
	nanosleep(&pause, NULL);
	kill(counting, SIGCONT);
	for (i = 0; i < VMS; i++) {
		if (!vms[i].stopped)
			kill(vms[i].pid, SIGCONT);
	}
}

static u64 available(void)
{
	char line[100];
	u64 kib = 0, pages;
	FILE *f = fopen("/proc/meminfo", "r");

	write_file("/proc/sys/vm/drop_caches", "3");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %llu", (unsigned long long *)&kib);
	if (f)
		fclose(f);
	/* Each CPU keeps some free pages for itself, of which that knows nothing. */
	f = fopen("/proc/zoneinfo", "r");
	while (f && fgets(line, sizeof(line), f)) {
		pages = 0;
		sscanf(line, " count: %llu", (unsigned long long *)&pages);
		kib += 4 * pages;
	}
	if (f)
		fclose(f);
	return kib;
}

static void quiet(void)
{
	int i;

	for (i = 0; i < EVENTS; i++)
		close_event(i);
	for (i = 0; i < VMS; i++)
		kill_vm(i);
}

int main(int argc, char **argv)
{
	u64 changes, loads, last = 0, sum = 0, before = 0, after, end_of_warming;
	u64 rounds = 0, samples = 0, recorded = 0, moves = 0, starts = 0, begin_ms, ms, pace, rests = 0;
	u32 eax, ebx, ecx, edx;
	struct timespec pause = { 0 };
	bool warm = false;
	pid_t counting;
	int i, alive = 0;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: %s SEED CHANGES [SECONDS, over which they are spread]\n", argv[0]);
		return 2;
	}
	pace = argc == 4 ? strtoull(argv[3], NULL, 0) * 1000 : 0;
	begin_ms = milliseconds();
	state = strtoull(argv[1], NULL, 0);
	changes = strtoull(argv[2], NULL, 0);
	end_of_warming = changes / 10;
	__cpuid(0, eax, ebx, ecx, edx);
	amd = ebx == 0x68747541;	/* Auth */
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	can_offline = cpus > 1 && !access("/sys/devices/system/cpu/cpu1/online", W_OK);
	told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (told == MAP_FAILED)
		die("mmap");
	for (i = 0; i < EVENTS; i++)
		events[i] = -1;
	for (i = 0; i < 2; i++) {
		char path[40];

		snprintf(path, sizeof(path), CGROUPS "/%d", i);
		mkdir(path, 0755);
		groups[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
	counting = fork();
	if (!counting)
		counting_task(&told[VMS], rnd());
	for (i = 0; i < VMS; i++)
		start_vm(i);

	while (sum < changes) {
		one_thing();
		look_at_samples(below(EVENTS));
		pause.tv_nsec = 50000 + below(1000000);
		nanosleep(&pause, NULL);
		/* Of the VMs that there are: those of one that was killed are gone. */
		loads = read_number(STATS "passthrough_pmu_loads");
		if (loads > last)
			sum += loads - last;
		last = loads;
		ms = begin_ms + pace * sum / changes - milliseconds();
		if (pace && (int64_t)ms > 2000) {
			rest(ms, counting);
			rests++;
		}
		/* Caches and lists have their size then. */
		if (!warm && sum >= end_of_warming) {
			warm = true;
			quiet();
			before = available();
			for (i = 0; i < VMS; i++)
				start_vm(i);
			last = 0;
		}
		for (i = 0; i < VMS; i++) {
			if (waitpid(vms[i].pid, NULL, WNOHANG) == vms[i].pid)
				start_vm(i);
		}
	}
	quiet();
	kill(counting, SIGKILL);
	waitpid(counting, NULL, 0);
	after = available();

	for (i = 0; i <= PERF_BASED; i++) {
		rounds += i == PERF_BASED ? 0 : told[i].rounds;
		samples += i == PERF_BASED ? 0 : told[i].samples;
		recorded += told[i].recorded;
		moves += told[i].moves;
		starts += told[i].starts;
		alive += told[i].rounds > 0;
	}
	printf("# %llu changes of owner; VMs: %llu started, %llu killed, moved between CPUs %llu times, to a fresh VM %llu "
	       "times\n", (unsigned long long)sum, (unsigned long long)starts, (unsigned long long)killed,
	       (unsigned long long)moved, (unsigned long long)moves);
	printf("# %llu seconds, %llu rests; memory: %llu KiB available when it was warm, %llu in the end\n",
	       (unsigned long long)(milliseconds() - begin_ms) / 1000, (unsigned long long)rests,
	       (unsigned long long)before, (unsigned long long)after);
	printf("# guests: %llu rounds, %llu samples, %llu branch records; a task counted itself %llu times\n",
	       (unsigned long long)rounds, (unsigned long long)samples, (unsigned long long)recorded,
	       (unsigned long long)told[VMS].rounds);
	printf("# %llu events with branch records: %llu samples of %llu branches\n", (unsigned long long)with_branches,
	       (unsigned long long)host_records.samples, (unsigned long long)host_records.branches);
	printf("# events of the host: %llu, %llu of them of cgroups, %llu refused; CPU offline %llu times, watchdog turned "
	       "%llu times, %llu traces, %llu modules\n", (unsigned long long)opened, (unsigned long long)of_cgroups,
	       (unsigned long long)refused, (unsigned long long)offline, (unsigned long long)toggled,
	       (unsigned long long)traced, (unsigned long long)modules);
	check(alive == VMS && told[VMS].rounds, "all of them get on", "%d of %d VMs, the task counted itself %llu times",
	      alive, VMS, (unsigned long long)told[VMS].rounds);
	for (i = 0; i < PERF_BASED; i++)
		check(!told[i].wrong, (const char *[]) {
		      "VM 1: each count, sample and branch record", "VM 2: each count, sample and branch record",
		      "VM 3: each count, sample and branch record" }[i], "%llu wrong, first: %s",
		      (unsigned long long)told[i].wrong, told[i].text);
	check(!told[PERF_BASED].wrong, "the perf-based VM goes on", "%s", told[PERF_BASED].text);
	check(!told[VMS].wrong, "each count of a task of the host", "%llu wrong, first: %s",
	      (unsigned long long)told[VMS].wrong, told[VMS].text);
	check(!host_records.guests, "no branch record of a guest in a sample of the host",
	      "%llu, first: from %#llx to %#llx", (unsigned long long)host_records.guests,
	      (unsigned long long)host_records.from, (unsigned long long)host_records.to);
	/* While something traces, most processors refuse such events. */
	check(recorded && (host_records.branches || with_branches < 10), "guests and the host record branches",
	      "%llu and %llu records", (unsigned long long)recorded, (unsigned long long)host_records.branches);
	check(before && after + 12 * 1024 > before, "memory", "%llu KiB available, %llu when it was warm",
	      (unsigned long long)after, (unsigned long long)before);
	return ktap_end();
}
