// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the rules that say what a guest may touch without a VM-exit.
 */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/module.h>

#include "passthrough_policy.h"

/* Bits of Intel's GLOBAL_CTRL and GLOBAL_STATUS that are not a counter's. */
#define METRICS		BIT_ULL(48)
#define TRACE		BIT_ULL(55)
#define FREEZE		(BIT_ULL(58) | BIT_ULL(59))
#define SGX		BIT_ULL(60)
#define VERSION_2	(BIT_ULL(62) | BIT_ULL(63))

/* Hosts. */
static const struct kvm_passthrough_model skylake = {
	.version = 4, .nr_gp = 4, .fixed = 0x7, .width_gp = 48, .width_fixed = 48,
	.status_extra = VERSION_2, .clear_extra = VERSION_2 | FREEZE,
};

static const struct kvm_passthrough_model icelake = {
	.version = 5, .nr_gp = 8, .fixed = 0xf, .width_gp = 48, .width_fixed = 48,
	.has_metrics = true, .ctrl_extra = METRICS, .ctrl_harmless = METRICS,
	.status_extra = VERSION_2, .clear_extra = VERSION_2 | FREEZE | METRICS,
};

/* A guest of version 2, with three fixed counters at most. */
static struct kvm_passthrough_model v2_of(const struct kvm_passthrough_model *host)
{
	struct kvm_passthrough_model guest = *host;

	guest.version = 2;
	guest.fixed &= 0x7;
	guest.has_metrics = false;
	guest.ctrl_extra = 0;
	guest.status_extra = VERSION_2;
	guest.clear_extra = VERSION_2;
	return guest;
}

static const struct kvm_passthrough_model zen4 = {
	.version = 2, .nr_gp = 6, .width_gp = 48,
};

static const struct kvm_passthrough_switches intel = {
	.owns_pmu = true, .has_full_width = true, .nr_legacy = 8,
};

static const struct kvm_passthrough_switches amd = {
	.owns_pmu = true, .has_full_width = true, .nr_legacy = 4,
};

static void expect(struct kunit *test, struct kvm_passthrough_policy got,
		   struct kvm_passthrough_policy want)
{
	KUNIT_EXPECT_EQ(test, got.gp_legacy, want.gp_legacy);
	KUNIT_EXPECT_EQ(test, got.gp_full, want.gp_full);
	KUNIT_EXPECT_EQ(test, got.fixed, want.fixed);
	KUNIT_EXPECT_EQ(test, got.metrics, want.metrics);
	KUNIT_EXPECT_EQ(test, got.rdpmc, want.rdpmc);
	KUNIT_EXPECT_EQ(test, got.global_ctrl, want.global_ctrl);
	KUNIT_EXPECT_EQ(test, got.status, want.status);
	KUNIT_EXPECT_EQ(test, got.status_clear, want.status_clear);
	KUNIT_EXPECT_EQ(test, got.ctrl_taken, want.ctrl_taken);
	KUNIT_EXPECT_EQ(test, got.clear_taken, want.clear_taken);
	KUNIT_EXPECT_EQ(test, got.metrics_read, want.metrics_read);
}

static void nothing_without_pmu(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = v2_of(&skylake);

	guest.version = 0;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {});

	guest.version = 2;
	switches.owns_pmu = false;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {});
}

static void everything_if_guest_has_all_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = v2_of(&skylake);

	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
			.rdpmc = true, .global_ctrl = true, .status = true,
			.status_clear = true, .clear_taken = FREEZE,
	       });
}

/*
 * The fourth fixed counter is the host's alone.  RDPMC and the globals would show it to
 * the guest.
 */
static void host_counter_beyond_guest_model(struct kunit *test)
{
	struct kvm_passthrough_model guest = v2_of(&icelake);

	expect(test, kvm_passthrough_policy(&icelake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xff, .gp_full = 0xff, .fixed = 0x7,
	       });
}

static void guest_with_fewer_gp_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = v2_of(&skylake);
	u8 nr;

	for (nr = 0; nr < skylake.nr_gp; nr++) {
		guest.nr_gp = nr;
		expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
		       (struct kvm_passthrough_policy) {
				.gp_legacy = (1u << nr) - 1,
				.gp_full = (1u << nr) - 1,
				.fixed = 0x7,
		       });
	}
}

