// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what VMX does with the performance-monitoring unit, against the SDM
 * (vol. 3C, chapters on VM entries, VM exits and the VMCS).
 *
 * The guests are single routines in the host's own address space; each run does
 * VMXON, one VM entry, and VMXOFF, all with interrupts off on one CPU.  KVM must
 * not be loaded.
 */
#include <linux/err.h>
#include <linux/gfp.h>
#include <asm/desc.h>
#include <asm/msr-index.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>
#include <asm/vmx.h>

#include "common.h"
#include "vmx_asm.h"
#include "intel_host.h"

#define PIN_EXT_INTR	BIT(0)
#define PIN_NMI		BIT(3)
#define PROC_RDPMC	BIT(11)
#define PROC_MSR_BITMAP	BIT(28)
#define EXIT_HOST_64	BIT(9)
#define EXIT_LOAD_GLOBAL BIT(12)
#define EXIT_ACK	BIT(15)
#define EXIT_SAVE_GLOBAL BIT(30)
#define EXIT_SAVE_DEBUG	BIT(2)
#define EXIT_CLEAR_LBR	BIT(26)
#define ENTRY_GUEST_64	BIT(9)
#define ENTRY_LOAD_GLOBAL BIT(13)
#define ENTRY_LOAD_DEBUG BIT(2)
#define ENTRY_LOAD_LBR	BIT(21)

/* Branch records: the field of IA32_LBR_CTL, that register, the records of both interfaces */
#define GUEST_LBR_CTL	0x2816
#define LBR_CTL		0x14ce
#define LBR_DEPTH	0x14cf
#define LBR_FROM	(arch_lbr() ? 0x1500 : 0x680)
#define LBR_TO		(arch_lbr() ? 0x1600 : 0x6c0)
#define LBR_RECORDS	32
#define LBR_ALL		(GENMASK_ULL(22, 16) | GENMASK_ULL(2, 0))	/* of IA32_LBR_CTL */

#define FAIL_CONTROLS	7	/* VM-instruction errors */
#define FAIL_HOST_STATE	8
#define EXIT_FAILED	BIT(31)	/* of the exit reason: the entry failed */

/* Pages that the processor is given by physical address. */
static struct {
	void *vmxon, *vmcs, *bitmap;
	struct vmx_msr_entry *entry_load, *exit_store, *exit_load;
} page;

/*
 * struct guest - one VM entry
 * @code: what the guest runs
 * @rax: initial value, as @rcx, @rdx and @rdi
 * @pin: pin-based controls that matter here, as @proc, @exit and @entry
 * @guest_debugctl: guest's IA32_DEBUGCTL field, as @guest_lbr_ctl
 * @lbr_ctl: IA32_LBR_CTL before the entry
 * @guest_global: guest's IA32_PERF_GLOBAL_CTRL field
 * @host_global: host's
 * @global: GLOBAL_CTRL before the entry
 * @n_entry_load: entries of page.entry_load, as @n_exit_store and @n_exit_load
 */
struct guest {
	void (*code)(void);
	u64 rax, rcx, rdx, rdi;
	u32 pin, proc, exit, entry;
	u64 guest_debugctl, guest_lbr_ctl, lbr_ctl;
	u64 guest_global, host_global, global;
	int n_entry_load, n_exit_store, n_exit_load;
};

/* What came of it. */
struct outcome {
	int fail;		/* VMfailInvalid 1, VMfailValid 2 */
	u32 error;		/* VM-instruction error */
	u32 reason, intr_info;
	u64 qualification;
	u64 rax, rbx, rdx;
	u64 rip;		/* from the beginning of the code */
	u64 guest_global;	/* the field after the exit */
	u64 global;		/* GLOBAL_CTRL after the exit */
	u64 guest_debugctl, guest_lbr_ctl;	/* the fields after the exit */
	u64 debugctl, lbr_ctl;	/* the registers after the exit */
	u64 pmc[RIG_GP_MAX];
	u64 status;
	u32 guest_irqs, host_irqs, lvtpc;
	bool pending;		/* VECTOR_FIXED waits in the IRR */
	bool others_pending;	/* another did right after the exit */
};

static bool arch_lbr(void)
{
	return cpuid_edx(7) & BIT(19);
}

static void vmwr(unsigned long field, u64 val)
{
	bool bad;

	asm volatile("vmwrite %2, %1" : "=@ccbe" (bad) : "r" (field), "rm" (val));
	if (bad)
		pr_err("rig_vmx: VMWRITE %#lx failed\n", field);
}

static u64 vmrd(unsigned long field)
{
	u64 val;
	bool bad;

	asm volatile("vmread %2, %1" : "=@ccbe" (bad), "=r" (val) : "r" (field));
	if (bad)
		pr_err("rig_vmx: VMREAD %#lx failed\n", field);
	return val;
}

#define VMX_ON_PAGE(insn, va) ({					\
	u64 _pa = virt_to_phys(va);					\
	bool _bad;							\
	asm volatile(insn " %1" : "=@ccbe" (_bad) : "m" (_pa) : "memory"); \
	!_bad; })

/* The capability MSRs: must be 1 in the low half, may be 1 in the high half. */
static u32 controls(u32 true_msr, u32 wanted)
{
	return wanted | (u32)rd(true_msr);
}

static bool may_be_set(u32 true_msr, u32 bit)
{
	return rd(true_msr) >> 32 & bit;
}

static void write_segment(int i, u16 sel, u64 base, u32 limit, u32 rights)
{
	vmwr(GUEST_ES_SELECTOR + 2 * i, sel);
	vmwr(GUEST_ES_BASE + 2 * i, base);
	vmwr(GUEST_ES_LIMIT + 2 * i, limit);
	vmwr(GUEST_ES_AR_BYTES + 2 * i, rights);
}

static u64 tr_base(const struct desc_ptr *gdt, u16 tr)
{
	const struct ldttss_desc *d = (void *)(gdt->address + (tr & ~7));

	return d->base0 | d->base1 << 16 | (u64)d->base2 << 24 | (u64)d->base3 << 32;
}

