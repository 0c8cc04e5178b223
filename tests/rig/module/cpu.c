// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of what a machine with performance counters must have right besides them: the single-step
 * trap around changes of the privilege level, the local APIC that is turned off and on, the registers
 * of the machine check architecture.  Against the SDM and the APM, on processors of both vendors.
 */
#include <linux/delay.h>
#include <linux/stop_machine.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/io.h>
#include <asm/mce.h>
#include <asm/trapnr.h>

#include "common.h"
#include "cpu_asm.h"

static struct rig_idt idt_space __aligned(PAGE_SIZE);
static struct rig_idt *idt = &idt_space;

/* ---- single-stepping ---- */

static u8 sysenter_stack[512] __aligned(16);

/* One run with the tests' own interrupt table, interrupts off. */
static void step(void (*code)(void))
{
	unsigned long flags;

	local_irq_save(flags);
	rig_idt_copy(idt);
	rig_idt_set(idt, X86_TRAP_DB, rig_step_db);
	rig_idt_set(idt, X86_TRAP_PF, rig_step_pf);
	rig_idt_set(idt, RIG_STEP_VECTOR, rig_step_int_handler);
	rig_step_rip = 0;
	rig_step_dbs = 0;
	rig_step_pfs = 0;
	rig_idt_load(idt);
	code();
	rig_idt_unload(idt);
	set_debugreg(DR6_RESERVED, 6);
	local_irq_restore(flags);
}

static u64 syscall_mask;

static void do_syscall(void)
{
	u64 lstar, mask;

	rdmsrl(MSR_LSTAR, lstar);
	rdmsrl(MSR_SYSCALL_MASK, mask);
	wrmsrl(MSR_LSTAR, (unsigned long)rig_syscall_target);
	wrmsrl(MSR_SYSCALL_MASK, syscall_mask);
	rig_step_syscall();
	wrmsrl(MSR_SYSCALL_MASK, mask);
	wrmsrl(MSR_LSTAR, lstar);
}

/* The kernel is entered without a trap if it says so: a debugger may step a program over SYSCALL. */
static void syscall_that_masks_tf(struct kunit *test)
{
	syscall_mask = X86_EFLAGS_TF | X86_EFLAGS_IF;
	step(do_syscall);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 0, "#DB in the handler of SYSCALL, at +%lld",
			    rig_step_rip - (unsigned long)rig_syscall_target);
}

static void syscall_that_keeps_tf(struct kunit *test)
{
	syscall_mask = X86_EFLAGS_IF;
	step(do_syscall);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 1, "#DB");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_rip - (unsigned long)rig_syscall_target, 0,
			    "place of the trap");
}

/* Nothing is mapped there. */
#define USER_RIP	0x1000

static u64 user_flags;

static void do_sysret(void)
{
	rig_sysret(USER_RIP, user_flags);
}

/* The trap comes as if SYSCALL, long ago, had just completed: before the first instruction. */
static void sysret_that_sets_tf(struct kunit *test)
{
	user_flags = X86_EFLAGS_FIXED | X86_EFLAGS_TF;
	step(do_sysret);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_pfs, 0, "page faults of the first instruction");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 1, "#DB");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_rip, USER_RIP, "place of the trap");
}

static void sysret_without_tf(struct kunit *test)
{
	user_flags = X86_EFLAGS_FIXED;
	step(do_sysret);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_pfs, 1, "page faults of the first instruction");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 0, "#DB");
}

static void do_sysenter(void)
{
	u64 eip, esp;

	rdmsrl(MSR_IA32_SYSENTER_EIP, eip);
	rdmsrl(MSR_IA32_SYSENTER_ESP, esp);
	wrmsrl(MSR_IA32_SYSENTER_EIP, (unsigned long)rig_sysenter_target);
	wrmsrl(MSR_IA32_SYSENTER_ESP, (unsigned long)(sysenter_stack + sizeof(sysenter_stack)));
	rig_step_sysenter();
	wrmsrl(MSR_IA32_SYSENTER_ESP, esp);
	wrmsrl(MSR_IA32_SYSENTER_EIP, eip);
}

