// SPDX-License-Identifier: GPL-2.0-only
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

/* The guest's memory */
#define PML4	0x1000
#define PDPT	0x2000
#define PD_LOW	0x3000
#define PD_APIC	0x4000
#define GDT	0x5000
#define IDT	0x6000
#define TSS	0x7000
#define PAGE	MACHINE_PAGE_GUEST
#define CONTEXT	0x9000
#define STACK	0xc000
#define STACK0	0xe000
#define OPS	0x10000
#define RECORDS	0x20000
#define SIZE	0x40000

#define TSS_SELECTOR	0x40
#define APIC		0xfee00000u
#define LAPIC_SPIV	0xf0
#define LAPIC_LVTPC	0x340

#define CPUIDS		256
#define MSRS		1000

extern char machine_page[], machine_gp[], machine_nmi[], machine_back[], machine_guest[], machine_end[];

const char *vm_error;
u32 vm_moves;

static int kvm = -1, vm = -1, vcpu = -1;
static struct kvm_run *run;
static size_t run_size;
static char *memory;
static struct pmu has;

/* Newer than the headers of some that build this. */
#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct pre_fault)
#endif
struct pre_fault {
	u64 gpa;
	u64 size;
	u64 flags;
	u64 padding[5];
};

struct cpuids {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUIDS];
};

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[MSRS];
};

static void die(const char *what)
{
	printf("# %s: %s\nBail out! %s\n", what, strerror(errno), what);
	exit(2);
}

static void must(int result, const char *what)
{
	if (result < 0)
		die(what);
}

/* ---- what there is ---- */

static void leaf(const struct cpuids *from, u32 function, u32 index, u32 r[4])
{
	u32 i;

	memset(r, 0, 16);
	if (!from) {
		__cpuid_count(function & 0x80000000, 0, r[0], r[1], r[2], r[3]);
		if (r[0] < function)
			memset(r, 0, 16);
		else
			__cpuid_count(function, index, r[0], r[1], r[2], r[3]);
		return;
	}
	for (i = 0; i < from->head.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &from->entries[i];

		if (e->function == function && e->index == index) {
			r[0] = e->eax;
			r[1] = e->ebx;
			r[2] = e->ecx;
			r[3] = e->edx;
		}
	}
}

/* Intel's branch records: KVM gives them to guests whose PMU can freeze them, and that of one number only. */
static void describe_lbr(struct pmu *p, const struct cpuids *from)
{
	u32 r[4];

	if (p->version < 4)
		return;
	leaf(NULL, 7, 0, r);
	p->address_bits = r[2] >> 16 & 1 ? 57 : 48;
	leaf(from, 7, 0, r);
	if (r[3] >> 19 & 1) {
		leaf(from, 0x1c, 0, r);
		p->lbr = LBR_ARCH;
		p->lbr_depths = r[0];
		for (p->lbr_nr = 64; !(p->lbr_depths >> (p->lbr_nr / 8 - 1) & 1); p->lbr_nr -= 8)
			;
		p->lbr_ctl = ARCH_CTL_ON | (r[1] & 1 ? ARCH_CTL_OS | ARCH_CTL_USR : 0) |
			     (r[1] & 2 ? ARCH_CTL_KINDS : 0) | (r[1] & 4 ? ARCH_CTL_CALL_STACK : 0);
	} else if ((p->capabilities & CAP_LBR_FORMAT) == 5) {
		p->lbr = LBR_OLD;
		p->lbr_nr = 32;
	}
}

static void describe(struct pmu *p, const struct cpuids *from, u64 capabilities)
{
	u32 r[4], model;

	memset(p, 0, sizeof(*p));
	leaf(from, 0, 0, r);
	p->amd = r[1] == 0x68747541;	/* Auth */
	if (p->amd) {
		leaf(from, 0x80000001, 0, r);
		p->core_ext = r[2] >> 23 & 1;
		p->version = 1;
		p->gp = p->core_ext ? 6 : 4;
		p->gp_width = 48;
		p->cond = 0xd1;
		leaf(from, 0x80000022, 0, r);
		if (r[0] & 1) {
			p->version = 2;
			p->gp = r[1] & 0xf;
			p->freeze = r[0] >> 2 & 1;
		}
		if (r[0] >> 1 & 1) {
			p->lbr = LBR_AMD;
			p->lbr_nr = r[1] >> 4 & 0x3f;
		}
		return;
	}
	leaf(from, 1, 0, r);
	p->pdcm = r[2] >> 15 & 1;
	p->capabilities = p->pdcm ? capabilities : 0;
	model = (r[0] >> 4 & 0xf) | (r[0] >> 12 & 0xf0);
	p->cond = model == 0x55 ? 0x01c4 : 0x11c4;
	p->metrics_fields = model == 0x7e ? 4 : 8;
	leaf(from, 0xa, 0, r);
	p->version = r[0];
	p->gp = r[0] >> 8;
	p->gp_width = r[0] >> 16;
	if (p->version >= 2) {
		p->fixed = ONES(r[3] & 0x1f);
		p->fixed_width = r[3] >> 5;
	}
	if (p->version >= 5)
		p->fixed |= r[2];
	/* Versions 3 and 4 don't know the bit that says that AnyThread is gone. */
	p->any = p->version >= 3 && (p->version < 5 || !(r[3] >> 15 & 1));
	p->freeze = p->version >= 4 && p->pdcm;
	describe_lbr(p, from);
}

