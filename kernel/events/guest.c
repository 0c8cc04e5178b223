// SPDX-License-Identifier: GPL-2.0
/*
 * Lending hardware PMUs to virtual machines
 *
 * A PMU with PERF_PMU_CAP_PASSTHROUGH_VPMU ("flagged") can be handed to a guest
 * as a whole. This file does the two things that perf core has to do for that:
 * it keeps apart VMs that want the PMU and events that want to count the guest,
 * and it takes the host's events off the PMU and puts them back.
 */

#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/nmi.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <linux/perf_guest.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "internal.h"

/*
 * The caller's calls do not match. A function of its own, so that
 * tests can take its place.
 */
VISIBLE_IF_KUNIT void perf_guest_unbalanced(const char *func)
{
	KUNIT_STATIC_STUB_REDIRECT(perf_guest_unbalanced, func);
	WARN_ONCE(1, "perf: unbalanced %s()\n", func);
}
EXPORT_SYMBOL_IF_KUNIT(perf_guest_unbalanced);

/*
 * Exclusion of VMs and events
 *
 * While a guest owns a PMU, the guest can't be counted for the host. So there may
 * either be VMs with a passthrough vPMU, or events that are to count guests on a
 * flagged PMU, and whoever comes second is refused: predictably, because this
 * depends neither on the CPU nor on what runs there.
 *
 * VMs are counted, events are on a list: whoever turns a VM away should be able
 * to say because of which event. Only opening and closing an event takes the
 * lock, scheduling it does not.
 */
static DEFINE_SPINLOCK(exclusion_lock);
static unsigned int nr_passthrough_vms;
static LIST_HEAD(include_guest_events);

/*
 * For whom does @event count guests? The words fit into a sentence. An event
 * belongs to the task that has opened it, no matter which task it counts or who
 * else has its file open.
 */
static void whose_event(struct perf_event *event, char *buf, size_t size)
{
	struct task_struct *owner;

	guard(rcu)();

	if (hardlockup_detector_owns_event(event)) {
		scnprintf(buf, size,
			  "the NMI watchdog (sysctl kernel.nmi_watchdog=0 turns it off)");
		return;
	}

	/*
	 * Read once: an event that is just being created gets its owner meanwhile.
	 * See perf_remove_from_owner() for when it loses it. Whoever still has the
	 * file open then is not known.
	 */
	owner = READ_ONCE(event->owner);
	if (owner == TASK_TOMBSTONE)
		scnprintf(buf, size, "the kernel (%ps)", event->overflow_handler);
	else if (owner)
		scnprintf(buf, size, "task \"%s\" (pid %d)", owner->comm, task_pid_nr(owner));
	else
		scnprintf(buf, size, "a task that has exited or called exec()");
}

/**
 * perf_get_passthrough_pmu - announce a VM that will own PMUs while it runs
 * @blocker: on -EBUSY gets to know for whom guests are counted, in words for
 *	the log; may be NULL
 * @size: size of @blocker, PERF_GUEST_BLOCKER_SIZE is enough
 *
 * A hypervisor calls this once per VM, before the first perf_guest_enter() for
 * one of its vCPUs. Until perf_put_passthrough_pmu(), perf_event_open() and
 * perf_event_create_kernel_counter() fail with -EOPNOTSUPP for events that
 * would count guests on a flagged PMU.
 *
 * An event keeps VMs out from its creation until it is freed, whether it is
 * enabled or not. If there are several, @blocker is about the oldest one.
 *
 * Context: Process context.
 * Return: 0, or -EBUSY while such an event exists.
 */
int perf_get_passthrough_pmu(char *blocker, size_t size)
{
	struct perf_event *event;

	spin_lock(&exclusion_lock);

	event = list_first_entry_or_null(&include_guest_events, struct perf_event,
					 include_guest_entry);
	if (!event)
		WRITE_ONCE(nr_passthrough_vms, nr_passthrough_vms + 1);
	else if (blocker)
		whose_event(event, blocker, size);

	spin_unlock(&exclusion_lock);

	return event ? -EBUSY : 0;
}
EXPORT_SYMBOL_GPL(perf_get_passthrough_pmu);

/**
 * perf_put_passthrough_pmu - undo one successful perf_get_passthrough_pmu()
 *
 * Context: Process context, on any CPU. No vCPU of the VM may be between
 * perf_guest_enter() and perf_guest_exit().
 */
void perf_put_passthrough_pmu(void)
{
	bool balanced;

	spin_lock(&exclusion_lock);
	balanced = nr_passthrough_vms;
	if (balanced)
		WRITE_ONCE(nr_passthrough_vms, nr_passthrough_vms - 1);
	spin_unlock(&exclusion_lock);

	if (!balanced)
		perf_guest_unbalanced(__func__);
}
EXPORT_SYMBOL_GPL(perf_put_passthrough_pmu);