/* It leaves TF alone: the trap is the handler's. */
static void sysenter_keeps_tf(struct kunit *test)
{
	u64 cs;

	rdmsrl(MSR_IA32_SYSENTER_CS, cs);
	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL || !cs)
		kunit_skip(test, "no SYSENTER in 64-bit mode");
	step(do_sysenter);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 1, "#DB");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_rip - (unsigned long)rig_sysenter_target, 0,
			    "place of the trap");
}

/* No trap in the handler, none right after IRET, which begins without TF: one instruction later. */
static void int_n_and_iret(struct kunit *test)
{
	step(rig_step_int);
	KUNIT_EXPECT_EQ_MSG(test, rig_step_dbs, 1, "#DB");
	KUNIT_EXPECT_EQ_MSG(test, rig_step_rip - (unsigned long)rig_int_stepped, 0,
			    "place of the trap");
}

/* ---- the local APIC ---- */

/* What a write of IA32_APIC_BASE led to; all of it is written down while nothing else may run. */
struct apic_run {
	u64 base;
	bool x2apic;
	u64 off;
	bool off_cpuid, on_cpuid;
	int skip_xapic, back_to_xapic, x2apic_read;
	u64 on;
	u32 spurious, lvtpc, irr;
	u64 x2apic_on, x2apic_id, restored;
	u32 lost;
	bool busy, delivered;
};

static bool apic_in_cpuid(void)
{
	return cpuid_edx(1) & BIT(9);
}

#define BASE_MODE	(MSR_IA32_APICBASE_ENABLE | X2APIC_ENABLE)

static const u16 apic_regs[] = {
	APIC_TASKPRI, APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC, APIC_LVT0, APIC_LVT1, APIC_LVTERR, APIC_TDCR,
	APIC_LDR, APIC_DFR,
};

#define UART_LSR 0x3fd
#define UART_LSR_TEMT BIT(6)

/*
 * Is an interrupt pending, or about to come? What comes while the APIC is off is lost, and the
 * driver of a UART that has characters left waits for it for ever.
 */
static bool busy(void)
{
	u32 any = 0;
	int i;

	if (!(inb(UART_LSR) & UART_LSR_TEMT))
		return true;
	for (i = 0; i < 8; i++)
		any |= rig_apic_read(APIC_IRR + i * 0x10);
	return any;
}