static void write_vmcs(const struct guest *g, const struct desc_ptr *gdt)
{
	enum { ES, CS, SS, DS, FS, GS, LDTR, TR, UNUSABLE = 0x10000 };
	u16 tr;
	int i;

	asm volatile("str %0" : "=r" (tr));

	vmwr(PIN_BASED_VM_EXEC_CONTROL, controls(MSR_IA32_VMX_TRUE_PINBASED_CTLS, g->pin));
	vmwr(CPU_BASED_VM_EXEC_CONTROL, controls(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, g->proc));
	vmwr(VM_EXIT_CONTROLS, controls(MSR_IA32_VMX_TRUE_EXIT_CTLS, g->exit | EXIT_HOST_64));
	vmwr(VM_ENTRY_CONTROLS, controls(MSR_IA32_VMX_TRUE_ENTRY_CTLS, g->entry | ENTRY_GUEST_64));
	/* every exception of a guest is the test's to see */
	vmwr(EXCEPTION_BITMAP, 0xffffffff);
	vmwr(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmwr(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmwr(CR3_TARGET_COUNT, 0);
	vmwr(CR0_GUEST_HOST_MASK, 0);
	vmwr(CR4_GUEST_HOST_MASK, 0);
	vmwr(MSR_BITMAP, virt_to_phys(page.bitmap));
	vmwr(VM_ENTRY_MSR_LOAD_ADDR, virt_to_phys(page.entry_load));
	vmwr(VM_ENTRY_MSR_LOAD_COUNT, g->n_entry_load);
	vmwr(VM_EXIT_MSR_STORE_ADDR, virt_to_phys(page.exit_store));
	vmwr(VM_EXIT_MSR_STORE_COUNT, g->n_exit_store);
	vmwr(VM_EXIT_MSR_LOAD_ADDR, virt_to_phys(page.exit_load));
	vmwr(VM_EXIT_MSR_LOAD_COUNT, g->n_exit_load);
	vmwr(VM_ENTRY_INTR_INFO_FIELD, 0);

	write_segment(ES, 0, 0, 0xffffffff, UNUSABLE);
	write_segment(CS, __KERNEL_CS, 0, 0xffffffff, 0xa09b);
	write_segment(SS, __KERNEL_DS, 0, 0xffffffff, 0xc093);
	write_segment(DS, 0, 0, 0xffffffff, UNUSABLE);
	write_segment(FS, 0, rd(MSR_FS_BASE), 0xffffffff, UNUSABLE);
	write_segment(GS, 0, rd(MSR_GS_BASE), 0xffffffff, UNUSABLE);
	write_segment(LDTR, 0, 0, 0, UNUSABLE);
	write_segment(TR, tr, tr_base(gdt, tr), 0x67, 0x8b);
	vmwr(GUEST_GDTR_BASE, gdt->address);
	vmwr(GUEST_GDTR_LIMIT, gdt->size);
	vmwr(GUEST_IDTR_BASE, (unsigned long)guest_idt.gates);
	vmwr(GUEST_IDTR_LIMIT, sizeof(guest_idt.gates) - 1);
	for (i = 0; i < 2; i++) {
		const struct { unsigned long cr0, cr3, cr4; } f[] = {
			{ GUEST_CR0, GUEST_CR3, GUEST_CR4 }, { HOST_CR0, HOST_CR3, HOST_CR4 },
		};

		vmwr(f[i].cr0, native_read_cr0());
		vmwr(f[i].cr3, __read_cr3());
		vmwr(f[i].cr4, __read_cr4());
	}
	vmwr(GUEST_DR7, 0x400);
	vmwr(GUEST_RIP, (unsigned long)g->code);
	vmwr(GUEST_RSP, (unsigned long)(guest_stack + sizeof(guest_stack)));
	vmwr(GUEST_RFLAGS, X86_EFLAGS_FIXED);
	vmwr(GUEST_ACTIVITY_STATE, 0);
	vmwr(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmwr(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmwr(VMCS_LINK_POINTER, ~0ULL);
	vmwr(GUEST_IA32_DEBUGCTL, g->guest_debugctl);
	if (arch_lbr())
		vmwr(GUEST_LBR_CTL, g->guest_lbr_ctl);
	vmwr(GUEST_SYSENTER_CS, rd(MSR_IA32_SYSENTER_CS));
	vmwr(GUEST_SYSENTER_ESP, rd(MSR_IA32_SYSENTER_ESP));
	vmwr(GUEST_SYSENTER_EIP, rd(MSR_IA32_SYSENTER_EIP));

	vmwr(HOST_ES_SELECTOR, 0);
	vmwr(HOST_CS_SELECTOR, __KERNEL_CS);
	vmwr(HOST_SS_SELECTOR, __KERNEL_DS);
	vmwr(HOST_DS_SELECTOR, 0);
	vmwr(HOST_FS_SELECTOR, 0);
	vmwr(HOST_GS_SELECTOR, 0);
	vmwr(HOST_TR_SELECTOR, tr);
	vmwr(HOST_FS_BASE, rd(MSR_FS_BASE));
	vmwr(HOST_GS_BASE, rd(MSR_GS_BASE));
	vmwr(HOST_TR_BASE, tr_base(gdt, tr));
	vmwr(HOST_GDTR_BASE, gdt->address);
	vmwr(HOST_IDTR_BASE, (unsigned long)host_idt.gates);
	vmwr(HOST_IA32_SYSENTER_CS, rd(MSR_IA32_SYSENTER_CS));
	vmwr(HOST_IA32_SYSENTER_ESP, rd(MSR_IA32_SYSENTER_ESP));
	vmwr(HOST_IA32_SYSENTER_EIP, rd(MSR_IA32_SYSENTER_EIP));

	vmwr(GUEST_IA32_PERF_GLOBAL_CTRL, g->guest_global);
	vmwr(HOST_IA32_PERF_GLOBAL_CTRL, g->host_global);
}

/* An NMI's exit leaves NMIs blocked; IRET unblocks them. */
static void unblock_nmi(void)
{
	unsigned long tmp;

	asm volatile("mov %%rsp, %0\n\t"
		     "pushq %1\n\t"
		     "push %0\n\t"
		     "pushf\n\t"
		     "pushq %2\n\t"
		     "lea 1f(%%rip), %0\n\t"
		     "push %0\n\t"
		     "iretq\n\t"
		     "1:"
		     : "=&r" (tmp) : "i" (__KERNEL_DS), "i" (__KERNEL_CS) : "memory", "cc");
}

/* The vector of the external interrupt that the exit took from the APIC, or 0. */
static u8 acked(const struct outcome *o)
{
	if (o->fail || o->reason != EXIT_REASON_EXTERNAL_INTERRUPT ||
	    !(o->intr_info & INTR_INFO_VALID_MASK))
		return 0;
	return o->intr_info & INTR_INFO_VECTOR_MASK;
}

/*
 * Enter the guest with the counters and selectors as they are.  The counters are
 * stopped when this returns.
 */
static void enter(const struct guest *g, struct outcome *o)
{
	u64 regs[5] = { g->rax, g->rcx, g->rdx, g->rdi, 0 };
	u64 debugctl = rd(MSR_IA32_DEBUGCTLMSR);
	u32 revision = rd(MSR_IA32_VMX_BASIC);
	struct desc_ptr gdt;
	int i;

	memset(o, 0, sizeof(*o));
	o->fail = -1;
	native_store_gdt(&gdt);
	memset(page.vmxon, 0, PAGE_SIZE);
	memset(page.vmcs, 0, PAGE_SIZE);
	*(u32 *)page.vmxon = revision;
	*(u32 *)page.vmcs = revision;
	rig_guest_irqs = 0;
	rig_host_irqs = 0;

	cr4_set_bits_irqsoff(X86_CR4_VMXE);
	if (!VMX_ON_PAGE("vmxon", page.vmxon)) {
		pr_err("rig_vmx: VMXON failed\n");
		goto out;
	}
	if (!VMX_ON_PAGE("vmclear", page.vmcs) || !VMX_ON_PAGE("vmptrld", page.vmcs)) {
		pr_err("rig_vmx: VMPTRLD failed\n");
		goto off;
	}
	write_vmcs(g, &gdt);

	rig_idt_load(&host_idt);
	if (g->global)
		wr(MSR_CORE_PERF_GLOBAL_CTRL, g->global);
	if (g->lbr_ctl)
		wr(LBR_CTL, g->lbr_ctl);
	o->fail = rig_vmx_enter(regs);
	o->debugctl = rd(MSR_IA32_DEBUGCTLMSR);
	if (arch_lbr()) {
		o->lbr_ctl = rd(LBR_CTL);
		wr(LBR_CTL, 0);
	}
	o->global = rd(MSR_CORE_PERF_GLOBAL_CTRL);
	wr(MSR_CORE_PERF_GLOBAL_CTRL, 0);

	/* What the exit changes and does not restore: limits, debug registers. */
	native_load_gdt(&gdt);
#ifdef CONFIG_X86_IOPL_IOPERM
	invalidate_tss_limit();
#endif
	wr(MSR_IA32_DEBUGCTLMSR, debugctl);

	/* Not before: it would be counted and recorded. */
	o->others_pending = others_pending(VECTOR_FIXED);
	if (o->fail) {
		if (o->fail == 2)
			o->error = vmrd(VM_INSTRUCTION_ERROR);
	} else {
		o->reason = vmrd(VM_EXIT_REASON);
		o->intr_info = vmrd(VM_EXIT_INTR_INFO);
		o->qualification = vmrd(EXIT_QUALIFICATION);
		o->rip = vmrd(GUEST_RIP) - (unsigned long)g->code;
		o->guest_global = vmrd(GUEST_IA32_PERF_GLOBAL_CTRL);
		o->guest_debugctl = vmrd(GUEST_IA32_DEBUGCTL);
		if (arch_lbr())
			o->guest_lbr_ctl = vmrd(GUEST_LBR_CTL);
		if (o->reason == EXIT_REASON_EXCEPTION_NMI &&
		    (o->intr_info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
			unblock_nmi();
	}
	/* Somebody else's, acknowledged at the exit: raised anew in the end. */
	if (acked(o) && acked(o) != VECTOR_FIXED)
		rig_apic_write(APIC_EOI, 0);
	/* Let an interrupt that skids arrive here. */
	for (i = 0; i < skid + 16; i++)
		cpu_relax();
	rig_idt_load(&host_idt);
	o->pending = vector_pending(VECTOR_FIXED);
	o->guest_irqs = rig_guest_irqs;
	if (o->pending)
		asm volatile("sti; nop; nop; cli" ::: "memory");
	o->host_irqs = rig_host_irqs;
	rig_idt_unload(&host_idt);

	VMX_ON_PAGE("vmclear", page.vmcs);
off:
	asm volatile("vmxoff" ::: "cc");
out:
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
	o->rax = regs[0];
	o->rdx = regs[2];
	o->rbx = regs[4];
	o->lvtpc = rig_apic_read(APIC_LVTPC);
	for (i = 0; i < m->gp; i++)
		o->pmc[i] = rd(MSR_IA32_PMC0 + i);
	o->status = rd(MSR_CORE_PERF_GLOBAL_STATUS);
	/* Ours, by the handler above or acknowledged at the exit. */
	if (o->pending || acked(o) == VECTOR_FIXED)
		rig_apic_write(APIC_EOI, 0);
	if (acked(o) && acked(o) != VECTOR_FIXED)
		rig_apic_write(APIC_ICR, APIC_DEST_SELF | acked(o));
}

/*
 * Enter with counter 0 on instructions and counter 1 on branches; @preset is where
 * counter 0 starts; @sel is added to its select.
 */
static void enter_counting(const struct guest *g, u64 preset, u64 sel, struct outcome *o)
{
	unsigned long flags;
	int try;

	for (try = 0; try < 8; try++) {
		/* let what is pending happen outside of the guest */
		local_irq_save(flags);
		local_irq_restore(flags);
		local_irq_save(flags);
		pmu_quiesce();
		wr(MSR_IA32_PMC0, preset & rig_width_mask(m));
		wr(MSR_ARCH_PERFMON_EVENTSEL0, RIG_SEL(RIG_EVENT_INSN) | sel);
		wr(MSR_ARCH_PERFMON_EVENTSEL0 + 1, RIG_SEL(RIG_EVENT_BRANCH));
		if (sel & RIG_SEL_INT)
			rig_apic_write(APIC_LVTPC, lvtpc);
		enter(g, o);
		pmu_quiesce();
		local_irq_restore(flags);
		/*
		 * Somebody else's interrupt ended it: not what the test is about.  Ours may
		 * have come after the exit, if it skids.
		 */
		if (o->fail || o->reason != EXIT_REASON_EXTERNAL_INTERRUPT ||
		    (acked(o) ? acked(o) == VECTOR_FIXED : o->pending && !o->others_pending))
			break;
	}
}

static void enter_plain(const struct guest *g, struct outcome *o)
{
	enter_counting(g, 0, 0, o);
}

static void intercept(u32 msr, bool read, bool write)
{
	u8 *bits = page.bitmap;

	/* all of the PMU's are in the low half */
	memset(bits, 0, PAGE_SIZE);
	if (read)
		__set_bit(msr, (unsigned long *)bits);
	if (write)
		__set_bit(msr, (unsigned long *)(bits + 2048));
}

#define EXPECT_EXIT(test, o, _reason, fmt, ...) do { \
	KUNIT_EXPECT_EQ_MSG(test, (o)->fail, 0, fmt ": VM-instruction error %u", ##__VA_ARGS__, \
			    (o)->error); \
	KUNIT_EXPECT_EQ_MSG(test, (o)->reason, _reason, fmt, ##__VA_ARGS__); \
} while (0)

/* ---- controls ---- */

static void controls_offered(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, may_be_set(MSR_IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_LOAD_GLOBAL));
	KUNIT_EXPECT_TRUE(test, may_be_set(MSR_IA32_VMX_TRUE_EXIT_CTLS, EXIT_LOAD_GLOBAL));
	KUNIT_EXPECT_EQ(test, may_be_set(MSR_IA32_VMX_TRUE_EXIT_CTLS, EXIT_SAVE_GLOBAL),
			m->vmx_save);
	KUNIT_EXPECT_TRUE(test, may_be_set(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, PROC_RDPMC));
	KUNIT_EXPECT_TRUE(test, may_be_set(MSR_IA32_VMX_TRUE_PROCBASED_CTLS, PROC_MSR_BITMAP));
}

static void control_not_offered_fails(struct kunit *test)
{
	struct guest g = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP,
			   .exit = EXIT_SAVE_GLOBAL };
	struct outcome o;

	enter_plain(&g, &o);
	if (m->vmx_save) {
		EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with the control");
	} else {
		KUNIT_EXPECT_EQ(test, o.fail, 2);
		KUNIT_EXPECT_EQ(test, o.error, FAIL_CONTROLS);
	}
}

static void rdpmc_exiting(struct kunit *test)
{
	const u32 index[] = { 0, m->gp - 1, 0x40000000, 0x40000000 + m->fixed - 1 };
	struct outcome o;
	int i;

	for (i = 0; i < ARRAY_SIZE(index); i++) {
		struct guest g = { .code = rig_guest_rdpmc, .rcx = index[i],
				   .proc = PROC_MSR_BITMAP };

		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "RDPMC %#x", index[i]);
		g.proc |= PROC_RDPMC;
		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, EXIT_REASON_RDPMC, "RDPMC %#x", index[i]);
		KUNIT_EXPECT_EQ_MSG(test, o.rip, 0, "points at the RDPMC");
	}

	/* A counter that is not there: #GP in the guest. */
	struct guest g = { .code = rig_guest_rdpmc, .rcx = m->gp, .proc = PROC_MSR_BITMAP };

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_EXCEPTION_NMI, "RDPMC %u", m->gp);
	KUNIT_EXPECT_EQ(test, o.intr_info & 0xff, X86_TRAP_GP);
	/* Only faults for privilege have priority over the exit. */
	g.proc |= PROC_RDPMC;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_RDPMC, "RDPMC %u, intercepted", m->gp);
}

