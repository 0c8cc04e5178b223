// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the rules that say what a guest may touch without a VM-exit.
 */
#include <kunit/test.h>
#include <linux/module.h>

#include "passthrough_policy.h"

/* Hosts.  KVM models 8 general purpose and 3 fixed counters for Intel's PMUs. */
static const struct kvm_passthrough_model skylake = {
	.version = 4, .nr_gp = 4, .nr_fixed = 3, .width_gp = 48, .width_fixed = 48,
};

static const struct kvm_passthrough_model icelake = {
	.version = 5, .nr_gp = 8, .nr_fixed = 4, .width_gp = 48, .width_fixed = 48,
};

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
	KUNIT_EXPECT_EQ(test, got.rdpmc, want.rdpmc);
	KUNIT_EXPECT_EQ(test, got.globals, want.globals);
}

static void nothing_without_pmu(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = skylake;

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
	struct kvm_passthrough_model guest = skylake;

	guest.version = 2;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
			.rdpmc = true, .globals = true,
	       });
}

/*
 * On Ice Lake and later, the fourth fixed counter is the host's alone.  A check
 * against what KVM models would wrongly find the guest's PMU complete.
 */
static void host_counter_beyond_kvm_model(struct kunit *test)
{
	struct kvm_passthrough_model guest = icelake;

	guest.version = 2;
	guest.nr_fixed = 3;
	expect(test, kvm_passthrough_policy(&icelake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xff, .gp_full = 0xff, .fixed = 0x7,
	       });
}

static void guest_with_fewer_gp_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = skylake;
	u8 nr;

	guest.version = 2;
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
	struct kvm_passthrough_model guest = skylake;

	guest.version = 2;
	guest.nr_gp = 32;
	guest.nr_fixed = 16;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
	       });
}

static void full_width_alias(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = skylake;

	guest.version = 2;
	switches.has_full_width = false;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .fixed = 0x7,
			.rdpmc = true, .globals = true,
	       });
}

static void vmware_backdoor(struct kunit *test)
{
	struct kvm_passthrough_switches switches = intel;
	struct kvm_passthrough_model guest = skylake;

	guest.version = 2;
	switches.rdpmc_backdoor = true;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .fixed = 0x7,
			.globals = true,
	       });
}

static void narrow_counters(struct kunit *test)
{
	struct kvm_passthrough_model guest = skylake;

	guest.version = 2;
	guest.width_gp = 40;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.fixed = 0x7, .globals = true,
	       });

	guest.width_gp = 48;
	guest.width_fixed = 32;
	expect(test, kvm_passthrough_policy(&skylake, &guest, &intel),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .gp_full = 0xf, .globals = true,
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
			.gp_legacy = 0xf, .gp_full = 0x3f,
			.rdpmc = true, .globals = true,
	       });

	switches.has_full_width = false;
	expect(test, kvm_passthrough_policy(&zen4, &zen4, &switches),
	       (struct kvm_passthrough_policy) {
			.gp_legacy = 0xf, .rdpmc = true, .globals = true,
	       });
}

static struct kunit_case passthrough_policy_cases[] = {
	KUNIT_CASE(nothing_without_pmu),
	KUNIT_CASE(everything_if_guest_has_all_counters),
	KUNIT_CASE(host_counter_beyond_kvm_model),
	KUNIT_CASE(guest_with_fewer_gp_counters),
	KUNIT_CASE(guest_with_more_counters_than_host),
	KUNIT_CASE(full_width_alias),
	KUNIT_CASE(vmware_backdoor),
	KUNIT_CASE(narrow_counters),
	KUNIT_CASE(version_1_has_no_globals),
	KUNIT_CASE(legacy_alias_of_the_first_four),
	{}
};

static struct kunit_suite passthrough_policy_suite = {
	.name = "kvm_passthrough_policy",
	.test_cases = passthrough_policy_cases,
};

kunit_test_suite(passthrough_policy_suite);

MODULE_DESCRIPTION("KUnit tests of KVM's passthrough vPMU policy");
MODULE_LICENSE("GPL");