/* No other CPU runs, and interrupts are off. */
static int apic_off_and_on(void *data)
{
	struct apic_run *r = data;
	u32 regs[ARRAY_SIZE(apic_regs)], spiv, left;
	u64 deadline = 0;
	int i;

	if (smp_processor_id() != cpu)
		return 0;
	rdmsrl(MSR_IA32_APICBASE, r->base);
	r->x2apic = boot_cpu_has(X86_FEATURE_X2APIC);

	/* What is pending would be lost: come back later. */
	r->busy = busy();
	if (r->busy)
		return 0;
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		if (!(r->base & X2APIC_ENABLE && (apic_regs[i] == APIC_LDR || apic_regs[i] == APIC_DFR)))
			regs[i] = rig_apic_read(apic_regs[i]);
	spiv = rig_apic_read(APIC_SPIV);
	left = rig_apic_read(APIC_TMCCT);
	if (boot_cpu_has(X86_FEATURE_TSC_DEADLINE_TIMER))
		rdmsrl_safe(MSR_IA32_TSC_DEADLINE, &deadline);

	/* One interrupt, to itself, that has not been taken when the APIC goes */
	rig_apic_write(APIC_ICR, APIC_DEST_SELF | VECTOR_FIXED);

	wrmsrl(MSR_IA32_APICBASE, r->base & ~BASE_MODE);
	rdmsrl(MSR_IA32_APICBASE, r->off);
	r->off_cpuid = apic_in_cpuid();
	if (r->x2apic)
		r->skip_xapic = wrmsrl_safe(MSR_IA32_APICBASE, r->base | BASE_MODE);

	wrmsrl(MSR_IA32_APICBASE, (r->base & ~BASE_MODE) | MSR_IA32_APICBASE_ENABLE);
	rdmsrl(MSR_IA32_APICBASE, r->on);
	r->on_cpuid = apic_in_cpuid();
	if (!(r->base & X2APIC_ENABLE)) {
		r->spurious = rig_apic_read(APIC_SPIV);
		r->lvtpc = rig_apic_read(APIC_LVTPC);
		r->lost = vector_pending(VECTOR_FIXED);
	}
	if (r->x2apic) {
		wrmsrl(MSR_IA32_APICBASE, r->base | BASE_MODE);
		rdmsrl(MSR_IA32_APICBASE, r->x2apic_on);
		r->x2apic_read = rdmsrl_safe(APIC_BASE_MSR + (APIC_ID >> 4), &r->x2apic_id);
		r->back_to_xapic = wrmsrl_safe(MSR_IA32_APICBASE,
					       (r->base & ~BASE_MODE) | MSR_IA32_APICBASE_ENABLE);
		if (!(r->base & X2APIC_ENABLE))
			wrmsrl(MSR_IA32_APICBASE, r->base & ~BASE_MODE);
	}
	wrmsrl(MSR_IA32_APICBASE, r->base);
	rdmsrl(MSR_IA32_APICBASE, r->restored);

	/* As it was. LVTs cannot be unmasked before the APIC is enabled by software. */
	rig_apic_write(APIC_SPIV, spiv);
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		if (!(r->base & X2APIC_ENABLE && (apic_regs[i] == APIC_LDR || apic_regs[i] == APIC_DFR)))
			rig_apic_write(apic_regs[i], regs[i]);
	if (deadline)
		wrmsrl(MSR_IA32_TSC_DEADLINE, deadline);
	else if (left)
		rig_apic_write(APIC_TMICT, left);

	/* It takes interrupts. */
	rig_idt_copy(idt);
	rig_idt_set(idt, VECTOR_FIXED, rig_step_int_handler);
	rig_apic_write(APIC_ICR, APIC_DEST_SELF | VECTOR_FIXED);
	r->delivered = vector_pending(VECTOR_FIXED);
	if (r->delivered) {
		rig_idt_load(idt);
		asm volatile("sti; nop; nop; cli" ::: "memory");
		rig_idt_unload(idt);
		rig_apic_write(APIC_EOI, 0);
	}
	return 0;
}