/* ---- MSR bitmaps ---- */

static void msr_bitmaps(struct kunit *test)
{
	const struct { u32 first, n; bool ro; } msrs[] = {
		{ MSR_ARCH_PERFMON_PERFCTR0, m->gp },
		{ MSR_ARCH_PERFMON_EVENTSEL0, m->gp },
		{ MSR_IA32_PMC0, m->gp },
		{ MSR_CORE_PERF_FIXED_CTR0, m->fixed },
		{ MSR_IA32_PERF_CAPABILITIES, 1, true },
		{ MSR_CORE_PERF_FIXED_CTR_CTRL, 1 },
		{ MSR_CORE_PERF_GLOBAL_STATUS, 1, true },
		{ MSR_CORE_PERF_GLOBAL_CTRL, 1 },
		{ MSR_CORE_PERF_GLOBAL_OVF_CTRL, 1 },
		{ RIG_MSR_GLOBAL_STATUS_SET, 1 },
		{ RIG_MSR_GLOBAL_INUSE, 1, true },
		{ MSR_PERF_METRICS, m->metrics },
	};
	struct outcome o;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (j = 0; j < msrs[i].n; j++) {
			u32 msr = msrs[i].first + j;
			struct guest r = { .code = rig_guest_rdmsr, .rcx = msr,
					   .proc = PROC_MSR_BITMAP };
			struct guest w = { .code = rig_guest_wrmsr, .rcx = msr,
					   .proc = PROC_MSR_BITMAP };

			intercept(msr, false, true);
			enter_plain(&r, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "RDMSR %#x, open", msr);
			enter_plain(&w, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_MSR_WRITE, "WRMSR %#x, intercepted", msr);

			intercept(msr, true, false);
			enter_plain(&r, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_MSR_READ, "RDMSR %#x, intercepted", msr);
			enter_plain(&w, &o);
			if (msrs[i].ro) {
				EXPECT_EXIT(test, &o, EXIT_REASON_EXCEPTION_NMI,
					    "WRMSR %#x, read-only", msr);
				KUNIT_EXPECT_EQ(test, o.intr_info & 0xff, X86_TRAP_GP);
			} else {
				EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "WRMSR %#x, open", msr);
			}

			/* without bitmaps every access exits */
			r.proc = 0;
			enter_plain(&r, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_MSR_READ, "RDMSR %#x, no bitmaps", msr);
		}
	}
	intercept(0, false, false);
}