/**
 * perf_passthrough_pmu_in_use - are there VMs with a passthrough vPMU?
 *
 * For those whose event was refused and who want to say why. The answer may be
 * outdated as soon as it is given.
 *
 * Context: Any.
 * Return: true between perf_get_passthrough_pmu() and perf_put_passthrough_pmu().
 */
bool perf_passthrough_pmu_in_use(void)
{
	return READ_ONCE(nr_passthrough_vms);
}
EXPORT_SYMBOL_GPL(perf_passthrough_pmu_in_use);

/*
 * The host sees nothing of a guest that owns the PMU, be the event restricted
 * to one task, to user mode, or to guests. An inherited event needs no entry of
 * its own, nor could it be refused: its parent has one and outlives it.
 */
static bool counts_guest(struct perf_event *event)
{
	return !event->parent && !event->attr.exclude_guest &&
	       (event->pmu->capabilities & PERF_PMU_CAP_PASSTHROUGH_VPMU);
}

/**
 * perf_guest_account_event - take a new event into account
 * @event: event with its final attributes and PMU
 *
 * For perf_event_alloc(), as the last step that can fail.
 *
 * Context: Process context.
 * Return: 0, or -EOPNOTSUPP if @event would count guests while there are VMs
 * with a passthrough vPMU. User space is meant to see that value: perf takes it
 * for a hint to retry with exclude_guest.
 */
int perf_guest_account_event(struct perf_event *event)
{
	int err = 0;

	INIT_LIST_HEAD(&event->include_guest_entry);

	if (!counts_guest(event))
		return 0;

	spin_lock(&exclusion_lock);
	if (nr_passthrough_vms)
		err = -EOPNOTSUPP;
	else
		list_add_tail(&event->include_guest_entry, &include_guest_events);
	spin_unlock(&exclusion_lock);

	return err;
}

/**
 * perf_guest_unaccount_event - undo a successful perf_guest_account_event()
 * @event: event that is not scheduled any more
 *
 * What was accounted is on the list, so nothing depends on what has become of
 * the attributes or the PMU of @event.
 *
 * Context: Process context.
 */
void perf_guest_unaccount_event(struct perf_event *event)
{
	if (list_empty(&event->include_guest_entry))
		return;

	spin_lock(&exclusion_lock);
	list_del_init(&event->include_guest_entry);
	spin_unlock(&exclusion_lock);
}

/*
 * Ownership
 *
 * Only flagged PMUs change hands. That neither changes ctx->is_active nor
 * cpuctx->task_ctx: for the contexts time goes on, and events of other PMUs
 * keep running. Only the two functions below depend on the owner, and interrupts
 * must be off for as long as the guest is the owner: all other scheduling of
 * events happens in interrupts, in IPIs, and in context switches. core.c
 * refuses nevertheless to schedule events of PMUs that belong to a guest, and
 * perf_guest_exit() makes up for it.
 */
DEFINE_PER_CPU(enum perf_pmu_owner, perf_pmu_owner);

static void flagged_pmus_disable(struct perf_cpu_context *cpuctx,
				 struct perf_event_context *task_ctx)
{
	perf_step_disable(&cpuctx->ctx, EVENT_GUEST);
	if (task_ctx)
		perf_step_disable(task_ctx, EVENT_GUEST);
}

static void flagged_pmus_enable(struct perf_cpu_context *cpuctx,
				struct perf_event_context *task_ctx)
{
	if (task_ctx)
		perf_step_enable(task_ctx, EVENT_GUEST);
	perf_step_enable(&cpuctx->ctx, EVENT_GUEST);
}

/* Only groups that are scheduled otherwise come back. */
static void flagged_pmus_sched_in(struct perf_event_context *ctx, enum event_type_t group)
{
	if (ctx && (ctx->is_active & group))
		perf_step_sched_in(ctx, group | EVENT_GUEST);
}

#ifdef CONFIG_CGROUP_PERF
static struct perf_cgroup *cpu_cgroup(struct perf_cpu_context *cpuctx)
{
	return cpuctx->cgrp;
}

static void cgroup_host_clocks(struct perf_cgroup *cgrp, bool stopped)
{
	struct cgroup_subsys_state *css;

	/* Events of all ancestors count while a task of @cgrp runs. */
	for (css = cgrp ? &cgrp->css : NULL; css; css = css->parent) {
		cgrp = container_of(css, struct perf_cgroup, css);
		perf_host_clock_set_stopped(&this_cpu_ptr(cgrp->info)->host_clock, stopped);
	}
}
#else
static struct perf_cgroup *cpu_cgroup(struct perf_cpu_context *cpuctx)
{
	return NULL;
}

static void cgroup_host_clocks(struct perf_cgroup *cgrp, bool stopped)
{
}
#endif

/*
 * Bring all clocks that run on this CPU up to the present, then stop or start
 * those of the host. A context without events that could run has no
 * time either; one that has such events and no time is broken.
 */
static void host_clocks(struct perf_cpu_context *cpuctx,
			struct perf_event_context *task_ctx, bool stopped)
{
	struct perf_event_context *ctxs[] = { &cpuctx->ctx, task_ctx };
	int i;