/* SDM vol. 3, "Enabling or Disabling the Local APIC", "x2APIC State Transitions" */
static void apic_disabled_and_enabled(struct kunit *test)
{
	unsigned long end = jiffies + 5 * HZ;
	struct apic_run r = {};

	if (!boot_cpu_has(X86_FEATURE_APIC))
		kunit_skip(test, "no APIC");
	for (;;) {
		KUNIT_ASSERT_EQ(test, stop_machine(apic_off_and_on, &r, cpumask_of(cpu)), 0);
		if (!r.busy || time_after(jiffies, end))
			break;
		usleep_range(100, 200);
	}
	KUNIT_ASSERT_FALSE_MSG(test, r.busy, "interrupts or characters on their way, all the time");

	KUNIT_EXPECT_EQ_MSG(test, r.off & BASE_MODE, 0, "mode of the disabled APIC");
	KUNIT_EXPECT_FALSE_MSG(test, r.off_cpuid, "the disabled APIC is in CPUID");
	KUNIT_EXPECT_EQ_MSG(test, r.on & BASE_MODE, MSR_IA32_APICBASE_ENABLE,
			    "mode of the enabled APIC");
	KUNIT_EXPECT_TRUE_MSG(test, r.on_cpuid, "the enabled APIC is in CPUID");
	if (!(r.base & X2APIC_ENABLE)) {
		KUNIT_EXPECT_EQ_MSG(test, r.spurious, 0xff, "SVR as after reset");
		KUNIT_EXPECT_EQ_MSG(test, r.lvtpc, APIC_LVT_MASKED, "LVTPC as after reset");
		KUNIT_EXPECT_EQ_MSG(test, r.lost, 0, "interrupts of before");
	}
	if (r.x2apic) {
		KUNIT_EXPECT_NE_MSG(test, r.skip_xapic, 0, "from disabled to x2APIC: #GP");
		KUNIT_EXPECT_EQ_MSG(test, r.x2apic_on & BASE_MODE, BASE_MODE, "x2APIC mode");
		KUNIT_EXPECT_EQ_MSG(test, r.x2apic_read, 0, "RDMSR 802H");
		KUNIT_EXPECT_EQ_MSG(test, r.x2apic_id, cpu_data(cpu).topo.apicid, "x2APIC ID");
		KUNIT_EXPECT_NE_MSG(test, r.back_to_xapic, 0, "from x2APIC to xAPIC: #GP");
	}
	KUNIT_EXPECT_EQ(test, r.restored, r.base);
	KUNIT_EXPECT_TRUE_MSG(test, r.delivered, "an interrupt comes afterwards");
	/* The timer, too. */
	msleep(20);
}

/* ---- machine checks ---- */

/* SDM vol. 3, "Machine-Check Architecture"; APM vol. 2, "Machine Check Architecture", PPR */
static void machine_check_registers(struct kunit *test)
{
	bool amd = boot_cpu_data.x86_vendor == X86_VENDOR_AMD;
	u64 cap, val, old;
	u32 i, banks;

	if (!boot_cpu_has(X86_FEATURE_MCE) || !boot_cpu_has(X86_FEATURE_MCA))
		kunit_skip(test, "no machine check architecture");

	KUNIT_ASSERT_EQ(test, rdmsrl_safe(MSR_IA32_MCG_CAP, &cap), 0);
	banks = cap & MCG_BANKCNT_MASK;
	KUNIT_EXPECT_GE_MSG(test, banks, 1, "banks");
	KUNIT_EXPECT_LE_MSG(test, banks, 32, "banks");
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_IA32_MCG_CAP, cap), 0, "MCG_CAP is read-only");
	KUNIT_EXPECT_EQ_MSG(test, !rdmsrl_safe(MSR_IA32_MCG_CTL, &val), !!(cap & MCG_CTL_P),
			    "MCG_CTL is there as MCG_CAP says");

	KUNIT_EXPECT_EQ(test, rdmsrl_safe(MSR_IA32_MCG_STATUS, &old), 0);
	KUNIT_EXPECT_EQ_MSG(test, wrmsrl_safe(MSR_IA32_MCG_STATUS, MCG_STATUS_RIPV), 0, "RIPV");
	KUNIT_EXPECT_EQ(test, rdmsrl_safe(MSR_IA32_MCG_STATUS, &val), 0);
	KUNIT_EXPECT_EQ_MSG(test, val, MCG_STATUS_RIPV, "MCG_STATUS keeps what is written");
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_IA32_MCG_STATUS, BIT_ULL(63)), 0,
			    "reserved bits of MCG_STATUS");
	wrmsrl_safe(MSR_IA32_MCG_STATUS, old);

	for (i = 0; i < banks; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(MSR_IA32_MCx_CTL(i), &val), 0, "MC%u_CTL", i);
		KUNIT_EXPECT_EQ_MSG(test, wrmsrl_safe(MSR_IA32_MCx_CTL(i), val), 0, "MC%u_CTL", i);
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(MSR_IA32_MCx_STATUS(i), &val), 0,
				    "MC%u_STATUS", i);
		KUNIT_EXPECT_EQ_MSG(test, val & MCI_STATUS_VAL, 0, "MC%u_STATUS tells of an error", i);
		KUNIT_EXPECT_EQ_MSG(test, wrmsrl_safe(MSR_IA32_MCx_STATUS(i), 0), 0,
				    "MC%u_STATUS can be cleared", i);
	}
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_IA32_MCx_STATUS(0), 1), 0,
			    "only 0 can be written to MC0_STATUS");
	KUNIT_EXPECT_NE_MSG(test, rdmsrl_safe(MSR_IA32_MCx_CTL(banks), &val), 0,
			    "a bank beyond the last");

	if (!amd || !(cpuid_ebx(0x80000007) & BIT(3)))
		return;
	for (i = 0; i < banks; i++) {
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(MSR_AMD64_SMCA_MCx_IPID(i), &val), 0,
				    "MCA_IPID of bank %u", i);
		KUNIT_EXPECT_TRUE_MSG(test, i || (val >> 32 & 0xfff) == 0xb0,
				      "bank 0 is the core's: %#llx", val);
		KUNIT_EXPECT_EQ_MSG(test, rdmsrl_safe(MSR_AMD64_SMCA_MCx_CONFIG(i), &old), 0,
				    "MCA_CONFIG of bank %u", i);
		KUNIT_EXPECT_EQ_MSG(test, old & 1, !!val, "McaX of bank %u", i);
	}
	KUNIT_EXPECT_NE_MSG(test, rdmsrl_safe(MSR_AMD64_SMCA_MCx_IPID(banks), &val), 0,
			    "a bank beyond the last");
}