void pmu_of_processor(struct pmu *pmu, u64 capabilities)
{
	u32 r[4];

	describe(pmu, NULL, capabilities);
	if (pmu->amd)
		return;
	leaf(NULL, 7, 0, r);
	pmu->sgx = r[1] >> 2 & 1;
	pmu->pt = r[1] >> 25 & 1;
}

void pmu_share_registers(struct pmu *p)
{
	struct pmu all;

	p->reset_extra = p->ctrl_extra = p->rdpmc_metrics = 0;
	if (p->amd || p->version < 2)
		return;
	pmu_of_processor(&all, 0);
	/* Those with the counter of slots have PERF_METRICS. */
	if (all.fixed >> 3 & 1)
		all.capabilities = CAP_METRICS;
	if (p->gp != all.gp || p->fixed != all.fixed)
		return;
	p->reset_extra = model_status_bits(&all);
	if (all.capabilities && !(p->capabilities & CAP_METRICS)) {
		p->ctrl_extra = STATUS_METRICS;
		p->rdpmc_metrics = p->gp_width == all.gp_width && p->fixed_width == all.fixed_width;
	}
}

static void open_kvm(void)
{
	if (kvm >= 0)
		return;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(kvm, "/dev/kvm");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
}

static void supported(struct cpuids *c)
{
	memset(c, 0, sizeof(*c));
	c->head.nent = CPUIDS;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &c->head), "KVM_GET_SUPPORTED_CPUID");
}

void pmu_of_kvm(struct pmu *pmu)
{
	static struct cpuids c;
	struct msrs m = { .head.nmsrs = 1, .entries[0].index = MSR_PERF_CAP };

	open_kvm();
	supported(&c);
	if (ioctl(kvm, KVM_GET_MSRS, &m.head) != 1)
		m.entries[0].data = 0;
	describe(pmu, &c, m.entries[0].data);
}

/* ---- the guest ---- */

static void set_cpuid(void)
{
	static struct cpuids c;
	struct msrs m = { .head.nmsrs = 1, .entries[0] = { .index = MSR_PERF_CAP, .data = has.capabilities } };
	struct pmu is;
	u32 i, n;

	supported(&c);
	for (i = 0; i < c.head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &c.entries[i];

		if (e->function == 0xa && !has.amd) {
			/* as many without a gap as EDX can tell, the others by ECX */
			for (n = 0; has.fixed >> n & 1; n++)
				;
			e->eax = (e->eax & 0xff000000) | has.version | has.gp << 8 | has.gp_width << 16;
			e->ecx = has.version >= 5 ? has.fixed : 0;
			e->edx = (e->edx & 1 << 15) | (has.version < 2 ? 0 : n | has.fixed_width << 5);
		} else if (e->function == 7 && !e->index && !has.amd) {
			e->edx = (e->edx & ~(1u << 19)) | (has.lbr == LBR_ARCH) << 19;
		} else if (e->function == 0x1c && has.lbr == LBR_ARCH) {
			e->ebx = (has.lbr_ctl & ARCH_CTL_OS ? 1 : 0) | (has.lbr_ctl & ARCH_CTL_KINDS ? 2 : 0) |
				 (has.lbr_ctl & ARCH_CTL_CALL_STACK ? 4 : 0);
		} else if (e->function == 1 && !has.amd) {
			e->ecx = (e->ecx & ~(1 << 15)) | has.pdcm << 15;
		} else if (e->function == 0x80000001 && has.amd) {
			e->ecx = (e->ecx & ~(1 << 23)) | has.core_ext << 23;
		} else if (e->function == 0x80000022 && has.amd) {
			e->eax = has.version >= 2 ? 1 | (has.lbr == LBR_AMD) << 1 | has.freeze << 2 : 0;
			e->ebx = has.version >= 2 ? has.gp | has.lbr_nr << 4 : 0;
		}
	}
	must(ioctl(vcpu, KVM_SET_CPUID2, &c.head), "KVM_SET_CPUID2");
	describe(&is, &c, has.capabilities);
	is.pt = has.pt;
	is.sgx = has.sgx;
	is.reset_extra = has.reset_extra;
	is.ctrl_extra = has.ctrl_extra;
	is.rdpmc_metrics = has.rdpmc_metrics;
	if (memcmp(&is, &has, sizeof(is))) {
		printf("Bail out! CPUID cannot describe this PMU\n");
		exit(2);
	}
	if (has.pdcm && ioctl(vcpu, KVM_SET_MSRS, &m.head) != 1)
		die("KVM_SET_MSRS of IA32_PERF_CAPABILITIES");
}