static void absent_msr_faults_in_guest(struct kunit *test)
{
	struct guest g = { .code = rig_guest_rdmsr, .rcx = MSR_IA32_PMC0 + m->gp,
			   .proc = PROC_MSR_BITMAP };
	struct outcome o;

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_EXCEPTION_NMI, "RDMSR %#llx", g.rcx);
	KUNIT_EXPECT_EQ(test, o.intr_info & 0xff, X86_TRAP_GP);

	/* The bitmap is asked first. */
	intercept(g.rcx, true, true);
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_MSR_READ, "RDMSR %#llx, intercepted", g.rcx);
	intercept(0, false, false);
}

/* ---- GLOBAL_CTRL at entry and exit ---- */

static void entry_loads_global_ctrl(struct kunit *test)
{
	u64 mine = rig_gp_mask(m) | rig_fixed_mask(m), before = 2;
	struct guest g = { .code = rig_guest_rdmsr, .rcx = MSR_CORE_PERF_GLOBAL_CTRL,
			   .proc = PROC_MSR_BITMAP, .guest_global = mine, .global = before };
	struct outcome o;

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "without the control");
	KUNIT_EXPECT_EQ(test, o.rdx << 32 | (u32)o.rax, before);
	g.entry = ENTRY_LOAD_GLOBAL;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with the control");
	KUNIT_EXPECT_EQ(test, o.rdx << 32 | (u32)o.rax, mine);
	KUNIT_EXPECT_EQ_MSG(test, o.global, mine, "not loaded at the exit");
}

static void exit_loads_global_ctrl(struct kunit *test)
{
	struct guest g = { .code = rig_guest_wrmsr, .rcx = MSR_CORE_PERF_GLOBAL_CTRL, .rax = 1,
			   .proc = PROC_MSR_BITMAP, .host_global = BIT_ULL(32) | 2 };
	struct outcome o;

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "without the control");
	KUNIT_EXPECT_EQ(test, o.global, 1);
	g.exit = EXIT_LOAD_GLOBAL;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with the control");
	KUNIT_EXPECT_EQ(test, o.global, g.host_global);
}

static void exit_saves_global_ctrl(struct kunit *test)
{
	struct guest g = { .code = rig_guest_wrmsr, .rcx = MSR_CORE_PERF_GLOBAL_CTRL, .rax = 5,
			   .proc = PROC_MSR_BITMAP, .entry = ENTRY_LOAD_GLOBAL, .guest_global = 2,
			   .exit = EXIT_LOAD_GLOBAL };
	struct outcome o;

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "without the control");
	KUNIT_EXPECT_EQ_MSG(test, o.guest_global, 2, "the field keeps what was written to it");
	if (!m->vmx_save)
		return;
	g.exit |= EXIT_SAVE_GLOBAL;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with the control");
	KUNIT_EXPECT_EQ_MSG(test, o.guest_global, 5, "what the guest wrote");
	KUNIT_EXPECT_EQ_MSG(test, o.global, 0, "saved before the host's is loaded");
}