/* Can't come from KVM, which caps the guest's model.  Still not a way out. */
static void guest_with_more_counters_than_host(struct kunit *test)
{
	struct kvm_passthrough_model guest = v2_of(&skylake);

	guest.nr_gp = 32;
	guest.fixed = 0xffff;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
	       });
}

static void full_width_alias(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = v2_of(&skylake);

	switches.has_full_width = false;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .fixed = 0x7,
			.rdpmc = true, .global_ctrl = true, .status = true,
			.status_clear = true, .clear_taken = FREEZE,
	       });
}

static void vmware_backdoor(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = v2_of(&skylake);

	switches.rdpmc_backdoor = true;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
			.global_ctrl = true, .status = true, .status_clear = true,
			.clear_taken = FREEZE,
	       });
}

/*
 * Zen has counters for its L3 and its data fabric behind those of the core.
 * They are never a guest's, whatever else the guest has.
 */
static void rdpmc_reads_other_pmus(struct kunit *test)
{
	struct kvm_passthrough_switches switches = amd;

	switches.rdpmc_beyond_core = true;
	expect(test, kvm_passthrough_policy(&zen4, &zen4, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0x3f, .global_ctrl = true, .status = true,
			.status_clear = true,
	       });
}

static void narrow_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = v2_of(&skylake);

	guest.width_gp = 40;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.fixed = 0x7, .global_ctrl = true, .status = true,
			.status_clear = true, .clear_taken = FREEZE,
	       });

	guest.width_gp = 48;
	guest.width_fixed = 32;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .global_ctrl = true,
			.status = true, .status_clear = true, .clear_taken = FREEZE,
	       });
}

static void version_1_has_no_globals(struct kunit *test)
{
	/* Of an Intel host, such a guest gets no fixed counters ... */
	struct kvm_passthrough_model guest = {
		.version = 1, .nr_gp = 4, .width_gp = 48,
	};

	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf,
	       });

	/* ... while it may have all counters of an AMD host. */
	guest.nr_gp = 6;
	expect(test, kvm_passthrough_policy(&zen4, &guest, &amd),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0x3f, .rdpmc = true,
	       });
}

static void legacy_alias_of_the_first_four(struct kunit *test)
{
	struct kvm_passthrough_switches switches = amd;

	expect(test, kvm_passthrough_policy(&zen4, &zen4, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0x3f, .rdpmc = true,
			.global_ctrl = true, .status = true, .status_clear = true,
	       });

	switches.has_full_width = false;
	expect(test, kvm_passthrough_policy(&zen4, &zen4, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .rdpmc = true,
			.global_ctrl = true, .status = true, .status_clear = true,
	       });
}

/* An overflow of which the status bit tells nothing, as it was set already. */
static void overflow_shows_in_counter(struct kunit *test)
{
	const u64 mask = (1ULL << 48) - 1;

	KUNIT_EXPECT_FALSE(test, kvm_passthrough_wrapped(0, 0, mask));
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_wrapped(0, 1000, mask));
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_wrapped(mask - 1, mask, mask));
	KUNIT_EXPECT_TRUE(test, kvm_passthrough_wrapped(mask, 0, mask));
	KUNIT_EXPECT_TRUE(test, kvm_passthrough_wrapped(mask - 100, 3, mask));
	/* Hardware holds more bits than the guest's counter has. */
	KUNIT_EXPECT_TRUE(test, kvm_passthrough_wrapped(0xfffffff0, 5ULL << 32 | 1, 0xffffffff));
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_wrapped(7, 5ULL << 32 | 8, 0xffffffff));
}

/* A guest that has what the host has. */
static void the_full_model(struct kunit *test)
{
	expect(test, kvm_passthrough_policy(&icelake, &icelake, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xff, .gp_full = 0xff, .fixed = 0xf, .metrics = true,
			.rdpmc = true, .global_ctrl = true, .status = true,
			.status_clear = true,
	       });
}

/*
 * All counters, but no PERF_METRICS: most guests, as QEMU hides it by default.  Also of
 * an earlier version.  A bit that is harmless on this host need not be known to it.
 */