	for (i = 0; i < ARRAY_SIZE(ctxs) && ctxs[i]; i++) {
		WARN_ON_ONCE((ctxs[i]->is_active & EVENT_ALL) &&
			     !(ctxs[i]->is_active & EVENT_TIME));
		perf_step_update_time(cpuctx, ctxs[i]);
		perf_host_clock_set_stopped(&ctxs[i]->host_clock, stopped);
	}

	cgroup_host_clocks(cpu_cgroup(cpuctx), stopped);
}

/**
 * perf_guest_enter - hand the flagged PMUs of this CPU over to a guest
 *
 * Takes all events of flagged PMUs off this CPU, those of the CPU as well as
 * those of the current task, and stops the time of events with exclude_guest.
 *
 * On return no event of the host is in the PMU: no counter is enabled, and
 * control registers of which the driver keeps a copy agree with it (on Intel
 * CPUs FIXED_CTR_CTRL, which is zero). Other registers have any value. From
 * here on the hypervisor may use the PMU. It hands it to perf_guest_exit() in
 * the same state, having removed what the host must not see of the guest.
 *
 * The PMU as such is left enabled if there were events, as this is what makes
 * the driver write what it has a copy of. To stop it globally is the
 * hypervisor's first step, which needs no undoing: the driver enables the PMU
 * when it next schedules an event.
 *
 * Context: Interrupts off, and kept off until perf_guest_exit() on this CPU.
 * Takes the locks of the perf contexts. NMIs may come in at any time, the
 * architecture has to keep its PMI handler out.
 */
void perf_guest_enter(void)
{
	struct perf_cpu_context *cpuctx = this_cpu_ptr(&perf_cpu_context);
	struct perf_event_context *task_ctx = cpuctx->task_ctx;
	struct perf_cgroup *cgrp;

	lockdep_assert_irqs_disabled();

	if (__this_cpu_read(perf_pmu_owner) != PERF_PMU_OWNER_HOST) {
		perf_guest_unbalanced(__func__);
		return;
	}

	perf_step_lock(cpuctx, task_ctx);

	/* A PMU can have events in both contexts: disable both before anything else. */
	flagged_pmus_disable(cpuctx, task_ctx);

	cgrp = cpu_cgroup(cpuctx);
	host_clocks(cpuctx, task_ctx, true);

	perf_step_sched_out(&cpuctx->ctx, EVENT_ALL | EVENT_GUEST);
	if (task_ctx)
		perf_step_sched_out(task_ctx, EVENT_ALL | EVENT_GUEST);

	/*
	 * An event that an NMI wanted to have disabled is disabled when it is
	 * scheduled out. If it was the last event of cgroups, this CPU has lost
	 * sight of the cgroup now, and so would have perf_guest_exit().
	 */
	if (cgrp != cpu_cgroup(cpuctx))
		cgroup_host_clocks(cgrp, false);

	flagged_pmus_enable(cpuctx, task_ctx);

	__this_cpu_write(perf_pmu_owner, PERF_PMU_OWNER_GUEST);

	perf_step_unlock(cpuctx, task_ctx);
}
EXPORT_SYMBOL_GPL(perf_guest_enter);

/**
 * perf_guest_exit - take the flagged PMUs of this CPU back from a guest
 *
 * Puts back what perf_guest_enter() took off, and lets the time of events with
 * exclude_guest go on. See there for the state in which the hypervisor returns
 * the PMU.
 *
 * Context: Interrupts off since perf_guest_enter() on this CPU. Takes the locks
 * of the perf contexts.
 */
void perf_guest_exit(void)
{
	struct perf_cpu_context *cpuctx = this_cpu_ptr(&perf_cpu_context);
	struct perf_event_context *task_ctx = cpuctx->task_ctx;

	lockdep_assert_irqs_disabled();

	if (__this_cpu_read(perf_pmu_owner) != PERF_PMU_OWNER_GUEST) {
		perf_guest_unbalanced(__func__);
		return;
	}

	perf_step_lock(cpuctx, task_ctx);

	flagged_pmus_disable(cpuctx, task_ctx);

	/* Events come back with the time at which the guest ended. */
	host_clocks(cpuctx, task_ctx, false);

	/* In the order of priority, see ctx_resched(). */
	flagged_pmus_sched_in(&cpuctx->ctx, EVENT_PINNED);
	flagged_pmus_sched_in(task_ctx, EVENT_PINNED);
	flagged_pmus_sched_in(&cpuctx->ctx, EVENT_FLEXIBLE);
	flagged_pmus_sched_in(task_ctx, EVENT_FLEXIBLE);

	flagged_pmus_enable(cpuctx, task_ctx);

	__this_cpu_write(perf_pmu_owner, PERF_PMU_OWNER_HOST);

	perf_step_unlock(cpuctx, task_ctx);
}
EXPORT_SYMBOL_GPL(perf_guest_exit);