/* A reserved bit in the field fails the entry, if the control is set; a valid one does not. */
static void reserved_global_ctrl_fails(struct kunit *test)
{
	u64 valid = rig_gp_mask(m) | rig_fixed_mask(m) | (m->metrics ? RIG_GLOBAL_METRICS : 0);
	struct outcome o;
	int bit;

	for (bit = 0; bit < 64; bit++) {
		struct guest g = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP,
				   .entry = ENTRY_LOAD_GLOBAL, .guest_global = BIT_ULL(bit),
				   .exit = EXIT_LOAD_GLOBAL, .host_global = 2 };
		struct guest h = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP,
				   .exit = EXIT_LOAD_GLOBAL, .host_global = BIT_ULL(bit) };

		if (valid & BIT_ULL(bit)) {
			enter_plain(&g, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "guest's bit %d", bit);
			enter_plain(&h, &o);
			EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "host's bit %d", bit);
			KUNIT_EXPECT_EQ(test, o.global, BIT_ULL(bit));
			continue;
		}
		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, EXIT_REASON_INVALID_STATE | EXIT_FAILED, "guest's bit %d",
			    bit);
		KUNIT_EXPECT_EQ_MSG(test, o.global, 2, "a failed entry loads the host's state");
		enter_plain(&h, &o);
		KUNIT_EXPECT_EQ_MSG(test, o.fail, 2, "host's bit %d", bit);
		KUNIT_EXPECT_EQ_MSG(test, o.error, FAIL_HOST_STATE, "host's bit %d", bit);

		g.entry = 0;
		h.exit = 0;
		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "guest's bit %d, not loaded", bit);
		enter_plain(&h, &o);
		EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "host's bit %d, not loaded", bit);
	}
}

/* ---- MSR lists ---- */

static void set_entry(struct vmx_msr_entry *e, u32 msr, u64 val)
{
	*e = (struct vmx_msr_entry) { .index = msr, .value = val };
}

static void msr_lists(struct kunit *test)
{
	struct guest g = { .code = rig_guest_rdmsr, .rcx = MSR_IA32_PMC0 + 2,
			   .proc = PROC_MSR_BITMAP,
			   .n_entry_load = 2, .n_exit_store = 3, .n_exit_load = 2 };
	struct outcome o;

	set_entry(&page.entry_load[0], MSR_IA32_PMC0 + 2, 0x123456789abc);
	set_entry(&page.entry_load[1], MSR_CORE_PERF_GLOBAL_CTRL, 4);
	set_entry(&page.exit_store[0], MSR_IA32_PMC0 + 2, 1);
	set_entry(&page.exit_store[1], MSR_CORE_PERF_GLOBAL_CTRL, 1);
	set_entry(&page.exit_store[2], MSR_CORE_PERF_GLOBAL_STATUS, 1);
	set_entry(&page.exit_load[0], MSR_IA32_PMC0 + 3, 0xabc987654321);
	set_entry(&page.exit_load[1], MSR_CORE_PERF_GLOBAL_CTRL, 8);
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "lists");
	KUNIT_EXPECT_EQ(test, o.rdx << 32 | (u32)o.rax, 0x123456789abc);
	KUNIT_EXPECT_EQ(test, page.exit_store[0].value, 0x123456789abc);
	KUNIT_EXPECT_EQ(test, page.exit_store[1].value, 4);
	KUNIT_EXPECT_EQ(test, page.exit_store[2].value, 0);
	KUNIT_EXPECT_EQ(test, o.pmc[3], 0xabc987654321);
	KUNIT_EXPECT_EQ(test, o.global, 8);
}

/* The guest's MSRs are stored first, then the host's state is loaded, then the load list. */
static void exit_order(struct kunit *test)
{
	struct guest g = { .code = rig_guest_wrmsr, .rcx = MSR_CORE_PERF_GLOBAL_CTRL, .rax = 5,
			   .proc = PROC_MSR_BITMAP, .entry = ENTRY_LOAD_GLOBAL, .guest_global = 2,
			   .exit = EXIT_LOAD_GLOBAL, .host_global = 4, .n_exit_store = 1 };
	struct outcome o;

	set_entry(&page.exit_store[0], MSR_CORE_PERF_GLOBAL_CTRL, 0);
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "store list");
	KUNIT_EXPECT_EQ_MSG(test, page.exit_store[0].value, 5, "what the guest wrote");
	KUNIT_EXPECT_EQ_MSG(test, o.global, 4, "the host's field");

	set_entry(&page.exit_load[0], MSR_CORE_PERF_GLOBAL_CTRL, 8);
	g.n_exit_load = 1;
	enter_plain(&g, &o);
	KUNIT_EXPECT_EQ_MSG(test, page.exit_store[0].value, 5, "what the guest wrote");
	KUNIT_EXPECT_EQ_MSG(test, o.global, 8, "the load list comes last");
}

/* The number of the entry that could not be loaded is the qualification. */
static void bad_entry_load_list_fails(struct kunit *test)
{
	struct guest g = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP, .n_entry_load = 2 };
	struct outcome o;

	set_entry(&page.entry_load[0], MSR_CORE_PERF_GLOBAL_CTRL, 1);
	set_entry(&page.entry_load[1], MSR_CORE_PERF_GLOBAL_CTRL, BIT_ULL(63));
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_MSR_LOAD_FAIL | EXIT_FAILED, "reserved bit");
	KUNIT_EXPECT_EQ(test, o.qualification, 2);

	set_entry(&page.entry_load[1], MSR_IA32_PMC0 + m->gp, 0);
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_MSR_LOAD_FAIL | EXIT_FAILED, "no such counter");
	KUNIT_EXPECT_EQ(test, o.qualification, 2);
}

/* ---- counting ---- */