static void create_vcpu(void)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = SIZE,
		.userspace_addr = (uintptr_t)memory,
	};
	struct pre_fault range = { .size = SIZE };

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	must(vm, "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	must(vcpu, "KVM_CREATE_VCPU");
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap");
	set_cpuid();
	/*
	 * The guest never waits for its memory.  An INT n whose delivery does would be delivered anew by KVM, and such
	 * a delivery is no instruction: it would not be counted.
	 */
	while (range.size) {
		if (ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) && errno != EINTR && errno != EAGAIN)
			die("KVM_PRE_FAULT_MEMORY");
	}
}

void vm_destroy(void)
{
	if (vm < 0)
		return;
	munmap(run, run_size);
	close(vcpu);
	close(vm);
	vm = vcpu = -1;
}

static u64 *at(u32 address)
{
	return (u64 *)(memory + address);
}

static void gate(int vector, const char *handler, int dpl)
{
	u64 to = PAGE + (handler - machine_page);

	at(IDT)[2 * vector] = (to & 0xffff) | MACHINE_KERNEL_CS << 16 | (0x8e00ull | dpl << 13) << 32;
	at(IDT)[2 * vector + 1] = 0;
}

static struct kvm_segment segment(u16 selector, u8 type, u8 s)
{
	return (struct kvm_segment) {
		.selector = selector, .limit = s ? 0xffffffff : 0x67, .type = type, .s = s, .present = 1,
		.l = s && type & 8, .g = s, .db = s && !(type & 8), .base = s ? 0 : TSS,
	};
}

