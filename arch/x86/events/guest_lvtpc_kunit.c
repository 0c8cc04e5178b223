// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of who gets the interrupts of counters
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/perf_guest.h>

#include <asm/apic.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>
#include <asm/nmi.h>

#include "perf_event.h"

/* What was written to LVTPC, and whether that was a guest's then */
static struct {
	u32	value;
	bool	loaded;
} writes[4];

static int nr_writes;
static int nr_repeats;
static int nr_told;

static void note_write(u32 value)
{
	if (nr_writes < ARRAY_SIZE(writes)) {
		writes[nr_writes].value = value;
		writes[nr_writes].loaded = x86_guest_lvtpc_loaded();
	}
	nr_writes++;
}

static void note_repeat(void)
{
	/* The handler must be able to do its work. */
	if (!x86_guest_lvtpc_loaded())
		nr_repeats++;
}

static void note_told(void)
{
	nr_told++;
}

static bool yes(void)
{
	return true;
}

static bool no(void)
{
	return false;
}

/*
 * Watch what is done to LVTPC and NMIs, instead of doing it, on a host that traces
 * or not, and whose buffer is full or not.
 */
static void fake_host(struct kunit *test, bool (*traces)(void), bool (*full)(void))
{
	kunit_activate_static_stub(test, x86_write_lvtpc, note_write);
	kunit_activate_static_stub(test, x86_repeat_host_pmi, note_repeat);
	kunit_activate_static_stub(test, x86_host_traces, *traces);
	kunit_activate_static_stub(test, x86_trace_is_full, *full);
	kunit_activate_static_stub(test, x86_branch_trace_is_full, no);
	kunit_activate_static_stub(test, x86_tell_hypervisor, note_told);
}

/* Returns whether LVTPC is a guest's at the end. */
static bool load_and_put(u32 guest_lvtpc)
{
	unsigned long flags;
	bool loaded;

	local_irq_save(flags);
	perf_load_guest_lvtpc(guest_lvtpc);
	perf_put_guest_lvtpc();
	loaded = x86_guest_lvtpc_loaded();
	local_irq_restore(flags);

	return loaded;
}

/*
 * The guest's mask bit is all that gets through: with another delivery mode or
 * vector the guest would interrupt the host by something else.
 */
static void guest_controls_nothing_but_mask(struct kunit *test)
{
	fake_host(test, no, no);

	load_and_put(APIC_DM_NMI | 0xff);
	load_and_put(~0);

	KUNIT_ASSERT_EQ(test, nr_writes, 4);
	KUNIT_EXPECT_EQ(test, writes[0].value, APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR);
	KUNIT_EXPECT_EQ(test, writes[1].value, APIC_DM_NMI);
	KUNIT_EXPECT_EQ(test, writes[2].value,
			APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR | APIC_LVT_MASKED);
	KUNIT_EXPECT_EQ(test, writes[3].value, APIC_DM_NMI);
}

/* A guest that keeps the PMU masks and unmasks its PMIs meanwhile. */
static void kept_lvtpc_follows_mask(struct kunit *test)
{
	unsigned long flags;

	fake_host(test, no, no);

	local_irq_save(flags);
	perf_load_guest_lvtpc(APIC_LVT_MASKED);
	perf_update_guest_lvtpc(APIC_DM_NMI | 0xff);
	perf_update_guest_lvtpc(~0);
	perf_put_guest_lvtpc();
	local_irq_restore(flags);

	KUNIT_ASSERT_EQ(test, nr_writes, 4);
	KUNIT_EXPECT_EQ(test, writes[1].value, APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR);
	KUNIT_EXPECT_TRUE(test, writes[1].loaded);
	KUNIT_EXPECT_EQ(test, writes[2].value,
			APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR | APIC_LVT_MASKED);
	KUNIT_EXPECT_EQ(test, writes[3].value, APIC_DM_NMI);
}

/* An NMI at any point in between finds that LVTPC is none of its business. */
static void host_handler_is_kept_out_first(struct kunit *test)
{
	fake_host(test, no, no);

	KUNIT_EXPECT_FALSE(test, load_and_put(0));

	KUNIT_ASSERT_EQ(test, nr_writes, 2);
	KUNIT_EXPECT_TRUE(test, writes[0].loaded);
	KUNIT_EXPECT_TRUE(test, writes[1].loaded);
}