/* The entry turns the counters on, the exit off: what the guest retires is counted, exactly. */
static void guest_counts_exactly(struct kunit *test)
{
	const struct {
		const char *name;
		void (*code)(void);
		u64 rdi;
		u32 proc, reason;
		u64 insns, branches;
	} v[] = {
		/* An instruction that exits does not retire. */
		{ "VMCALL", rig_guest_nothing, 0, 0, EXIT_REASON_VMCALL, 0, 0 },
		{ "1000 NOPs", rig_guest_nop1000, 0, 0, EXIT_REASON_VMCALL, 1000, 0 },
		{ "loop of 1", rig_guest_loop, 1, 0, EXIT_REASON_VMCALL, 2, 1 },
		{ "loop of 100000", rig_guest_loop, 100000, 0, EXIT_REASON_VMCALL, 200000, 100000 },
		{ "CPUID", rig_guest_cpuid, 0, 0, EXIT_REASON_CPUID, 10, 0 },
		{ "UD2", rig_guest_ud2, 0, 0, EXIT_REASON_EXCEPTION_NMI, 10, 0 },
		{ "RDPMC", rig_guest_rdpmc, 0, 0, EXIT_REASON_VMCALL, 1, 0 },
		{ "RDPMC that exits", rig_guest_rdpmc, 0, PROC_RDPMC, EXIT_REASON_RDPMC, 0, 0 },
	};
	struct outcome o;
	int i;

	for (i = 0; i < ARRAY_SIZE(v); i++) {
		struct guest g = { .code = v[i].code, .rdi = v[i].rdi,
				   .proc = PROC_MSR_BITMAP | v[i].proc,
				   .entry = ENTRY_LOAD_GLOBAL, .guest_global = 3,
				   .exit = EXIT_LOAD_GLOBAL };

		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, v[i].reason, "%s", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.pmc[0], v[i].insns, "%s: instructions", v[i].name);
		KUNIT_EXPECT_EQ_MSG(test, o.pmc[1], v[i].branches, "%s: branches", v[i].name);
	}
}

/* The reverse: the counters run in the host alone. */
static void host_counts_no_guest(struct kunit *test)
{
	struct guest g = { .code = rig_guest_loop, .proc = PROC_MSR_BITMAP,
			   .entry = ENTRY_LOAD_GLOBAL, .exit = EXIT_LOAD_GLOBAL,
			   .host_global = 3, .global = 3 };
	struct outcome few, many;

	g.rdi = 10;
	enter_plain(&g, &few);
	g.rdi = 100000;
	enter_plain(&g, &many);
	EXPECT_EXIT(test, &few, EXIT_REASON_VMCALL, "10");
	EXPECT_EXIT(test, &many, EXIT_REASON_VMCALL, "100000");
	KUNIT_EXPECT_NE(test, few.pmc[0], 0);
	KUNIT_EXPECT_EQ(test, few.pmc[0], many.pmc[0]);
	KUNIT_EXPECT_EQ(test, few.pmc[1], many.pmc[1]);
}

/* Without the controls nothing stops them. */
static void counters_run_through(struct kunit *test)
{
	struct guest g = { .code = rig_guest_loop, .proc = PROC_MSR_BITMAP, .global = 3 };
	struct outcome few, many;

	g.rdi = 10;
	enter_plain(&g, &few);
	g.rdi = 100000;
	enter_plain(&g, &many);
	KUNIT_EXPECT_EQ(test, many.pmc[0] - few.pmc[0], 2 * (100000 - 10));
	KUNIT_EXPECT_EQ(test, many.pmc[1] - few.pmc[1], 100000 - 10);
}

static void guest_reads_its_counter(struct kunit *test)
{
	struct guest g = { .code = rig_guest_rdpmc_twice, .proc = PROC_MSR_BITMAP,
			   .entry = ENTRY_LOAD_GLOBAL, .guest_global = 1,
			   .exit = EXIT_LOAD_GLOBAL };
	struct outcome o;

	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "RDPMC twice");
	KUNIT_EXPECT_EQ_MSG(test, (u32)o.rax - (u32)o.rbx, 102, "from one RDPMC to the next");
	KUNIT_EXPECT_EQ(test, o.pmc[0], 104);
}

/* ---- the interrupt ---- */

/* The guest's 1000 instructions must do for the overflow and the skid after it. */
#define SKID_MAX 400

static const struct guest pmi_guest = {
	.code = rig_guest_nop1000, .proc = PROC_MSR_BITMAP,
	.entry = ENTRY_LOAD_GLOBAL, .guest_global = 1, .exit = EXIT_LOAD_GLOBAL,
};

/* "NMI exiting": the interrupt of an overflow in the guest ends it right there. */
static void pmi_nmi_exits(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	if (skid > SKID_MAX)
		kunit_skip(test, "a skid of more than %u", SKID_MAX);

	g.pin = PIN_NMI;
	lvtpc = APIC_DM_NMI;
	enter_counting(&g, -500, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_EXCEPTION_NMI, "NMI exiting");
	KUNIT_EXPECT_EQ(test, o.intr_info,
			INTR_TYPE_NMI_INTR | INTR_INFO_VALID_MASK | X86_TRAP_NMI);
	KUNIT_EXPECT_EQ_MSG(test, o.rip, 500 + skid, "one byte each");
	KUNIT_EXPECT_EQ(test, o.pmc[0], skid);
	KUNIT_EXPECT_EQ(test, o.status & 1, 1);
	KUNIT_EXPECT_EQ_MSG(test, o.guest_irqs, 0, "not the guest's");
	KUNIT_EXPECT_EQ_MSG(test, o.host_irqs, 0, "the exit was its delivery");
	KUNIT_EXPECT_EQ(test, o.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED);
}

/* Without it the guest's own handler runs. */
static void pmi_nmi_in_guest(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	if (skid > SKID_MAX)
		kunit_skip(test, "a skid of more than %u", SKID_MAX);

	lvtpc = APIC_DM_NMI;
	enter_counting(&g, -500, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "no NMI exiting");
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 1);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
	/* 1000 NOPs and the handler's two instructions */
	KUNIT_EXPECT_EQ(test, o.pmc[0], 502);
}

/* "External-interrupt exiting" holds whatever RFLAGS.IF is; the interrupt is the host's. */
static void pmi_fixed_exits(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	if (skid > SKID_MAX)
		kunit_skip(test, "a skid of more than %u", SKID_MAX);

	g.pin = PIN_EXT_INTR;
	lvtpc = APIC_DM_FIXED | VECTOR_FIXED;
	enter_counting(&g, -500, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_EXTERNAL_INTERRUPT, "left pending");
	KUNIT_EXPECT_EQ(test, o.rip, 500 + skid);
	KUNIT_EXPECT_TRUE(test, o.pending);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 1);
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);

	g.exit |= EXIT_ACK;
	enter_counting(&g, -500, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_EXTERNAL_INTERRUPT, "acknowledged");
	KUNIT_EXPECT_EQ(test, o.intr_info,
			INTR_TYPE_EXT_INTR | INTR_INFO_VALID_MASK | VECTOR_FIXED);
	KUNIT_EXPECT_FALSE(test, o.pending);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
}

/* No exiting and RFLAGS.IF = 0: it waits and is delivered to the host. */
static void pmi_fixed_waits(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	if (skid > SKID_MAX)
		kunit_skip(test, "a skid of more than %u", SKID_MAX);

	lvtpc = APIC_DM_FIXED | VECTOR_FIXED;
	enter_counting(&g, -500, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "interrupts off");
	KUNIT_EXPECT_TRUE(test, o.pending);
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 1);
	KUNIT_EXPECT_EQ(test, o.pmc[0], 500);
}