/* ---- SGX ---- */

/* What an instruction raised, or -1 */
#define TRAP_OF(_opcode, _leaf)						\
({									\
	long _ret = (_leaf);						\
									\
	asm volatile("1: .byte " _opcode "\n\t"				\
		     "mov $-1, %%eax\n\t"				\
		     "2:\n\t"						\
		     _ASM_EXTABLE_FAULT(1b, 2b)				\
		     : "+a" (_ret) : "b" (0), "c" (0), "d" (0) : "memory"); \
	(int)_ret;							\
})

#define ENCLS	"0x0f, 0x01, 0xcf"
#define ENCLU	"0x0f, 0x01, 0xd7"

/* SDM vol. 3D, "Enclave Access and Data Structures" ff., vol. 4 for the registers */
static void sgx(struct kunit *test)
{
	const struct rig_machine *m = rig_find_machine(machine);
	bool there = cpuid_ebx(7) & BIT(2), launch = cpuid_ecx(7) & BIT(30), enabled;
	u32 eax, ebx, ecx, edx, xfrm;
	u64 feat = 0, val;
	int i, err;

	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		kunit_skip(test, "Intel's");
	if (!IS_ERR_OR_NULL(m))
		KUNIT_EXPECT_EQ_MSG(test, there, m->sgx && !strstr(without, "sgx"), "CPUID.07H:EBX[2]");
	KUNIT_ASSERT_EQ(test, rdmsrl_safe(MSR_IA32_FEAT_CTL, &feat), 0);
	KUNIT_EXPECT_NE_MSG(test, feat & FEAT_CTL_LOCKED, 0, "the firmware has locked it");
	KUNIT_EXPECT_NE_MSG(test, wrmsrl_safe(MSR_IA32_FEAT_CTL, feat), 0, "it is locked");
	if (!there) {
		KUNIT_EXPECT_FALSE_MSG(test, launch, "launch control");
		KUNIT_EXPECT_EQ_MSG(test, feat & (FEAT_CTL_SGX_LC_ENABLED | FEAT_CTL_SGX_ENABLED), 0,
				    "IA32_FEATURE_CONTROL");
		KUNIT_EXPECT_EQ_MSG(test, TRAP_OF(ENCLS, 0), X86_TRAP_UD, "ENCLS");
		KUNIT_EXPECT_EQ_MSG(test, TRAP_OF(ENCLU, 0), X86_TRAP_UD, "ENCLU");
		return;
	}
	if (!IS_ERR_OR_NULL(m))
		KUNIT_EXPECT_EQ_MSG(test, !!(feat & FEAT_CTL_SGX_ENABLED), m->sgx_enabled,
				    "IA32_FEATURE_CONTROL.SGX_ENABLE");

	cpuid_count(0x12, 0, &eax, &ebx, &ecx, &edx);
	kunit_info(test, "CPUID.12H.0: %08x %08x %08x %08x\n", eax, ebx, ecx, edx);
	KUNIT_EXPECT_NE_MSG(test, eax & BIT(0), 0, "SGX1");
	KUNIT_EXPECT_GE_MSG(test, edx >> 8 & 0xff, edx & 0xff, "largest enclave in 64-bit mode");
	/* what an enclave may have in XCR0: not more than there is, at least x87 and SSE */
	cpuid_count(0x12, 1, &eax, &ebx, &xfrm, &edx);
	KUNIT_EXPECT_EQ_MSG(test, xfrm & ~cpuid_eax(0xd), 0, "XFRM");
	KUNIT_EXPECT_EQ_MSG(test, xfrm & 3, 3, "XFRM");

	enabled = feat & FEAT_CTL_SGX_ENABLED;
	if (!enabled)
		KUNIT_EXPECT_EQ_MSG(test, TRAP_OF(ENCLS, 0), X86_TRAP_GP, "ENCLS that is not enabled");
	KUNIT_EXPECT_EQ_MSG(test, TRAP_OF(ENCLS, 0x7fffffff), X86_TRAP_GP, "ENCLS without such a leaf");
	KUNIT_EXPECT_EQ_MSG(test, TRAP_OF(ENCLU, 0), X86_TRAP_UD, "ENCLU at CPL 0");

	for (i = 0; i < 4; i++) {
		err = rdmsrl_safe(MSR_IA32_SGXLEPUBKEYHASH0 + i, &val);
		KUNIT_EXPECT_EQ_MSG(test, !err, launch, "RDMSR IA32_SGXLEPUBKEYHASH%d", i);
		if (err)
			continue;
		err = wrmsrl_safe(MSR_IA32_SGXLEPUBKEYHASH0 + i, val);
		KUNIT_EXPECT_EQ_MSG(test, !err, !!(feat & FEAT_CTL_SGX_LC_ENABLED),
				    "WRMSR IA32_SGXLEPUBKEYHASH%d", i);
	}
}

/* ---- the suite ---- */

static int rig_cpu_init(struct kunit *test)
{
	KUNIT_ASSERT_EQ_MSG(test, pin(), 0, "CPU %u is not there", cpu);
	return 0;
}

static struct kunit_case rig_cpu_cases[] = {
	KUNIT_CASE(syscall_that_masks_tf),
	KUNIT_CASE(syscall_that_keeps_tf),
	KUNIT_CASE(sysret_that_sets_tf),
	KUNIT_CASE(sysret_without_tf),
	KUNIT_CASE(sysenter_keeps_tf),
	KUNIT_CASE(int_n_and_iret),
	KUNIT_CASE(machine_check_registers),
	KUNIT_CASE(sgx),
	/* last: where it fails, the timer's interrupt is gone */
	KUNIT_CASE(apic_disabled_and_enabled),
	{}
};

static struct kunit_suite rig_cpu_suite = {
	.name = "rig_cpu",
	.init = rig_cpu_init,
	.test_cases = rig_cpu_cases,
};

kunit_test_suite(rig_cpu_suite);

MODULE_DESCRIPTION("Tests of the emulated machine's processor besides its PMU");
MODULE_LICENSE("GPL");