/* A guest that wants no interrupts must not keep the host's from it. */
static void mask_is_ignored_while_host_traces(struct kunit *test)
{
	fake_host(test, yes, no);

	load_and_put(~0);

	KUNIT_ASSERT_EQ(test, nr_writes, 2);
	KUNIT_EXPECT_EQ(test, writes[0].value, APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR);
	KUNIT_EXPECT_EQ(test, writes[1].value, APIC_DM_NMI);
}

static void missed_host_pmi_is_repeated(struct kunit *test)
{
	fake_host(test, yes, no);
	load_and_put(0);
	KUNIT_EXPECT_EQ(test, nr_repeats, 0);

	fake_host(test, yes, yes);
	load_and_put(0);
	KUNIT_EXPECT_EQ(test, nr_repeats, 1);
}

/*
 * As long as nobody traces, the bit in the status is dangling, and the NMI would
 * find no taker.
 */
static void host_pmi_without_trace_is_dropped(struct kunit *test)
{
	fake_host(test, no, yes);
	load_and_put(0);
	KUNIT_EXPECT_EQ(test, nr_repeats, 0);
}

/*
 * The branch trace store has no status to dangle, and no need to end guest mode: it
 * doesn't trace there.
 */
static void missed_branch_trace_pmi_is_repeated(struct kunit *test)
{
	fake_host(test, no, no);
	kunit_activate_static_stub(test, x86_branch_trace_is_full, yes);
	load_and_put(~0);
	KUNIT_EXPECT_EQ(test, nr_repeats, 1);
	KUNIT_ASSERT_EQ(test, nr_writes, 2);
	KUNIT_EXPECT_EQ(test, writes[0].value,
			APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR | APIC_LVT_MASKED);

	/* NMIs are not for two reasons. */
	fake_host(test, yes, yes);
	kunit_activate_static_stub(test, x86_branch_trace_is_full, yes);
	load_and_put(0);
	KUNIT_EXPECT_EQ(test, nr_repeats, 2);
}

/* The handler, in the context that an interrupt has */
static void handle_guest_pmi(void)
{
	unsigned long flags;

	local_irq_save(flags);
	x86_handle_guest_pmi();
	local_irq_restore(flags);
}

/*
 * What was the host's is repeated for the host, and must not interrupt the guest as
 * well.  What comes next is the guest's again.
 */
static void host_pmi_is_not_passed_on(struct kunit *test)
{
	fake_host(test, yes, no);
	load_and_put(0);
	handle_guest_pmi();
	KUNIT_EXPECT_EQ_MSG(test, nr_told, 1, "the guest's, while the host traces");

	fake_host(test, yes, yes);
	load_and_put(0);
	handle_guest_pmi();
	KUNIT_EXPECT_EQ_MSG(test, nr_told, 1, "the host's, of PT");

	fake_host(test, no, no);
	load_and_put(0);
	handle_guest_pmi();
	KUNIT_EXPECT_EQ_MSG(test, nr_told, 2, "the guest's, while the host doesn't trace");

	kunit_activate_static_stub(test, x86_branch_trace_is_full, yes);
	load_and_put(0);
	handle_guest_pmi();
	KUNIT_EXPECT_EQ_MSG(test, nr_told, 2, "the host's, of the branch trace store");
}

/* NMIs on the CPU of the test, all of them claimed */
static int nr_nmis;

static int claim_nmi(unsigned int cmd, struct pt_regs *regs)
{
	nr_nmis++;
	return NMI_HANDLED;
}

static void unregister_claim(void *unused)
{
	unregister_nmi_handler(NMI_LOCAL, "guest_lvtpc_kunit");
}

static void claim_nmis(struct kunit *test)
{
	nr_nmis = 0;
	KUNIT_ASSERT_EQ(test, register_nmi_handler(NMI_LOCAL, claim_nmi, 0, "guest_lvtpc_kunit"),
			0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unregister_claim, NULL), 0);
}

static void release_event(void *event)
{
	perf_event_release_kernel(event);
}

/*
 * An NMI that has nothing to do with counters must leave them alone while they
 * are a guest's, although the host has an event that would otherwise be the
 * handler's reason to look.
 */
