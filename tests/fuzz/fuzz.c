// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random use of the interfaces
 *
 *	fuzz guests SEED OPERATIONS [ROUND]	guests access registers of PMUs at every privilege level, in L1 and L2
 *	fuzz calls SEED CALLS [ROUND]		user space calls KVM from several threads while they do
 *
 * A round is a VM of its own, made from the seed and its number: with ROUND only that one is done.  In half of the
 * rounds of calls they may alter the guest's registers, too, and what it does then cannot be foreseen.  What must hold:
 *
 * - no value of the host is seen: the host has events whose counters and selectors can be recognized;
 * - nor do guests alter the host's: those events count nothing, ever;
 * - calls fail with the errors that Documentation/virt/kvm/api.rst has for them;
 * - a guest ends, with no exit that tells of an error, unless user space gave it registers with which a guest without
 *   a PMU, on the same state, does not get on either.
 *
 * The kernel's log is looked at by the script.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../ktap.h"
#include "../random.h"
#include "guest.h"

#ifndef KVM_PMU_CAP_PERF_BASED
#define KVM_PMU_CAP_PERF_BASED (1ull << 29)
#endif
#ifndef KVM_PMU_CAP_PASSTHROUGH
#define KVM_PMU_CAP_PASSTHROUGH (1ull << 30)
#endif

#define CPUIDS		128
#define CALLERS		2
#define TICK_US		5000
/* Ticks until a guest is given up; on a kernel that checks itself all takes longer. */
#define PATIENCE	((the_vm.wild ? 20 : 200) * slowness)

asm(".pushsection .rodata\n"
    "image:\n"
    "	.incbin \"" GUEST_BIN "\"\n"
    "image_end:\n"
    ".popsection\n");
extern const char image[], image_end[];

struct cpuids {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUIDS];
};

#define MSRS 16
struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MSRS];
};

struct vcpu {
	int fd;
	u32 id;
	struct kvm_run *run;
	struct cpuids cpuid;
	struct area *area;
	pthread_t thread;
	pthread_mutex_t runs;	/* held in KVM_RUN */
	volatile int wanted;	/* by those who want it not to run */
	bool irqchip;
	u32 count;		/* of operations; a guest may have altered what is in its area */
	u64 rng;
};

struct vm {
	int fd;
	char *memory;
	u32 vcpus;
	bool irqchip, wild;
	volatile bool dead;	/* KVM, or its vCPU, is beyond repair */
	struct vcpu vcpu[GUEST_VCPUS];
};

static int kvm;
static long run_size;
static bool amd;
static u32 cpus;
static struct cpuids supported;
static u64 seed, round_number;
static bool only_guests;
static volatile bool stop;
static u64 calls, operations, entries, refused, ended, error_exits, gone, resets, given_up;
/* Those who call hold it for reading, who wants that nobody does for writing. */
static pthread_rwlock_t calling = PTHREAD_RWLOCK_INITIALIZER;
static struct vm the_vm;

/* ---- failures ---- */

static u32 failures;
static char first_failures[5][200];
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

__attribute__((format(printf, 1, 2)))
static void failure(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	pthread_mutex_lock(&telling);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (failures < 20) {
		printf("# %s (%sround %llu of seed %llu)\n", text, the_vm.wild ? "any registers, " : "",
		       (unsigned long long)round_number, (unsigned long long)seed);
		fflush(stdout);
	}
	if (failures < 5)
		strcpy(first_failures[failures], text);
	failures++;
	pthread_mutex_unlock(&telling);
}

static void die(const char *what)
{
	printf("# %s: %s, round %llu\nBail out! %s\n", what, strerror(errno), (unsigned long long)round_number, what);
	exit(2);
}

