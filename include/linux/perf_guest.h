/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PERF_GUEST_H
#define _LINUX_PERF_GUEST_H

#include <linux/errno.h>
#include <linux/types.h>

struct mm_struct;

/*
 * Lending hardware PMUs to virtual machines, for passthrough vPMUs.
 *
 * A PMU that perf is able to lend has PERF_PMU_CAP_PASSTHROUGH_VPMU set. On
 * each CPU such PMUs have exactly one owner at any time: the host, unless a
 * hypervisor has called perf_guest_enter() there and not yet
 * perf_guest_exit(). Where no event of the host wants the PMU, the guest may own
 * it beyond guest mode, until perf recalls it.
 *
 * A hypervisor has obligations at two levels:
 *
 *  - From perf_get_passthrough_pmu() to perf_put_passthrough_pmu() a VM keeps
 *    events away that would count its guest on a flagged PMU. Its vCPUs must only
 *    run in tasks with the address space that it gave.
 *  - perf_guest_enter() and perf_guest_exit() enclose each time that guest
 *    state is in the PMU of a CPU, with interrupts off from one to the other,
 *    unless perf_guest_enter() says that they may be on. What may stay there
 *    beyond is the values of counters that no event of the host uses, see
 *    perf_guest_leave().
 */

/* Room for what perf_get_passthrough_pmu() has to tell */
#define PERF_GUEST_BLOCKER_SIZE	128

#ifdef CONFIG_PERF_GUEST_PASSTHROUGH_PMU
int perf_get_passthrough_pmu(struct mm_struct *mm, char *blocker, size_t size);
void perf_put_passthrough_pmu(struct mm_struct *mm);
bool perf_passthrough_pmu_in_use(void);
bool perf_guest_enter(void);
void perf_guest_exit(void);
u64 perf_guest_host_counters(void);
void perf_guest_use_counters(u64 counters);
void perf_guest_leave(u64 counters);
u64 perf_guest_left(void);
#else
static inline int perf_get_passthrough_pmu(struct mm_struct *mm, char *blocker, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void perf_put_passthrough_pmu(struct mm_struct *mm) { }
static inline bool perf_passthrough_pmu_in_use(void)	{ return false; }
static inline bool perf_guest_enter(void)		{ return false; }
static inline void perf_guest_exit(void)		{ }
static inline u64 perf_guest_host_counters(void)	{ return 0; }
static inline void perf_guest_use_counters(u64 counters)	{ }
static inline void perf_guest_leave(u64 counters)	{ }
static inline u64 perf_guest_left(void)			{ return 0; }
#endif

#endif /* _LINUX_PERF_GUEST_H */