/*
 * Overflow with the guest's last instruction: without skid the NMI ends the guest,
 * with enough of it the VMCALL does, and the NMI comes to the host.
 */
static void pmi_at_the_exit(struct kunit *test)
{
	struct guest g = pmi_guest;
	struct outcome o;

	g.pin = PIN_NMI;
	lvtpc = APIC_DM_NMI;
	enter_counting(&g, -1000, RIG_SEL_INT, &o);
	KUNIT_EXPECT_EQ(test, o.status & 1, 1);
	KUNIT_EXPECT_EQ(test, o.guest_irqs, 0);
	KUNIT_EXPECT_EQ(test, o.pmc[0], 0);
	if (skid) {
		EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "skid %u", skid);
		KUNIT_EXPECT_EQ_MSG(test, o.host_irqs, 1, "it arrives after the exit");
	} else {
		EXPECT_EXIT(test, &o, EXIT_REASON_EXCEPTION_NMI, "no skid");
		KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
	}
	KUNIT_EXPECT_EQ(test, o.lvtpc, APIC_DM_NMI | APIC_LVT_MASKED);

	/* One instruction less: no overflow, no interrupt. */
	enter_counting(&g, -1001, RIG_SEL_INT, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "one short");
	KUNIT_EXPECT_EQ(test, o.status, 0);
	KUNIT_EXPECT_EQ(test, o.host_irqs, 0);
	KUNIT_EXPECT_EQ(test, o.lvtpc, APIC_DM_NMI);
}

/* ---- branch records ---- */

static void clear_records(void)
{
	int i;

	if (arch_lbr()) {
		wr(LBR_DEPTH, LBR_RECORDS);
		return;
	}
	for (i = 0; i < LBR_RECORDS; i++) {
		wr(LBR_FROM + i, 0);
		wr(LBR_TO + i, 0);
	}
}

/* Records of the branch at the end of rig_guest_loop, and all others */
static void count_records(int *loops, int *others)
{
	const u64 loop = (u64)rig_guest_loop;
	int i;

	*loops = 0;
	*others = 0;
	for (i = 0; i < LBR_RECORDS; i++) {
		if (rd(LBR_FROM + i) - loop < 16 && rd(LBR_TO + i) == loop)
			++*loops;
		else if (rd(LBR_TO + i))
			++*others;
	}
}

/* Entry loads IA32_DEBUGCTL or leaves it alone, exit clears it in any case. */
static void debugctl_fields(struct kunit *test)
{
	struct guest g = { .code = rig_guest_loop, .rdi = 5, .proc = PROC_MSR_BITMAP,
			   .guest_debugctl = 1, .entry = ENTRY_LOAD_DEBUG, .exit = EXIT_SAVE_DEBUG };
	struct outcome o;
	int loops, others;

	clear_records();
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with the controls");
	KUNIT_EXPECT_EQ(test, o.guest_debugctl, 1);
	KUNIT_EXPECT_EQ(test, o.debugctl, 0);
	count_records(&loops, &others);
	KUNIT_EXPECT_EQ_MSG(test, loops, arch_lbr() ? 0 : 4, "branches of the guest");
	KUNIT_EXPECT_EQ_MSG(test, others, 0, "neither the entry nor the exit is a branch");

	/* the guest's own write is saved */
	g.code = rig_guest_wrmsr;
	g.rcx = MSR_IA32_DEBUGCTLMSR;
	g.rax = BIT(11);
	enter_plain(&g, &o);
	KUNIT_EXPECT_EQ(test, o.guest_debugctl, BIT(11));
	KUNIT_EXPECT_EQ(test, o.debugctl, 0);
	g.exit = 0;
	if (!(rd(MSR_IA32_VMX_TRUE_EXIT_CTLS) & EXIT_SAVE_DEBUG)) {
		enter_plain(&g, &o);
		KUNIT_EXPECT_EQ_MSG(test, o.guest_debugctl, 1, "the field is as it was");
		KUNIT_EXPECT_EQ(test, o.debugctl, 0);
	}
	if (!(rd(MSR_IA32_VMX_TRUE_ENTRY_CTLS) & ENTRY_LOAD_DEBUG)) {
		g.code = rig_guest_rdmsr;
		g.entry = 0;
		enter_plain(&g, &o);
		KUNIT_EXPECT_EQ_MSG(test, (u32)o.rax, 0, "not loaded");
	}
}

static void reserved_debugctl_fails(struct kunit *test)
{
	struct guest g = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP,
			   .entry = ENTRY_LOAD_DEBUG };
	struct outcome o;
	int bit;

	for (bit = 0; bit < 64; bit++) {
		bool valid = !wrmsrl_safe(MSR_IA32_DEBUGCTLMSR, BIT_ULL(bit));

		wr(MSR_IA32_DEBUGCTLMSR, 0);
		g.guest_debugctl = BIT_ULL(bit);
		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, valid ? EXIT_REASON_VMCALL :
			    EXIT_FAILED | EXIT_REASON_INVALID_STATE, "bit %d", bit);
	}
}

static void lbr_controls(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, may_be_set(MSR_IA32_VMX_TRUE_ENTRY_CTLS, ENTRY_LOAD_LBR), arch_lbr());
	KUNIT_EXPECT_EQ(test, may_be_set(MSR_IA32_VMX_TRUE_EXIT_CTLS, EXIT_CLEAR_LBR), arch_lbr());
}

static void lbr_ctl_fields(struct kunit *test)
{
	struct guest g = { .code = rig_guest_loop, .rdi = 5, .proc = PROC_MSR_BITMAP,
			   .guest_lbr_ctl = LBR_ALL, .entry = ENTRY_LOAD_LBR, .exit = EXIT_CLEAR_LBR };
	struct outcome o;
	int loops, others;

	if (!arch_lbr())
		kunit_skip(test, "no architectural LBRs");

	clear_records();
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "with both controls");
	KUNIT_EXPECT_EQ(test, o.lbr_ctl, 0);
	KUNIT_EXPECT_EQ(test, o.guest_lbr_ctl, LBR_ALL);
	count_records(&loops, &others);
	KUNIT_EXPECT_EQ_MSG(test, loops, 4, "branches of the guest");
	KUNIT_EXPECT_EQ_MSG(test, others, 0, "neither the entry nor the exit is a branch");

	/* the host's recording ends with the entry, and is no more after the exit */
	g.guest_lbr_ctl = 0;
	g.lbr_ctl = LBR_ALL;
	clear_records();
	enter_plain(&g, &o);
	count_records(&loops, &others);
	KUNIT_EXPECT_EQ(test, loops, 0);
	KUNIT_EXPECT_EQ(test, o.guest_lbr_ctl, 0);
	KUNIT_EXPECT_EQ(test, o.lbr_ctl, 0);

	/* neither control: it records on, and the field is written all the same */
	g.entry = 0;
	g.exit = 0;
	clear_records();
	enter_plain(&g, &o);
	count_records(&loops, &others);
	KUNIT_EXPECT_EQ(test, loops, 4);
	KUNIT_EXPECT_EQ(test, o.guest_lbr_ctl, LBR_ALL);
	KUNIT_EXPECT_EQ(test, o.lbr_ctl, LBR_ALL);

	/* what the guest writes is saved */
	g.lbr_ctl = 0;
	g.entry = ENTRY_LOAD_LBR;
	g.exit = EXIT_CLEAR_LBR;
	g.code = rig_guest_wrmsr;
	g.rcx = LBR_CTL;
	g.rax = LBR_ALL & ~1;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "WRMSR");
	KUNIT_EXPECT_EQ(test, o.guest_lbr_ctl, LBR_ALL & ~1);
	KUNIT_EXPECT_EQ(test, o.lbr_ctl, 0);
	clear_records();
}