static int must(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

/* ---- what the host has in its registers ---- */

#define MARK_COUNTER	0xa5c3ull	/* bits 32 to 47 of a counter that does not count */
#define MARK_CMASK	0xa5ull		/* bits 24 to 31 of a selector: more events than a cycle ever has */

static int host_events[64], nr_host_events;

static int perf_open(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	return syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static void host_begin(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .size = sizeof(attr), .exclude_guest = 1,
		.config = (amd ? 0xc2 : 0xc4) | MARK_CMASK << 24,
		.sample_period = (1ull << 48) - (MARK_COUNTER << 32),
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};
	u32 cpu, i;

	for (cpu = 0; cpu < cpus; cpu++) {
		for (i = 0; i < 2; i++) {
			int fd = perf_open(&attr, -1, cpu);

			if (fd < 0)
				die("an event of the host");
			host_events[nr_host_events++] = fd;
		}
	}
}

static void host_end(void)
{
	struct { u64 count, enabled, running; } is;
	int i;

	for (i = 0; i < nr_host_events; i++) {
		if (read(host_events[i], &is, sizeof(is)) != sizeof(is))
			failure("an event of the host cannot be read: %s", strerror(errno));
		else if (is.count)
			failure("an event of the host counted %#llx", (unsigned long long)is.count);
		else if (is.running < is.enabled / 10)
			failure("an event of the host had a counter for %llu of %llu ns: its mark was seldom there",
				(unsigned long long)is.running, (unsigned long long)is.enabled);
		close(host_events[i]);
	}
	nr_host_events = 0;
}

static bool of_the_host(u64 value)
{
	return (value >> 32 & 0xffff) == MARK_COUNTER ||
	       ((value >> 24 & 0xff) == MARK_CMASK && (value & 0xffff) == (amd ? 0xc2 : 0xc4));
}

static void look(const char *who, u32 index, u64 value)
{
	if (of_the_host(value))
		failure("%s %#x: %#llx is the host's", who, index, (unsigned long long)value);
}

/* ---- registers of PMUs, of both vendors ---- */

static const struct { u32 first, n; } ranges[] = {
	{ 0xc1, 8 }, { 0x186, 8 }, { 0x4c1, 8 }, { 0x309, 5 }, { 0x329, 1 }, { 0x345, 1 }, { 0x38d, 6 }, { 0x38d, 6 },
	{ 0x3f1, 3 }, { 0x3f6, 2 }, { 0x600, 1 }, { 0x1d9, 1 }, { 0x1c8, 2 }, { 0x1a6, 2 }, { 0x1a0, 1 }, { 0x680, 2 },
	{ 0x6c0, 2 }, { 0x570, 2 }, { 0x14ce, 2 }, { 0x1200, 2 }, { 0x1900, 8 }, { 0x1980, 4 },
	{ 0xc0010000, 8 }, { 0xc0010200, 16 }, { 0xc0010200, 12 }, { 0xc0000300, 5 }, { 0xc0000300, 4 },
	{ 0xc000010f, 1 }, { 0xc0010230, 4 }, { 0xc0011030, 6 }, { 0xc001103a, 2 }, { 0xc0010300, 2 },
};

static u32 some_msr(u64 *s)
{
	u32 i = random_below(s, sizeof(ranges) / sizeof(*ranges));

	if (random_one_in(s, 40))
		return ranges[i].first + random_below(s, 32) - 8;
	return ranges[i].first + random_below(s, ranges[i].n);
}

static u64 some_value(u64 *s, u32 msr)
{
	static const u64 good[] = {
		0, ~0ull, 1, 0x4300c0, 0x5300c0, 0x5300c4, 0x53013c, 0x7f, 0xff, 0x70000000full, 0xf000000ffull,
		0x1000f000000ffull, 0x333, 0xbbb, 0xbbbb, 0x1bbb, 0xffffffffff00, 0x7fffffff, 0xffffff00,
		1ull << 62 | 1, 3ull << 58, 1ull << 48, 0x2000, 0x32c4, 0x3c5, 0x5300c2, 0x4300c00000c0ull,
	};
	u64 value;

	do {
		value = good[random_below(s, sizeof(good) / sizeof(*good))];
		if (random_one_in(s, 3))
			value ^= 1ull << random_below(s, 64);
		if (random_one_in(s, 6))
			value = random_next(s) >> random_below(s, 64);
		if (random_one_in(s, 8))
			value = -(random_next(s) >> 33 & 0xffff);
		/* The host's own instructions would trap: BTF, and what is none of the PMU's. */
		if (msr == 0x1d9)
			value &= ~0x2ull;
		if (msr == 0x1a0)
			value &= 0x1880;
	} while (of_the_host(value));
	return value;
}

static u32 some_counter(u64 *s)
{
	static const u32 kinds[] = { 0, 0, 0, 1u << 30, 1u << 30, 1u << 29, 1u << 31, 0x2000, 0x4000, 0x8000 };

	if (random_one_in(s, 10))
		return random_next(s);
	return kinds[random_below(s, sizeof(kinds) / sizeof(*kinds))] | random_below(s, random_one_in(s, 8) ? 40 : 8);
}

static void make_program(struct vcpu *c, u64 *s)
{
	static const u8 kinds[] = {
		OP_RDMSR, OP_RDMSR, OP_RDMSR, OP_WRMSR, OP_WRMSR, OP_WRMSR, OP_WRMSR, OP_WRMSR, OP_RDPMC, OP_RDPMC,
		OP_RDPMC, OP_LOOP, OP_LOOP, OP_CPUID, OP_LVTPC, OP_LVTPC, OP_PCE, OP_STI, OP_PORT, OP_NESTED,
	};
	static const u32 lvtpc[] = { 0x400, 0x400, VECTOR_PMI, VECTOR_PMI, 0x10400, 0x10000 | VECTOR_PMI };
	u32 i, n = 40 + random_below(s, MAX_OPS - 40);

	for (i = 0; i < n; i++) {
		struct op *op = &c->area->ops[i];

		*op = (struct op) { .kind = kinds[random_below(s, sizeof(kinds))] };
		switch (op->kind) {
		case OP_RDMSR:
		case OP_WRMSR:
			op->index = some_msr(s);
			op->ring = random_one_in(s, 30) ? random_below(s, 4) : 0;
			op->value = some_value(s, op->index);
			break;
		case OP_RDPMC:
			op->index = some_counter(s);
			op->ring = random_below(s, 4);
			break;
		case OP_LOOP:
			op->value = 1 + random_below(s, 300);
			op->ring = random_below(s, 4);
			break;
		case OP_CPUID:
			op->index = (const u32[]) { 0xa, 1, 0x80000022, 0x23, 0x1c, 7 }[random_below(s, 6)];
			break;
		case OP_LVTPC:
			op->value = lvtpc[random_below(s, 6)];
			if (!c->irqchip)
				op->kind = OP_PORT;
			break;
		case OP_PCE:
			op->value = random_below(s, 2);
			break;
		case OP_NESTED:
			op->kind = random_one_in(s, 2) ? OP_NESTED : OP_LOOP;
			op->index = 1 + random_below(s, 60);
			op->value = 1 + random_below(s, 255);
			if (op->kind == OP_NESTED && random_one_in(s, 2))
				op->value |= some_value(s, 0x38f) << 8;
			break;
		}
	}
	memset(c->area->results, 0, n * sizeof(c->area->results[0]));
	c->area->count = c->count = n;
}

/* ---- VMs ---- */

static struct kvm_cpuid_entry2 *leaf(struct cpuids *c, u32 function, u32 index)
{
	u32 i;

	for (i = 0; i < c->head.nent; i++) {
		if (c->entries[i].function == function && c->entries[i].index == index)
			return &c->entries[i];
	}
	return NULL;
}

/* One that KVM might have offered, or nearly */
static void some_cpuid(struct cpuids *c, u64 *s)
{
	static const u32 leaves[] = { 0xa, 0xa, 0xa, 1, 7, 0x80000001, 0x80000022, 0x80000022, 0x1c, 0x23, 0x14, 0 };
	struct kvm_cpuid_entry2 *e;
	u32 n = random_below(s, 4);

	*c = supported;
	e = leaf(c, 0xa, 0);
	if (e && random_one_in(s, 2)) {
		e->eax = (e->eax & 0xff000000) | random_below(s, 7) | random_below(s, 11) << 8 |
			 (random_one_in(s, 3) ? random_below(s, 70) : e->eax >> 16 & 0xff) << 16;
		e->edx = (e->edx & ~0x1fffu) | random_below(s, 6) |
			 (random_one_in(s, 3) ? random_below(s, 70) : e->edx >> 5 & 0xff) << 5;
		e->ecx = random_one_in(s, 2) ? 0 : random_below(s, 64);
	}
	e = leaf(c, 0x80000022, 0);
	if (e && random_one_in(s, 2)) {
		e->eax = random_below(s, 8);
		e->ebx = (e->ebx & ~15u) | random_below(s, 16);
	}
	while (n--) {
		e = leaf(c, leaves[random_below(s, sizeof(leaves) / sizeof(*leaves))], 0);
		if (!e)
			continue;
		switch (random_below(s, 4)) {
		case 0:
			e->eax ^= 1u << random_below(s, 32);
			break;
		case 1:
			e->ebx ^= 1u << random_below(s, 32);
			break;
		case 2:
			e->ecx ^= 1u << random_below(s, 32);
			break;
		case 3:
			e->edx ^= 1u << random_below(s, 32);
			break;
		}
	}
	/* What the guest itself needs */
	e = leaf(c, 1, 0);
	e->edx |= 1 << 5 | 1 << 6 | 1 << 9 | 1 << 3;
	e = leaf(c, 0x80000001, 0);
	e->edx |= 1 << 29;
}

static struct kvm_segment segment(u16 selector, u8 type, u64 base)
{
	bool s = !(type & 0x80);

	return (struct kvm_segment) {
		.selector = selector, .limit = s ? 0xffffffff : 0x67, .type = type & 15, .s = s, .present = 1,
		.dpl = selector & 3, .l = s && type & 8, .g = s, .db = s && !(type & 8), .base = base,
	};
}

static u64 *at(struct vm *vm, u32 address)
{
	return (u64 *)(vm->memory + address);
}

static void fill_memory(struct vm *vm)
{
	const u64 *handlers;
	u32 i, r, v;

	memset(vm->memory, 0, CODE);
	memcpy(vm->memory + CODE, image, image_end - image);
	handlers = at(vm, GUEST_HANDLERS);
	at(vm, PML4)[0] = PDPT | 7;
	at(vm, PDPT)[0] = PD_LOW | 7;
	at(vm, PDPT)[3] = PD_APIC | 7;
	at(vm, PD_LOW)[0] = 0x87;
	at(vm, PD_LOW)[1] = 0x200087;
	at(vm, PD_APIC)[(APIC >> 21) & 0x1ff] = (APIC & ~0x1fffffu) | 0x9f;
	for (r = 0; r < 4; r++) {
		at(vm, GDT)[CODE_OF(r) / 8] = 0x00af9b000000ffffull | (u64)r << 45;
		at(vm, GDT)[DATA_OF(r) / 8] = 0x00cf93000000ffffull | (u64)r << 45;
	}
	for (v = 0; v < GUEST_VCPUS; v++) {
		at(vm, GDT)[TSS_OF(v) / 8] = 0x00008b0000000067ull | (u64)TSS(v) << 16;
		memcpy(vm->memory + TSS(v) + 4, &(u64) { STACKS(v) + STACK_TSS }, 8);
		memcpy(vm->memory + TSS(v) + 36, &(u64) { STACKS(v) + STACK_NMI }, 8);
	}
	for (i = 0; i < 256; i++) {
		u64 to = i < 32 ? handlers[i] : handlers[i == VECTOR_BACK ? 32 : 33];

		at(vm, IDT)[2 * i] = (to & 0xffff) | CODE_OF(0) << 16 | (u64)(i == 2) << 32 |
				     (0x8e00ull | (i == VECTOR_BACK ? 3 << 13 : 0)) << 32 | (to >> 16 & 0xffff) << 48;
		at(vm, IDT)[2 * i + 1] = 0;
	}
}

static void good_sregs(struct vcpu *c, struct kvm_sregs *s)
{
	s->cs = segment(CODE_OF(0), 11, 0);
	s->ss = segment(DATA_OF(0), 3, 0);
	s->ds = s->es = s->fs = segment(DATA_OF(3) | 3, 3, 0);
	s->gs = segment(DATA_OF(3) | 3, 3, AREA(c->id));
	s->tr = segment(TSS_OF(c->id), 0x80 | 11, TSS(c->id));
	s->ldt = (struct kvm_segment) { .unusable = 1 };
	s->gdt = (struct kvm_dtable) { .base = GDT, .limit = GDT_SIZE - 1 };
	s->idt = (struct kvm_dtable) { .base = IDT, .limit = 0xfff };
	s->cr0 = 0x80000033;
	s->cr3 = PML4;
	s->cr4 = 0x20;
	s->cr8 = 0;
	s->efer = 0x500;
	s->apic_base = 0xfee00000 | 1 << 11 | (c->id ? 0 : 1 << 8);
	memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
}

static void good_regs(struct vcpu *c, struct kvm_regs *r)
{
	*r = (struct kvm_regs) {
		.rip = CODE, .rflags = 2, .rsp = STACKS(c->id) + STACK_L1, .rdi = AREA(c->id),
	};
}

static bool died(struct vm *vm)
{
	if (vm->wild && errno == EIO)
		vm->dead = true;
	return vm->dead;
}

/* Whatever it has come to, it begins again. */
static void reset_vcpu(struct vm *vm, struct vcpu *c)
{
	struct { struct kvm_nested_state head; char rest[0x2000]; } nested = { .head.size = sizeof(nested.head) };
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct msrs m = { .head.nmsrs = 1, .entries[0] = { .index = 0x3a, .data = 5 } };
	struct kvm_vcpu_events events = {};
	struct kvm_guest_debug debug = {};
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	u32 n = 0x1ff;
	bool bad;

	nested.head.format = amd ? KVM_STATE_NESTED_FORMAT_SVM : KVM_STATE_NESTED_FORMAT_VMX;
	nested.head.hdr.vmx.vmxon_pa = nested.head.hdr.vmx.vmcs12_pa = amd ? 0 : ~0ull;
	if (amd)
		nested.head.flags = KVM_STATE_NESTED_GIF_SET;
	if (ioctl(c->fd, KVM_SET_NESTED_STATE, &nested) && died(vm))
		return;
	ioctl(c->fd, KVM_SET_GUEST_DEBUG, &debug);
	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) && died(vm))
		return;
	memset(&events.exception, 0, sizeof(events.exception));
	memset(&events.interrupt, 0, sizeof(events.interrupt));
	memset(&events.nmi, 0, sizeof(events.nmi));
	events.triple_fault.pending = 0;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	ioctl(c->fd, KVM_SET_VCPU_EVENTS, &events);
	if (vm->irqchip)
		ioctl(c->fd, KVM_SET_MP_STATE, &runnable);
	bad = ioctl(c->fd, KVM_GET_SREGS, &sregs);
	good_sregs(c, &sregs);
	good_regs(c, &regs);
	bad |= ioctl(c->fd, KVM_SET_SREGS, &sregs) | ioctl(c->fd, KVM_SET_REGS, &regs);
	if (vm->irqchip) {
		bad |= ioctl(c->fd, KVM_GET_LAPIC, &lapic);
		memcpy(lapic.regs + APIC_SPIV, &n, 4);
		bad |= ioctl(c->fd, KVM_SET_LAPIC, &lapic);
	}
	/* Or there is no way back from where it was. */
	if (bad && !vm->wild)
		die("setting a vCPU up");
	vm->dead |= bad;
	if (!amd)
		ioctl(c->fd, KVM_SET_MSRS, &m.head);
}