static void unrelated_nmi_leaves_guest_alone(struct kunit *test)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_HARDWARE,
		.config		= PERF_COUNT_HW_INSTRUCTIONS,
		.size		= sizeof(attr),
		.exclude_guest	= 1,
	};
	struct x86_pmu_capability cap;
	struct perf_event *event;
	u64 ctrl[2] = { ~0, ~0 };
	unsigned long flags;
	u32 lvtpc[3];
	int nmis;

	perf_get_x86_pmu_capability(&cap);
	if (!cap.passthrough || boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		kunit_skip(test, "no PMU with IA32_PERF_GLOBAL_CTRL that can be lent");

	/* The test stays on this CPU, see guest_lvtpc_test_init(). */
	event = perf_event_create_kernel_counter(&attr, raw_smp_processor_id(), NULL, NULL,
						 NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, event);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, event), 0);
	claim_nmis(test);

	local_irq_save(flags);
	perf_guest_enter();
	perf_load_guest_lvtpc(0);
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, 0);

	lvtpc[0] = apic->read(APIC_LVTPC);
	apic->send_IPI(smp_processor_id(), NMI_VECTOR);
	/* Sending to oneself takes a moment. */
	for (nmis = 0; nmis < 1000000 && !READ_ONCE(nr_nmis); nmis++)
		cpu_relax();
	lvtpc[1] = apic->read(APIC_LVTPC);
	rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, ctrl[0]);

	perf_put_guest_lvtpc();
	perf_guest_exit();
	lvtpc[2] = apic->read(APIC_LVTPC);
	rdmsrl(MSR_CORE_PERF_GLOBAL_CTRL, ctrl[1]);
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, nr_nmis, 1);
	KUNIT_EXPECT_EQ(test, lvtpc[0], APIC_DM_FIXED | PERF_GUEST_PMI_VECTOR);
	KUNIT_EXPECT_EQ(test, lvtpc[1], lvtpc[0]);
	KUNIT_EXPECT_EQ(test, lvtpc[2], APIC_DM_NMI);
	KUNIT_EXPECT_EQ(test, ctrl[0], 0);
	KUNIT_EXPECT_NE(test, ctrl[1], 0);
}

/* An event of the host that runs on this CPU until the test is over. */
static struct perf_event *new_running_event(struct kunit *test, struct perf_event_attr *attr)
{
	struct x86_pmu_capability cap;
	struct perf_event *event;

	perf_get_x86_pmu_capability(&cap);
	if (!cap.passthrough)
		kunit_skip(test, "no PMU that can be lent");

	event = perf_event_create_kernel_counter(attr, raw_smp_processor_id(), NULL, NULL,
						 NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, event);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, event), 0);
	KUNIT_ASSERT_EQ(test, event->state, PERF_EVENT_STATE_ACTIVE);
	return event;
}

/*
 * An event that is stopped, as by throttling, loses its counter to a guest as well: what
 * it holds is neither lost nor taken for the event's afterwards, and the event
 * goes on where it was.
 */
static void stopped_event_survives_guest(struct kunit *test)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_HARDWARE,
		.config		= PERF_COUNT_HW_INSTRUCTIONS,
		.size		= sizeof(attr),
		.sample_period	= 1ULL << 40,
		.pinned		= 1,
		.exclude_guest	= 1,
	};
	struct perf_event *event;
	u64 count[2], counter[2];
	unsigned long flags;
	s64 left;

	event = new_running_event(test, &attr);

	local_irq_save(flags);
	perf_pmu_disable(event->pmu);
	/* What a PMI does, before it is throttled: the counter has its next period. */
	event->pmu->stop(event, PERF_EF_UPDATE);
	event->pmu->start(event, PERF_EF_RELOAD);
	event->pmu->stop(event, 0);
	perf_pmu_enable(event->pmu);
	rdpmcl(event->hw.event_base_rdpmc, counter[0]);
	count[0] = local64_read(&event->count);
	left = local64_read(&event->hw.period_left);

	perf_guest_enter();
	wrmsrl(event->hw.event_base, 0);
	perf_guest_exit();

	event->pmu->read(event);
	count[1] = local64_read(&event->count);
	perf_pmu_disable(event->pmu);
	event->pmu->start(event, 0);
	rdpmcl(event->hw.event_base_rdpmc, counter[1]);
	perf_pmu_enable(event->pmu);
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, count[1], count[0]);
	KUNIT_EXPECT_EQ(test, counter[1], counter[0]);
	KUNIT_EXPECT_EQ(test, local64_read(&event->hw.period_left), left);
}