static void metrics_close_nothing(struct kunit *test)
{
	struct kvm_passthrough_model host = icelake, guest = icelake;
	struct kvm_passthrough_policy want = {
		.gp_legacy = 0xff, .gp_full = 0xff, .fixed = 0xf,
		.rdpmc = true, .global_ctrl = true, .status = true, .status_clear = true,
		.ctrl_taken = METRICS, .clear_taken = METRICS, .metrics_read = true,
	};

	guest.has_metrics = false;
	guest.ctrl_extra = 0;
	guest.clear_extra &= ~METRICS;
	expect(test, kvm_passthrough_policy(&icelake, &guest, &intel), want);

	guest = v2_of(&icelake);
	guest.fixed = icelake.fixed;
	want.clear_taken = METRICS | FREEZE;
	expect(test, kvm_passthrough_policy(&icelake, &guest, &intel), want);

	/* Any other bit that differs closes GLOBAL_CTRL, ... */
	host.ctrl_extra |= TRACE;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).global_ctrl);

	/* ... and so does one that the guest has and the host has not. */
	guest = icelake;
	host = icelake;
	host.ctrl_extra = 0;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).global_ctrl);

	/* Can't come from KVM: the guest would read what is not there. */
	host.has_metrics = false;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).rdpmc);
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).metrics);
}

/* From version 5 on, any set of fixed counters. */
static void sparse_fixed_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = icelake;

	guest.fixed = 0xb;
	expect(test, kvm_passthrough_policy(&icelake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xff, .gp_full = 0xff, .fixed = 0xb, .metrics = true,
	       });
}

/* The host traces by Intel PT, or has SGX: bits that version 2 doesn't know. */
static void foreign_status_bits(struct kunit *test)
{
	static const u64 foreign[] = { TRACE, SGX, TRACE | SGX };
	struct kvm_passthrough_model guest = v2_of(&skylake);
	struct kvm_passthrough_policy policy;
	int i;

	for (i = 0; i < ARRAY_SIZE(foreign); i++) {
		struct kvm_passthrough_model host = skylake;

		host.status_extra |= foreign[i];
		host.clear_extra |= foreign[i];
		host.clear_foreign = foreign[i] & TRACE;
		policy = kvm_passthrough_policy(&host, &guest, &intel);
		KUNIT_EXPECT_TRUE(test, policy.global_ctrl);
		KUNIT_EXPECT_FALSE(test, policy.status);
		KUNIT_EXPECT_EQ(test, policy.status_clear, !(foreign[i] & TRACE));
		/* For a while: what KVM makes of a write must not depend on it. */
		KUNIT_EXPECT_EQ(test, policy.clear_taken, FREEZE | foreign[i]);

		/* Not foreign if the guest has the feature. */
		guest.status_extra |= foreign[i];
		policy = kvm_passthrough_policy(&host, &guest, &intel);
		KUNIT_EXPECT_TRUE(test, policy.status);
		guest = v2_of(&skylake);
	}
}

/*
 * What the guest's register takes must be taken, and what somebody else waits for
 * must not be cleared.  Whatever else hardware takes does no harm.
 */
static void what_clears_the_status(struct kunit *test)
{
	struct kvm_passthrough_model host = skylake, guest = v2_of(&skylake);

	KUNIT_EXPECT_TRUE(test, kvm_passthrough_policy(&host, &guest, &intel).status_clear);

	/* A write that the guest's register takes would fault. */
	host.clear_extra = FREEZE;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).status_clear);

	/* The host traces by Intel PT ... */
	host.clear_extra = skylake.clear_extra | TRACE | SGX;
	host.clear_foreign = TRACE;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).status_clear);

	/* ... or the guest does, which then has the bit. */
	guest.clear_extra |= TRACE;
	KUNIT_EXPECT_TRUE(test, kvm_passthrough_policy(&host, &guest, &intel).status_clear);

	/* Counters are the guest's or not, as ever. */
	guest.nr_gp--;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &intel).status_clear);
}

/*
 * The four legacy counters, without a full-width alias.  The host has two more,
 * which neither RDPMC nor the bits of the globals may show.
 */