static void refresh_area(struct vcpu *c)
{
	c->area->vcpu = c->id;
	c->area->svm = amd;
	c->area->rsp = 0;
	c->area->ring_rsp = STACKS(c->id) + STACK_RING;
}

static void create_vm(struct vm *vm, u64 *s)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_SIZE };
	static const u64 pmu_caps[] = { 0, 0, 0, KVM_PMU_CAP_DISABLE, KVM_PMU_CAP_PERF_BASED, KVM_PMU_CAP_PASSTHROUGH };
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_PMU_CAPABILITY, .args[0] = pmu_caps[random_below(s, sizeof(pmu_caps) / sizeof(*pmu_caps))],
	};
	u32 i;

	memset(vm->vcpu, 0, sizeof(vm->vcpu));
	vm->dead = false;
	vm->fd = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	vm->irqchip = !random_one_in(s, 6);
	vm->vcpus = only_guests ? 1 : 1 + random_below(s, GUEST_VCPUS);
	if (only_guests && cap.args[0] == KVM_PMU_CAP_DISABLE && !random_one_in(s, 4))
		cap.args[0] = 0;
	if (cap.args[0] && ioctl(vm->fd, KVM_ENABLE_CAP, &cap) && errno != EINVAL)
		failure("KVM_CAP_PMU_CAPABILITY %#llx: %s", (unsigned long long)cap.args[0], strerror(errno));
	if (!amd)
		must(ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	if (vm->irqchip)
		must(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	fill_memory(vm);
	region.userspace_addr = (uintptr_t)vm->memory;
	must(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	for (i = 0; i < vm->vcpus; i++) {
		struct vcpu *c = &vm->vcpu[i];

		c->id = i;
		c->irqchip = vm->irqchip;
		c->area = (struct area *)(vm->memory + AREA(i));
		c->rng = random_next(s);
		pthread_mutex_init(&c->runs, NULL);
		c->fd = must(ioctl(vm->fd, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
		c->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
		if (c->run == MAP_FAILED)
			die("mmap of a vCPU");
		c->cpuid = supported;
		if (!random_one_in(s, 3))
			some_cpuid(&c->cpuid, s);
		if (ioctl(c->fd, KVM_SET_CPUID2, &c->cpuid)) {
			if (errno != EINVAL)
				failure("KVM_SET_CPUID2: %s", strerror(errno));
			c->cpuid = supported;
			must(ioctl(c->fd, KVM_SET_CPUID2, &c->cpuid), "KVM_SET_CPUID2 of what is supported");
		}
		memset(c->area, 0, sizeof(*c->area));
		reset_vcpu(vm, c);
		refresh_area(c);
	}
}

static void destroy_vm(struct vm *vm)
{
	u32 i;

	given_up += vm->dead;
	for (i = 0; i < vm->vcpus; i++) {
		/* Guests whose registers were altered may have written there. */
		if (!vm->wild) {
			entries += vm->vcpu[i].area->entries;
			refused += vm->vcpu[i].area->refused;
		}
		munmap(vm->vcpu[i].run, run_size);
		close(vm->vcpu[i].fd);
	}
	close(vm->fd);
}

/* ---- a guest runs ---- */

static __thread volatile sig_atomic_t ticks;
static int slowness = 1;

static void tick(int signal)
{
	(void)signal;
	ticks++;
}

static timer_t start_ticks(void)
{
	struct itimerspec every = { { 0, TICK_US * 1000 }, { 0, TICK_US * 1000 } };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	timer_t timer;

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
	event.sigev_notify_thread_id = syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &every, NULL))
		die("a timer");
	return timer;
}

/* Ticks end KVM_RUN, and nothing else. */
static int run_vcpu(int fd)
{
	sigset_t set;
	int result, error;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	result = ioctl(fd, KVM_RUN, 0);
	error = errno;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	errno = error;
	return result;
}

/* The same, unless somebody wants it not to run */
static int run_if_not_wanted(struct vcpu *c)
{
	int result, error;

	while (c->wanted)
		sched_yield();
	pthread_mutex_lock(&c->runs);
	result = run_vcpu(c->fd);
	error = errno;
	pthread_mutex_unlock(&c->runs);
	errno = error;
	return result;
}

static void stop_vcpu(struct vcpu *c)
{
	__atomic_add_fetch(&c->wanted, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&c->runs);
}

static void continue_vcpu(struct vcpu *c)
{
	pthread_mutex_unlock(&c->runs);
	__atomic_sub_fetch(&c->wanted, 1, __ATOMIC_SEQ_CST);
}

static const char *error_of(const struct kvm_run *run)
{
	static __thread char text[80];

	if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(text, sizeof(text), "KVM_EXIT_FAIL_ENTRY %#llx",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	else
		snprintf(text, sizeof(text), "KVM_EXIT_INTERNAL_ERROR %u", run->internal.suberror);
	return text;
}

static bool error_exit(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_FAIL_ENTRY || run->exit_reason == KVM_EXIT_INTERNAL_ERROR;
}

/* Some times, if ticks interrupt it */
static bool ends_with_error(int fd, const struct kvm_run *run)
{
	int i;

	for (i = 0; i < 20; i++) {
		if (!run_vcpu(fd))
			return error_exit(run);
		if (errno != EINTR && errno != EAGAIN)
			return false;
	}
	return false;
}

/* Does a guest without PMU end the same way from here?  Nobody else calls. */
static bool so_without_pmu(struct vm *vm, struct vcpu *c)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PMU_CAPABILITY, .args[0] = KVM_PMU_CAP_DISABLE };
	struct kvm_enable_cap payload = { .cap = KVM_CAP_EXCEPTION_PAYLOAD, .args[0] = 1 };
	struct kvm_enable_cap triple_fault = { .cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args[0] = 1 };
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_SIZE };
	static struct { struct kvm_nested_state head; char rest[0x2000]; } nested;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_run *run;
	char have[80];
	u32 set = 0;
	bool same;
	int fd, v;

	/* It still does?  Somebody may have come between the exit and here. */
	if (!ends_with_error(c->fd, c->run)) {
		gone++;
		return true;
	}
	snprintf(have, sizeof(have), "%s", error_of(c->run));
	nested.head.size = sizeof(nested);
	must(ioctl(c->fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	must(ioctl(c->fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	must(ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS");
	must(ioctl(c->fd, KVM_GET_NESTED_STATE, &nested), "KVM_GET_NESTED_STATE");
	must(ioctl(c->fd, KVM_GET_MP_STATE, &mp_state), "KVM_GET_MP_STATE");
	fd = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	ioctl(fd, KVM_ENABLE_CAP, &cap);
	/* With what KVM_GET_VCPU_EVENTS may have told of */
	ioctl(fd, KVM_ENABLE_CAP, &payload);
	ioctl(fd, KVM_ENABLE_CAP, &triple_fault);
	if (!amd)
		ioctl(fd, KVM_SET_TSS_ADDR, 0xfffbd000);
	if (vm->irqchip)
		must(ioctl(fd, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	region.userspace_addr = (uintptr_t)vm->memory;
	must(ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	v = must(ioctl(fd, KVM_CREATE_VCPU, c->id), "KVM_CREATE_VCPU");
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v, 0);
	if (run == MAP_FAILED)
		die("mmap of a vCPU");
	set |= !!ioctl(v, KVM_SET_CPUID2, &c->cpuid);
	set |= !!ioctl(v, KVM_SET_SREGS, &sregs) << 1;
	set |= !!ioctl(v, KVM_SET_REGS, &regs) << 2;
	set |= !!ioctl(v, KVM_SET_NESTED_STATE, &nested) << 3;
	set |= !!ioctl(v, KVM_SET_VCPU_EVENTS, &events) << 4;
	/* All but the first would wait for an INIT. */
	if (vm->irqchip)
		set |= !!ioctl(v, KVM_SET_MP_STATE, &mp_state) << 5;
	same = ends_with_error(v, run) && !strcmp(error_of(run), have);
	if (!same)
		printf("# rip %#llx rflags %#llx cr0 %#llx cr4 %#llx efer %#llx apic %#llx nested %#x interrupt %d,%d,%d "
		       "nmi %d,%d exception %d,%d smm %d shadow %d; without a PMU: exit %u, refused %#x\n",
		       (unsigned long long)regs.rip, (unsigned long long)regs.rflags, (unsigned long long)sregs.cr0,
		       (unsigned long long)sregs.cr4, (unsigned long long)sregs.efer, (unsigned long long)sregs.apic_base,
		       nested.head.flags, events.interrupt.injected, events.interrupt.nr, events.interrupt.soft,
		       events.nmi.injected, events.nmi.masked, events.exception.injected, events.exception.nr,
		       events.smi.smm, events.interrupt.shadow, run->exit_reason, set);
	munmap(run, run_size);
	close(v);
	close(fd);
	return same;
}

static void check_results(struct vm *vm, struct vcpu *c)
{
	u32 i, skipped = 0;	/* L2's operations end before that one */

	for (i = 0; i < c->count; i++) {
		const struct op *op = &c->area->ops[i];
		const struct result *r = &c->area->results[i];

		if (op->kind == OP_NESTED && i >= skipped)
			skipped = i + op->index + 1;
		if (!r->done) {
			if (i >= skipped && !vm->wild)
				failure("operation %u of %u was not done", i, c->count);
			continue;
		}
		__atomic_add_fetch(&operations, 1, __ATOMIC_RELAXED);
		if (r->fault)
			continue;
		if (op->kind == OP_RDMSR)
			look(r->done == 2 ? "L2's RDMSR" : "RDMSR", op->index, r->value);
		else if (op->kind == OP_RDPMC)
			look(r->done == 2 ? "L2's RDPMC" : "RDPMC", op->index, r->value);
		if (op->ring && op->kind <= OP_WRMSR)
			failure("%s of %#x in ring %u did not fault", op->kind ? "WRMSR" : "RDMSR", op->index, op->ring);
	}
}

/* Until the end of the program, or the vCPU's */
static void run_program(struct vm *vm, struct vcpu *c)
{
	bool begin_again = false;
	cpu_set_t set;

	ticks = 0;
	while (!stop && !begin_again) {
		__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
		if (run_if_not_wanted(c)) {
			if (died(vm))
				return;
			if (errno != EINTR && errno != EAGAIN) {
				if (!vm->wild || errno != EFAULT)
					failure("KVM_RUN: %s", strerror(errno));
				begin_again = true;
			} else if (ticks > PATIENCE) {
				if (!vm->wild) {
					struct kvm_regs r;

					ioctl(c->fd, KVM_GET_REGS, &r);
					failure("the guest does not end, at %#llx, operation %u of %u",
						(unsigned long long)r.rip, c->area->next, c->count);
				}
				begin_again = true;
			}
			continue;
		}
		switch (c->run->exit_reason) {
		case KVM_EXIT_IO:
			if (c->run->io.port == PORT_END) {
				check_results(vm, c);
				__atomic_add_fetch(&ended, 1, __ATOMIC_RELAXED);
				return;
			}
			if (c->run->io.port == PORT_FAULT && !vm->wild) {
				failure("exception %u in the guest", *((u8 *)c->run + c->run->io.data_offset));
				begin_again = true;
			} else if (c->run->io.port == PORT_FAULT) {
				begin_again = true;
			} else if (c->run->io.port == PORT_LOOK && only_guests && random_one_in(&c->rng, 4)) {
				CPU_ZERO(&set);
				CPU_SET(random_below(&c->rng, cpus), &set);
				sched_setaffinity(0, sizeof(set), &set);
			}
			break;
		case KVM_EXIT_X86_RDMSR:
			c->run->msr.data = some_value(&c->rng, 0);
			c->run->msr.error = random_below(&c->rng, 2);
			break;
		case KVM_EXIT_X86_WRMSR:
			c->run->msr.error = random_below(&c->rng, 2);
			break;
		case KVM_EXIT_FAIL_ENTRY:
		case KVM_EXIT_INTERNAL_ERROR:
			__atomic_add_fetch(&error_exits, 1, __ATOMIC_RELAXED);
			if (!vm->wild) {
				failure("%s", error_of(c->run));
			} else {
				char text[80];

				snprintf(text, sizeof(text), "%s", error_of(c->run));
				pthread_rwlock_wrlock(&calling);
				if (!so_without_pmu(vm, c))
					failure("%s, and not without a PMU", text);
				pthread_rwlock_unlock(&calling);
			}
			begin_again = true;
			break;
		case KVM_EXIT_SHUTDOWN:
			if (!vm->wild)
				failure("the guest shut down");
			begin_again = true;
			break;
		case KVM_EXIT_MMIO:
		case KVM_EXIT_DEBUG:
		case KVM_EXIT_INTR:
		case KVM_EXIT_IRQ_WINDOW_OPEN:
		case KVM_EXIT_SET_TPR:
			break;
		case KVM_EXIT_HLT:
			begin_again = true;
			break;
		default:
			if (!vm->wild)
				failure("exit %u", c->run->exit_reason);
			begin_again = true;
		}
	}
	if (begin_again) {
		__atomic_add_fetch(&resets, 1, __ATOMIC_RELAXED);
		/* Another thread may have altered what is begun with. */
		if (vm->wild)
			fill_memory(vm);
		reset_vcpu(vm, c);
		refresh_area(c);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *c = arg;
	timer_t timer = start_ticks();

	while (!stop && !the_vm.dead) {
		make_program(c, &c->rng);
		run_program(&the_vm, c);
	}
	timer_delete(timer);
	return NULL;
}

/* ---- calls ---- */

/* A call, and the errors that it may have */
static int call(const char *name, int fd, unsigned long request, void *arg, const int *errors)
{
	int result = ioctl(fd, request, arg), error = errno;

	__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	if (result >= 0)
		return result;
	if (died(&the_vm))
		return -1;
	while (*errors && *errors != error)
		errors++;
	if (!*errors)
		failure("%s: %s", name, strerror(error));
	errno = error;
	return -1;
}

#define CALL(fd, request, arg, ...) call(#request, fd, request, arg, (const int[]) { __VA_ARGS__, 0 })

static void set_cpuid(struct vcpu *c, u64 *s)
{
	static __thread struct cpuids some;

	some_cpuid(&some, s);
	if (random_one_in(s, 10))
		some.head.nent = random_below(s, 4) ? random_below(s, CPUIDS) : random_next(s);
	if (random_one_in(s, 20) && some.head.nent)
		some.entries[random_below(s, some.head.nent % CPUIDS)].function = random_next(s);
	if (CALL(c->fd, KVM_SET_CPUID2, random_one_in(s, 30) ? NULL : &some, EINVAL, E2BIG, EFAULT, ENOMEM) == 0)
		c->cpuid = some;
}

static void get_cpuid(struct vcpu *c, u64 *s)
{
	static __thread struct cpuids some;

	some.head.nent = random_one_in(s, 4) ? random_below(s, CPUIDS) : CPUIDS;
	CALL(c->fd, KVM_GET_CPUID2, &some, E2BIG, EFAULT);
}

static void set_msrs(struct vcpu *c, u64 *s)
{
	struct msrs m = { .head.nmsrs = 1 + random_below(s, MSRS) };
	u32 i;

	for (i = 0; i < m.head.nmsrs; i++) {
		m.entries[i].index = some_msr(s);
		m.entries[i].data = some_value(s, m.entries[i].index);
		m.entries[i].reserved = random_one_in(s, 50);
	}
	if (random_one_in(s, 50))
		m.head.nmsrs = random_next(s);
	CALL(c->fd, KVM_SET_MSRS, &m, E2BIG, EFAULT, ENOMEM);
}

static void get_msrs(struct vcpu *c, u64 *s)
{
	struct msrs m = { .head.nmsrs = 1 + random_below(s, MSRS) };
	int i, n;

	for (i = 0; i < (int)m.head.nmsrs; i++)
		m.entries[i].index = some_msr(s);
	n = CALL(c->fd, KVM_GET_MSRS, &m, E2BIG, EFAULT, ENOMEM);
	for (i = 0; i < n; i++)
		look("KVM_GET_MSRS of", m.entries[i].index, m.entries[i].data);
}

static void msr_filter(struct vm *vm, u64 *s)
{
	struct kvm_msr_filter filter = { .flags = random_below(s, 2) };
	struct kvm_enable_cap exits = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = random_below(s, 8) };
	static __thread u8 bits[16][64];
	u32 i, n = random_below(s, 5);

	for (i = 0; i < n; i++) {
		u32 k = random_below(s, sizeof(ranges) / sizeof(*ranges));

		filter.ranges[i].flags = 1 + random_below(s, 3);
		filter.ranges[i].base = ranges[k].first;
		filter.ranges[i].nmsrs = ranges[k].n;
		filter.ranges[i].bitmap = bits[i];
		*(u64 *)bits[i] = random_next(s);
		if (random_one_in(s, 20) && vm->wild)
			filter.ranges[i].nmsrs = random_next(s) >> 54;
		if (random_one_in(s, 20))
			filter.ranges[i].flags = random_next(s);
		if (random_one_in(s, 20))
			filter.ranges[i].bitmap = NULL;
	}
	if (random_one_in(s, 20))
		filter.flags = random_next(s);
	if (random_one_in(s, 2))
		CALL(vm->fd, KVM_ENABLE_CAP, &exits, EINVAL);
	/* A guest whose MSRs are all denied cannot enter its own guest: that is none of the PMU's. */
	if (!vm->wild)
		filter.flags &= ~1u;
	CALL(vm->fd, KVM_X86_SET_MSR_FILTER, &filter, EINVAL, EFAULT, ENOMEM);
}

static void event_filter(struct vm *vm, u64 *s)
{
	static __thread struct { struct kvm_pmu_event_filter head; u64 events[320]; } f;
	u32 i, n = random_one_in(s, 20) ? random_below(s, 320) : random_below(s, 12);

	memset(&f.head, 0, sizeof(f.head));
	f.head.action = random_below(s, 2);
	f.head.flags = random_below(s, 2);
	f.head.fixed_counter_bitmap = random_below(s, 32);
	f.head.nevents = n;
	for (i = 0; i < n; i++) {
		f.events[i] = (const u64[]) { 0xc0, 0xc4, 0x3c, 0xc2, 0x76, 0x13c }[random_below(s, 6)];
		if (f.head.flags)
			f.events[i] |= random_next(s) & 0xff8000000000ff00ull;
		if (random_one_in(s, 30))
			f.events[i] = random_next(s);
	}
	if (random_one_in(s, 20))
		f.head.action = random_next(s);
	if (random_one_in(s, 20))
		f.head.flags = random_next(s);
	if (random_one_in(s, 20))
		f.head.nevents = random_next(s);
	CALL(vm->fd, KVM_SET_PMU_EVENT_FILTER, random_one_in(s, 30) ? NULL : &f.head, EINVAL, EFAULT, E2BIG, ENOMEM);
}

static void enable_cap(struct vm *vm, u64 *s)
{
	static const u32 caps[] = {
		KVM_CAP_PMU_CAPABILITY, KVM_CAP_PMU_CAPABILITY, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_X86_DISABLE_EXITS,
		KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_EXCEPTION_PAYLOAD,
	};
	struct kvm_enable_cap cap = { .cap = caps[random_below(s, 6)], .args[0] = 1ull << random_below(s, 32) };

	if (cap.cap == KVM_CAP_DISABLE_QUIRKS2)
		cap.args[0] = random_next(s) & 0x1ff;
	if (cap.cap == KVM_CAP_X86_DISABLE_EXITS && !vm->wild)
		cap.args[0] = 0;
	if (random_one_in(s, 10))
		cap.args[0] = random_next(s);
	if (random_one_in(s, 20))
		cap.flags = 1;
	CALL(vm->fd, KVM_ENABLE_CAP, &cap, EINVAL);
}

static void nested_state(struct vm *vm, struct vcpu *c, u64 *s)
{
	static __thread struct { struct kvm_nested_state head; char rest[0x2000]; } n;
	u32 i, flips;

	n.head.size = random_one_in(s, 20) ? random_below(s, sizeof(n)) : sizeof(n);
	if (CALL(c->fd, KVM_GET_NESTED_STATE, &n, E2BIG, EFAULT, EINVAL) < 0 || !vm->wild)
		return;
	flips = random_below(s, 4);
	for (i = 0; i < flips; i++) {
		u32 size = n.head.size < sizeof(n) ? n.head.size : sizeof(n);
		u32 where = random_one_in(s, 2) || size < 200 ? random_below(s, 128) : random_below(s, size);

		((u8 *)&n)[where] ^= 1 << random_below(s, 8);
	}
	if (random_one_in(s, 20))
		n.head.size = random_next(s) >> 48;
	/* See enters_l2(). */
	n.head.flags &= ~KVM_STATE_NESTED_RUN_PENDING;
	CALL(c->fd, KVM_SET_NESTED_STATE, &n, EINVAL, EFAULT, E2BIG, ENOMEM);
}

/*
 * Has KVM begun to enter L2?  With registers that L2 must not have KVM warns then, on any kernel (KVM_BUG_ON() of
 * nested_run_pending), as only user space can bring it there.
 */
static bool enters_l2(struct vcpu *c)
{
	static __thread struct { struct kvm_nested_state head; char rest[0x2000]; } n;

	n.head.size = sizeof(n);
	return !ioctl(c->fd, KVM_GET_NESTED_STATE, &n) && n.head.flags & KVM_STATE_NESTED_RUN_PENDING;
}

static void set_sregs(struct vm *vm, struct vcpu *c, u64 *s)
{
	struct kvm_sregs sregs;
	__u64 *field[] = { &sregs.cr0, &sregs.cr3, &sregs.cr4, &sregs.efer, &sregs.apic_base, &sregs.cr8 };

	/* Between the two calls the guest goes on. */
	if (CALL(c->fd, KVM_GET_SREGS, &sregs, EINVAL) < 0 || !vm->wild)
		return;
	*field[random_below(s, 6)] ^= 1ull << random_below(s, random_one_in(s, 4) ? 64 : 20);
	if (random_one_in(s, 6))
		((u8 *)&sregs)[random_below(s, 8 * sizeof(sregs.cs))] ^= 1 << random_below(s, 8);
	stop_vcpu(c);
	if (!enters_l2(c))
		CALL(c->fd, KVM_SET_SREGS, &sregs, EINVAL);
	continue_vcpu(c);
}

static void set_regs(struct vm *vm, struct vcpu *c, u64 *s)
{
	struct kvm_regs regs;
	u64 flags;

	if (CALL(c->fd, KVM_GET_REGS, &regs, EINVAL) < 0 || !vm->wild)
		return;
	flags = regs.rflags;
	if (random_one_in(s, 4))
		((u64 *)&regs)[random_below(s, 18)] ^= 1ull << random_below(s, 64);
	/* An interrupt that is being injected fails without IF, on any kernel. */
	regs.rflags = (regs.rflags & ~0x200ull) | (flags & 0x200);
	CALL(c->fd, KVM_SET_REGS, &regs, EINVAL);
}

static void set_lapic(struct vm *vm, struct vcpu *c, u64 *s)
{
	static const u32 entries[] = { 0x400, VECTOR_PMI, 0x10400, 0x10000 | VECTOR_PMI };
	struct kvm_lapic_state lapic;
	u32 entry = entries[random_below(s, 4)];

	if (CALL(c->fd, KVM_GET_LAPIC, &lapic, EINVAL) < 0)
		return;
	if (vm->wild && random_one_in(s, 4))
		entry = random_next(s);
	memcpy(lapic.regs + APIC_LVTPC, &entry, 4);
	CALL(c->fd, KVM_SET_LAPIC, &lapic, EINVAL);
}

static void interrupt(struct vm *vm, struct vcpu *c, u64 *s)
{
	struct kvm_interrupt irq = { VECTOR_PMI };
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };

	switch (random_below(s, vm->wild ? 3 : 1)) {
	case 0:
		CALL(c->fd, KVM_NMI, NULL, EINVAL);
		break;
	case 1:
		/* User space has to see to it that the guest can take it; with KVM's own APIC it is refused. */
		if (vm->irqchip)
			CALL(c->fd, KVM_INTERRUPT, &irq, EINVAL, ENXIO, EEXIST);
		break;
	case 2:
		debug.control = random_one_in(s, 2) ? 0 : debug.control;
		CALL(c->fd, KVM_SET_GUEST_DEBUG, &debug, EINVAL, EBUSY);
		break;
	}
}

static __thread int fds[4] = { -1, -1, -1, -1 };

static void close_host_events(void)
{
	int i;

	for (i = 0; i < 4; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* Events of the host, of every kind; those that count guests may be refused. */
static void host_event(u64 *s)
{
	static const struct { u32 type; u64 config; } kinds[] = {
		{ PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES }, { PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
		{ PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS },
		{ PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES },
	};
	u32 i = random_below(s, 4), k = random_below(s, 4);
	struct perf_event_attr attr = {
		.type = kinds[k].type, .config = kinds[k].config, .size = sizeof(attr),
		.exclude_guest = !random_one_in(s, 6), .exclude_host = random_one_in(s, 20),
		.exclude_user = random_one_in(s, 6),
		.pinned = random_one_in(s, 6), .inherit = random_one_in(s, 6), .disabled = random_one_in(s, 4),
	};
	u64 value;

	if (random_one_in(s, 4)) {
		attr.sample_period = 1000000;
		attr.precise_ip = random_one_in(s, 2);
	}
	if (fds[i] >= 0) {
		if (random_one_in(s, 3)) {
			ioctl(fds[i], random_one_in(s, 2) ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
			return;
		}
		if (read(fds[i], &value, sizeof(value)) == sizeof(value) && value >> 44)
			failure("an event of the host counts %#llx", (unsigned long long)value);
		close(fds[i]);
		fds[i] = -1;
		return;
	}
	fds[i] = random_one_in(s, 2) ? perf_open(&attr, -1, random_below(s, cpus)) : perf_open(&attr, 0, -1);
	__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
	if (fds[i] < 0 && errno != EBUSY && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOENT)
		failure("perf_event_open: %s", strerror(errno));
}

struct caller {
	pthread_t thread;
	u64 rng;
	u32 n;
};

static void *caller_thread(void *arg)
{
	struct caller *me = arg;
	struct vm *vm = &the_vm;
	u64 *s = &me->rng;
	cpu_set_t set;

	while (me->n-- && !vm->dead) {
		struct vcpu *c = &vm->vcpu[random_below(s, vm->vcpus)];

		pthread_rwlock_rdlock(&calling);
		switch (random_below(s, 16)) {
		case 0:
			set_cpuid(c, s);
			break;
		case 1:
			get_cpuid(c, s);
			break;
		case 2:
		case 3:
			set_msrs(c, s);
			break;
		case 4:
		case 5:
			get_msrs(c, s);
			break;
		case 6:
			msr_filter(vm, s);
			break;
		case 7:
			event_filter(vm, s);
			break;
		case 8:
			enable_cap(vm, s);
			break;
		case 9:
			nested_state(vm, c, s);
			break;
		case 10:
			set_sregs(vm, c, s);
			break;
		case 11:
			set_regs(vm, c, s);
			break;
		case 12:
			if (vm->irqchip)
				set_lapic(vm, c, s);
			break;
		case 13:
			interrupt(vm, c, s);
			break;
		case 14:
			host_event(s);
			break;
		case 15:
			CPU_ZERO(&set);
			CPU_SET(random_below(s, cpus), &set);
			pthread_setaffinity_np(c->thread, sizeof(set), &set);
			break;
		}
		pthread_rwlock_unlock(&calling);
	}
	/* An event that counts guests of a task that is gone would keep VMs from the PMU. */
	close_host_events();
	return NULL;
}

static void round_of_calls(u64 *s)
{
	struct caller callers[CALLERS];
	struct vm *vm = &the_vm;
	u32 i;

	stop = false;
	for (i = 0; i < vm->vcpus; i++) {
		if (pthread_create(&vm->vcpu[i].thread, NULL, vcpu_thread, &vm->vcpu[i]))
			die("a thread");
	}
	for (i = 0; i < CALLERS; i++) {
		callers[i] = (struct caller) { .rng = random_next(s), .n = 60 + random_below(s, 100) };
		if (pthread_create(&callers[i].thread, NULL, caller_thread, &callers[i]))
			die("a thread");
	}
	for (i = 0; i < CALLERS; i++)
		pthread_join(callers[i].thread, NULL);
	stop = true;
	for (i = 0; i < vm->vcpus; i++)
		pthread_join(vm->vcpu[i].thread, NULL);
}

static void round_of_guests(void)
{
	struct vcpu *c = &the_vm.vcpu[0];
	int i;

	for (i = 0; i < 4; i++) {
		make_program(c, &c->rng);
		run_program(&the_vm, c);
	}
}

int main(int argc, char **argv)
{
	static const struct sigaction action = { .sa_handler = tick };
	u64 limit, first = 0;
	u32 eax, ebx, ecx, edx;
	timer_t timer;
	sigset_t set;

	if (argc < 4 || argc > 5 || (strcmp(argv[1], "guests") && strcmp(argv[1], "calls"))) {
		fprintf(stderr, "usage: %s guests|calls SEED NUMBER [ROUND]\n", argv[0]);
		return 2;
	}
	if (getenv("DEBUG") && !strcmp(getenv("DEBUG"), "1"))
		slowness = 10;
	only_guests = !strcmp(argv[1], "guests");
	seed = strtoull(argv[2], NULL, 0);
	limit = strtoull(argv[3], NULL, 0);
	if (argc == 5)
		first = strtoull(argv[4], NULL, 0);

	__cpuid(0, eax, ebx, ecx, edx);
	amd = ebx == 0x68747541;	/* Auth */
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(kvm, "/dev/kvm");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	supported.head.nent = CPUIDS;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &supported), "KVM_GET_SUPPORTED_CPUID");
	the_vm.memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (the_vm.memory == MAP_FAILED)
		die("mmap");
	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	host_begin();
	timer = start_ticks();
	for (round_number = first; (only_guests ? operations : calls) < limit && failures < 20; round_number++) {
		u64 s = seed * 0x100000001b3ull + round_number;

		random_next(&s);
		the_vm.wild = !only_guests && random_one_in(&s, 2);
		create_vm(&the_vm, &s);
		if (only_guests)
			round_of_guests();
		else
			round_of_calls(&s);
		destroy_vm(&the_vm);
		if (argc == 5) {
			round_number++;
			break;
		}
	}
	timer_delete(timer);
	host_end();
	printf("# %llu rounds, %llu calls, %llu operations, %llu programs to their end, %llu begun again\n",
	       (unsigned long long)(round_number - first), (unsigned long long)calls, (unsigned long long)operations,
	       (unsigned long long)ended, (unsigned long long)resets);
	printf("# %llu entries into L2 and %llu refused; %llu exits that tell of an error, %llu not again; %llu VMs "
	       "given up\n",
	       (unsigned long long)entries, (unsigned long long)refused, (unsigned long long)error_exits,
	       (unsigned long long)gone, (unsigned long long)given_up);
	check(ended > 0 && (argc == 5 || operations > 500), "guests run", "%llu programs came to their end",
	      (unsigned long long)ended);
	/* A few guests may happen to be without. */
	check(entries > 0 || round_number - first < 10, "guests have guests of their own", "none was entered");
	check(!failures, "nothing that must not be", "%u failures: %s; %s; %s; %s; %s ...", failures, first_failures[0],
	      first_failures[1], first_failures[2], first_failures[3], first_failures[4]);
	return ktap_end();
}