/* What an event's counters are for a hypervisor */
static void counters_of_events(struct kunit *test)
{
	static const struct {
		int	idx;
		int	flags;
		u64	counters;
	} events[] = {
		{ .idx = 0, .counters = BIT_ULL(0) },
		{ .idx = 5, .counters = BIT_ULL(5) },
		{ .idx = INTEL_PMC_IDX_FIXED + 1, .counters = BIT_ULL(33) },
		/* An event that is too wide for one counter: the next one is merged. */
		{ .idx = 2, .flags = PERF_X86_EVENT_PAIR, .counters = BIT_ULL(2) | BIT_ULL(3) },
		/* Metrics of top-down analysis go by the counter of slots. */
		{ .idx = INTEL_PMC_IDX_FIXED_SLOTS, .counters = BIT_ULL(35) },
		{ .idx = INTEL_PMC_IDX_METRIC_BASE, .counters = BIT_ULL(35) },
		{ .idx = INTEL_PMC_IDX_TD_BE_BOUND, .counters = BIT_ULL(35) },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		struct hw_perf_event hw = { .idx = events[i].idx, .flags = events[i].flags };

		KUNIT_EXPECT_EQ_MSG(test, x86_event_counters(&hw), events[i].counters,
				    "event %d", i);
	}
}

/*
 * Old counts of the host are cleared before somebody may read them, but not where a guest
 * has left a value instead.
 */
static void left_values_are_not_cleared(struct kunit *test)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_HARDWARE,
		.config		= PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
		.size		= sizeof(attr),
		.pinned		= 1,
		.exclude_guest	= 1,
	};
	struct perf_event *event;
	unsigned long flags, msr;
	u64 used, value[2];
	int idx, rdpmc;

	event = new_running_event(test, &attr);
	local_irq_save(flags);
	perf_guest_enter();
	used = perf_guest_host_counters();
	perf_guest_exit();
	idx = event->hw.idx;
	msr = event->hw.event_base;
	rdpmc = event->hw.event_base_rdpmc;
	local_irq_restore(flags);
	/* Leaves its count behind. */
	kunit_release_action(test, release_event, event);

	local_irq_save(flags);
	perf_guest_enter();
	wrmsrl(msr, 0x123);
	perf_guest_leave(BIT_ULL(idx));
	perf_guest_exit();
	perf_clear_dirty_counters();
	rdpmcl(rdpmc, value[0]);
	perf_guest_leave(0);
	local_irq_restore(flags);

	event = perf_event_create_kernel_counter(&attr, raw_smp_processor_id(), NULL, NULL,
						 NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, event);
	msr = event->hw.event_base;
	rdpmc = event->hw.event_base_rdpmc;
	perf_event_release_kernel(event);
	local_irq_save(flags);
	wrmsrl(msr, 0x123);
	perf_clear_dirty_counters();
	rdpmcl(rdpmc, value[1]);
	local_irq_restore(flags);

	KUNIT_EXPECT_TRUE(test, used & BIT_ULL(idx));
	KUNIT_EXPECT_EQ(test, value[0], 0x123);
	KUNIT_EXPECT_EQ(test, value[1], 0);
}

/* What was found at one hand-over has nothing to do with a PMI long after it. */
static void repeated_host_pmi_is_forgotten(struct kunit *test)
{
	unsigned long flags;

	fake_host(test, yes, yes);
	load_and_put(0);

	local_irq_save(flags);
	perf_load_guest_lvtpc(0);
	x86_handle_guest_pmi();
	perf_put_guest_lvtpc();
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, nr_told, 1);
}

static int guest_lvtpc_test_init(struct kunit *test)
{
	int cpu = get_cpu();

	put_cpu();
	nr_writes = 0;
	nr_repeats = 0;
	nr_told = 0;

	return set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

static struct kunit_case guest_lvtpc_test_cases[] = {
	KUNIT_CASE(guest_controls_nothing_but_mask),
	KUNIT_CASE(kept_lvtpc_follows_mask),
	KUNIT_CASE(host_handler_is_kept_out_first),
	KUNIT_CASE(mask_is_ignored_while_host_traces),
	KUNIT_CASE(missed_host_pmi_is_repeated),
	KUNIT_CASE(host_pmi_without_trace_is_dropped),
	KUNIT_CASE(missed_branch_trace_pmi_is_repeated),
	KUNIT_CASE(host_pmi_is_not_passed_on),
	KUNIT_CASE(unrelated_nmi_leaves_guest_alone),
	KUNIT_CASE(stopped_event_survives_guest),
	KUNIT_CASE(counters_of_events),
	KUNIT_CASE(left_values_are_not_cleared),
	KUNIT_CASE(repeated_host_pmi_is_forgotten),
	{ }
};

static struct kunit_suite guest_lvtpc_test_suite = {
	.name = "perf_guest_lvtpc",
	.init = guest_lvtpc_test_init,
	.test_cases = guest_lvtpc_test_cases,
};

kunit_test_suite(guest_lvtpc_test_suite);

MODULE_DESCRIPTION("KUnit tests of who gets the interrupts of counters");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