static void reserved_lbr_ctl_fails(struct kunit *test)
{
	struct guest g = { .code = rig_guest_nothing, .proc = PROC_MSR_BITMAP,
			   .entry = ENTRY_LOAD_LBR, .exit = EXIT_CLEAR_LBR };
	struct outcome o;
	int bit;

	if (!arch_lbr())
		kunit_skip(test, "no architectural LBRs");
	for (bit = 0; bit < 64; bit++) {
		bool valid = (LBR_ALL | BIT(3)) & BIT_ULL(bit);

		g.guest_lbr_ctl = BIT_ULL(bit);
		enter_plain(&g, &o);
		EXPECT_EXIT(test, &o, valid ? EXIT_REASON_VMCALL :
			    EXIT_FAILED | EXIT_REASON_INVALID_STATE, "bit %d", bit);
	}
	/* nobody looks at it without the control */
	g.guest_lbr_ctl = BIT_ULL(63);
	g.entry = 0;
	enter_plain(&g, &o);
	EXPECT_EXIT(test, &o, EXIT_REASON_VMCALL, "not loaded");
}

/* ---- the suite ---- */

static void rig_vmx_suite_exit(struct kunit_suite *suite)
{
	free_page((unsigned long)page.vmxon);
	free_page((unsigned long)page.vmcs);
	free_page((unsigned long)page.bitmap);
	free_page((unsigned long)page.entry_load);
	free_page((unsigned long)page.exit_store);
	free_page((unsigned long)page.exit_load);
}

static int rig_vmx_suite_init(struct kunit_suite *suite)
{
	page.vmxon = (void *)get_zeroed_page(GFP_KERNEL);
	page.vmcs = (void *)get_zeroed_page(GFP_KERNEL);
	page.bitmap = (void *)get_zeroed_page(GFP_KERNEL);
	page.entry_load = (void *)get_zeroed_page(GFP_KERNEL);
	page.exit_store = (void *)get_zeroed_page(GFP_KERNEL);
	page.exit_load = (void *)get_zeroed_page(GFP_KERNEL);
	if (page.vmxon && page.vmcs && page.bitmap && page.entry_load && page.exit_store &&
	    page.exit_load)
		return 0;
	return -ENOMEM;
}

static int enter_times(unsigned int n)
{
	const struct guest g = { .code = rig_guest_cpuid, .proc = PROC_MSR_BITMAP };
	struct outcome o;
	int err;

	m = rig_find_machine(machine);
	if (IS_ERR_OR_NULL(m))
		return -ENODEV;
	if (__read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	err = rig_vmx_suite_init(NULL);
	for (fill_idts(); !err && n; n--) {
		enter_plain(&g, &o);
		if (o.fail || o.reason != EXIT_REASON_CPUID)
			err = -EIO;
	}
	rig_vmx_suite_exit(NULL);
	return err;
}
RIG_TIMES_PARAM(enter, enter_times, "enter a guest n times that executes ten instructions and CPUID");

static int rig_vmx_init(struct kunit *test)
{
	int err = host_keep(test);
	u64 feat;

	if (err)
		return err;
	KUNIT_ASSERT_TRUE_MSG(test, cpuid_ecx(1) & BIT(5), "no VMX");
	KUNIT_ASSERT_FALSE_MSG(test, __read_cr4() & X86_CR4_VMXE, "unload kvm_intel first");
	feat = rd(MSR_IA32_FEAT_CTL);
	KUNIT_ASSERT_NE_MSG(test, feat & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX, 0,
			    "IA32_FEATURE_CONTROL %#llx", feat);
	KUNIT_ASSERT_NE_MSG(test, rd(MSR_IA32_VMX_BASIC) & BIT_ULL(55), 0, "no TRUE controls");

	rig_apic_write(APIC_LVTPC, APIC_DM_NMI | APIC_LVT_MASKED);
	pmu_quiesce();
	intercept(0, false, false);

	fill_idts();
	return 0;
}

static struct kunit_case rig_vmx_cases[] = {
	KUNIT_CASE(controls_offered),
	KUNIT_CASE(control_not_offered_fails),
	KUNIT_CASE(rdpmc_exiting),
	KUNIT_CASE(msr_bitmaps),
	KUNIT_CASE(absent_msr_faults_in_guest),
	KUNIT_CASE(entry_loads_global_ctrl),
	KUNIT_CASE(exit_loads_global_ctrl),
	KUNIT_CASE(exit_saves_global_ctrl),
	KUNIT_CASE(reserved_global_ctrl_fails),
	KUNIT_CASE(msr_lists),
	KUNIT_CASE(exit_order),
	KUNIT_CASE(bad_entry_load_list_fails),
	KUNIT_CASE(guest_counts_exactly),
	KUNIT_CASE(host_counts_no_guest),
	KUNIT_CASE(counters_run_through),
	KUNIT_CASE(guest_reads_its_counter),
	KUNIT_CASE(pmi_nmi_exits),
	KUNIT_CASE(pmi_nmi_in_guest),
	KUNIT_CASE(pmi_fixed_exits),
	KUNIT_CASE(pmi_fixed_waits),
	KUNIT_CASE(pmi_at_the_exit),
	KUNIT_CASE(debugctl_fields),
	KUNIT_CASE(reserved_debugctl_fails),
	KUNIT_CASE(lbr_controls),
	KUNIT_CASE(lbr_ctl_fields),
	KUNIT_CASE(reserved_lbr_ctl_fails),
	{}
};

static struct kunit_suite rig_vmx_suite = {
	.name = "rig_vmx",
	.suite_init = rig_vmx_suite_init,
	.suite_exit = rig_vmx_suite_exit,
	.init = rig_vmx_init,
	.exit = host_put_back,
	.test_cases = rig_vmx_cases,
};

kunit_test_suite(rig_vmx_suite);

MODULE_DESCRIPTION("Tests of VMX and the PMU of the emulated machine against the SDM");
MODULE_LICENSE("GPL");