static void amd_guest_without_core_extension(struct kunit *test)
{
	struct kvm_passthrough_switches switches = amd;
	struct kvm_passthrough_model guest = zen4;

	switches.has_full_width = false;
	guest.version = 1;
	guest.nr_gp = 4;
	expect(test, kvm_passthrough_policy(&zen4, &guest, &switches),
	       (struct kvm_passthrough_policy) { .gp_legacy = 0xf });

	/* Such a guest of version 2 is odd, but user space may describe it. */
	guest.version = 2;
	expect(test, kvm_passthrough_policy(&zen4, &guest, &switches),
	       (struct kvm_passthrough_policy) { .gp_legacy = 0xf });

	guest.nr_gp = 2;
	expect(test, kvm_passthrough_policy(&zen4, &guest, &switches),
	       (struct kvm_passthrough_policy) { .gp_legacy = 0x3 });
}

/* PerfMonV2 allows for 15 counters, KVM models 6. */
static void amd_guests_on_host_with_more_counters(struct kunit *test)
{
	struct kvm_passthrough_model host = zen4;
	u8 version;

	host.nr_gp = 15;
	for (version = 1; version <= 2; version++) {
		struct kvm_passthrough_model guest = zen4;

		guest.version = version;
		expect(test, kvm_passthrough_policy(&host, &guest, &amd),
		       (struct kvm_passthrough_policy) {
				.gp_legacy = 0xf, .gp_full = 0x3f,
		       });
	}
}

/* LbrAndPmcFreeze closes nothing, whether or not the guest has it. */
static void amd_guest_that_freezes(struct kunit *test)
{
	struct kvm_passthrough_model host = zen4, guest = zen4;
	struct kvm_passthrough_policy policy;

	host.clear_extra = FREEZE;
	policy = kvm_passthrough_policy(&host, &guest, &amd);
	KUNIT_EXPECT_TRUE(test, policy.status);
	KUNIT_EXPECT_TRUE(test, policy.status_clear);
	KUNIT_EXPECT_EQ(test, policy.clear_taken, FREEZE);

	guest.status_extra = FREEZE;
	guest.clear_extra = FREEZE;
	policy = kvm_passthrough_policy(&host, &guest, &amd);
	KUNIT_EXPECT_TRUE(test, policy.status);
	KUNIT_EXPECT_TRUE(test, policy.status_clear);
	KUNIT_EXPECT_EQ(test, policy.clear_taken, 0);

	/* The guest could not thaw. */
	host.clear_extra = 0;
	KUNIT_EXPECT_FALSE(test, kvm_passthrough_policy(&host, &guest, &amd).status_clear);
}

static struct kunit_case passthrough_policy_cases[] = {
	KUNIT_CASE(overflow_shows_in_counter),
	KUNIT_CASE(nothing_without_pmu),
	KUNIT_CASE(everything_if_guest_has_all_counters),
	KUNIT_CASE(host_counter_beyond_guest_model),
	KUNIT_CASE(guest_with_fewer_gp_counters),
	KUNIT_CASE(guest_with_more_counters_than_host),
	KUNIT_CASE(full_width_alias),
	KUNIT_CASE(vmware_backdoor),
	KUNIT_CASE(rdpmc_reads_other_pmus),
	KUNIT_CASE(narrow_counters),
	KUNIT_CASE(version_1_has_no_globals),
	KUNIT_CASE(legacy_alias_of_the_first_four),
	KUNIT_CASE(the_full_model),
	KUNIT_CASE(metrics_close_nothing),
	KUNIT_CASE(sparse_fixed_counters),
	KUNIT_CASE(foreign_status_bits),
	KUNIT_CASE(what_clears_the_status),
	KUNIT_CASE(amd_guest_without_core_extension),
	KUNIT_CASE(amd_guests_on_host_with_more_counters),
	KUNIT_CASE(amd_guest_that_freezes),
	{}
};

static struct kunit_suite passthrough_policy_suite = {
	.name = "kvm_passthrough_policy",
	.test_cases = passthrough_policy_cases,
};

kunit_test_suite(passthrough_policy_suite);

MODULE_DESCRIPTION("KUnit tests of KVM's passthrough vPMU policy");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