void vm_create(const struct pmu *pmu)
{
	struct kvm_regs regs = {
		.rip = PAGE + (machine_guest - machine_page), .rflags = 2, .rsp = STACK, .r13 = CONTEXT, .r15 = CONTEXT,
	};
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	u32 n;

	open_kvm();
	has = *pmu;
	memset(memory, 0, SIZE);
	/* Identity: the first 2 MiB, and those with the local APIC; all for user mode, too. */
	at(PML4)[0] = PDPT | 7;
	at(PDPT)[0] = PD_LOW | 7;
	at(PDPT)[3] = PD_APIC | 7;
	at(PD_LOW)[0] = 0x87;
	at(PD_APIC)[(APIC >> 21) & 0x1ff] = (APIC & ~0x1fffffu) | 0x9f;
	at(GDT)[MACHINE_KERNEL_CS / 8] = 0x00af9b000000ffffull;
	at(GDT)[MACHINE_KERNEL_SS / 8] = 0x00cf93000000ffffull;
	at(GDT)[MACHINE_USER_SS / 8] = 0x00cff3000000ffffull;
	at(GDT)[MACHINE_USER_CS / 8] = 0x00affb000000ffffull;
	at(GDT)[TSS_SELECTOR / 8] = 0x0000890000000067ull | (u64)TSS << 16;
	*(u64 *)(memory + TSS + 4) = STACK0;
	memcpy(memory + PAGE, machine_page, machine_end - machine_page);
	gate(2, machine_nmi, 0);
	gate(13, machine_gp, 0);
	gate(MACHINE_VECTOR_BACK, machine_back, 3);

	create_vcpu();
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = segment(MACHINE_KERNEL_CS, 11, 1);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(MACHINE_KERNEL_SS, 3, 1);
	sregs.tr = segment(TSS_SELECTOR, 11, 0);
	sregs.gdt = (struct kvm_dtable) { .base = GDT, .limit = 0x4f };
	sregs.idt = (struct kvm_dtable) { .base = IDT, .limit = 0xfff };
	sregs.cr0 = 0x80000033;
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	must(ioctl(vcpu, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC");
	n = 0x1ff;
	memcpy(lapic.regs + LAPIC_SPIV, &n, 4);
	n = LVTPC_MASKED | LVTPC_NMI;
	memcpy(lapic.regs + LAPIC_LVTPC, &n, 4);
	must(ioctl(vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC");
}

/* ---- to another vCPU ---- */

static void list_msrs(struct msrs *m)
{
	struct {
		struct kvm_msr_list head;
		u32 indices[MSRS];
	} list = { .head.nmsrs = MSRS };
	struct msrs one;
	u32 i;

	must(ioctl(kvm, KVM_GET_MSR_INDEX_LIST, &list.head), "KVM_GET_MSR_INDEX_LIST");
	m->head.nmsrs = 0;
	for (i = 0; i < list.head.nmsrs; i++) {
		one.head.nmsrs = 1;
		one.entries[0].index = list.head.indices[i];
		if (ioctl(vcpu, KVM_GET_MSRS, &one.head) == 1)
			m->entries[m->head.nmsrs++].index = list.head.indices[i];
	}
}

static bool move(void)
{
	static struct msrs m;
	static struct kvm_lapic_state lapic;
	static struct kvm_vcpu_events events;
	static struct kvm_sregs sregs;
	static struct kvm_regs regs;
	static char error[80];
	int n;

	/* The OUT is still to be completed. */
	run->immediate_exit = 1;
	if (ioctl(vcpu, KVM_RUN, 0) >= 0 || errno != EINTR)
		die("KVM_RUN that ends at once");
	list_msrs(&m);
	must(ioctl(vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	must(ioctl(vcpu, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC");
	must(ioctl(vcpu, KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS");
	n = ioctl(vcpu, KVM_GET_MSRS, &m.head);
	if (n != (int)m.head.nmsrs)
		die("KVM_GET_MSRS");
	vm_destroy();
	create_vcpu();
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	must(ioctl(vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC");
	must(ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS");
	n = ioctl(vcpu, KVM_SET_MSRS, &m.head);
	if (n != (int)m.head.nmsrs) {
		snprintf(error, sizeof(error), "KVM_SET_MSRS refuses %#x = %#llx, as it was read", m.entries[n].index,
			 (unsigned long long)m.entries[n].data);
		vm_error = error;
		return false;
	}
	vm_moves++;
	return true;
}

/* Seconds that a program may take, which has some hundred operations. */
#define TOO_LONG 2

static volatile sig_atomic_t too_long;

static void stop(int signal)
{
	(void)signal;
	too_long = 1;
	/* KVM_RUN that is about to begin ends, too. */
	run->immediate_exit = 1;
}

static bool run_program(const struct op *ops, struct record *records, u32 count, u32 every)
{
	static char error[120];
	struct kvm_regs regs;
	struct context *ctx = (struct context *)(memory + CONTEXT);
	u32 ports = 0;

	memcpy(memory + OPS, ops, count * sizeof(*ops));
	memset(memory + RECORDS, 0, count * sizeof(*records));
	*ctx = (struct context) {
		.ops = OPS, .records = RECORDS, .count = count, .apic_lvtpc = APIC + LAPIC_LVTPC, .user = PAGE,
		.status_msr = has.amd ? AMD_STATUS : MSR_STATUS, .reset_msr = has.amd ? AMD_CLR : MSR_RESET,
	};
	too_long = 0;
	alarm(TOO_LONG);
	for (;;) {
		run->immediate_exit = too_long;
		if (ioctl(vcpu, KVM_RUN, 0)) {
			if (errno == EINTR && !too_long)
				continue;
			if (errno != EINTR)
				die("KVM_RUN");
			must(ioctl(vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
			snprintf(error, sizeof(error), "the guest does not end, at %#llx after operation %llu of %u, %llu PMIs",
				 (unsigned long long)regs.rip - PAGE,
				 (unsigned long long)(regs.rbp - RECORDS) / RECORD_SIZE, count,
				 (unsigned long long)ctx->pmis);
			vm_error = error;
			return false;
		}
		if (run->exit_reason != KVM_EXIT_IO) {
			snprintf(error, sizeof(error), "the guest ended by exit %u", run->exit_reason);
			vm_error = error;
			return false;
		}
		if (run->io.port == MACHINE_PORT + 1)
			break;
		if (every && !(++ports % every) && !move())
			return false;
	}
	memcpy(records, memory + RECORDS, count * sizeof(*records));
	return true;
}

bool vm_run(const struct op *ops, struct record *records, u32 count, u32 every)
{
	static const struct sigaction action = { .sa_handler = stop };
	struct pmu pmu = has;
	bool done;

	sigaction(SIGALRM, &action, NULL);
	done = run_program(ops, records, count, every);
	alarm(0);
	if (!done) {
		/* In the middle of something. */
		vm_destroy();
		vm_create(&pmu);
	}
	return done;
}
