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
#include <linux/container_of.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/nmi.h>
#include <linux/once_lite.h>
#include <linux/percpu.h>
#include <linux/perf_event.h>
#include <linux/perf_guest.h>
#include <linux/printk.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "internal.h"

#if IS_ENABLED(CONFIG_KUNIT)
DEFINE_PER_CPU(struct perf_guest_stubs, perf_guest_stubs);
EXPORT_PER_CPU_SYMBOL_GPL(perf_guest_stubs);
/* With preemption on, some callers don't care which CPU it is: only tests' CPUs have any. */
#define perf_guest_stub(name)	raw_cpu_read(perf_guest_stubs.name)
#else
#define perf_guest_stub(name)	((typeof_member(struct perf_guest_stubs, name))NULL)
#endif

/* The caller's calls do not match. */
static void perf_guest_unbalanced(const char *func)
{
	typeof_member(struct perf_guest_stubs, unbalanced) stub = perf_guest_stub(unbalanced);

	if (stub)
		stub(func);
	else
		WARN_ONCE(1, "perf: unbalanced %s()\n", func);
}

/*
 * Exclusion of VMs and events
 *
 * While a guest owns a PMU, the guest can't be counted for the host. An event and
 * a VM exclude each other if the event would count inside that VM's guest, and
 * whoever comes second is refused: predictably, because this depends neither on
 * the CPU nor on what runs there.
 *
 * A vCPU runs in no other process than the one that has created its VM, hence
 * an event is in a VM's way
 *
 *  - if it counts whatever runs on a CPU, or whatever a cgroup runs;
 *  - if it counts a task that shares the VM's address space. Kernel threads that
 *    borrow it (PF_KTHREAD) run no vCPU.
 *
 * That an event counts a task has two faces. Most events are bound to a task by
 * perf_event_open(), which is for good (hw.target), and are on the list below.
 * Inherited events are on no list, and the event that they come from may be bound
 * to a task elsewhere, or to one that is gone. But they are in the context of the
 * task that they count, and each context knows how many of its events would count
 * guests. So a VM is
 *
 *  1. compared with the list, and made known under the same lock. From here on
 *     new events are refused, inherited ones can only come from a task that has
 *     some already, and a task that shares the address space can only be created
 *     by another one that does;
 *  2. compared with the contexts of all tasks that share its address space. With
 *     the task list locked none is created. One that is being created is not on
 *     that list yet, but the task that creates it is, and that has the events
 *     that the new one has inherited.
 *
 * The NMI watchdog is asked to step aside: it works as well without counting
 * guests, see reconfigure_watchdog().
 *
 * A task changes its address space by exec() alone, and then has a new one, which
 * no VM has been created in.
 */
static DEFINE_SPINLOCK(exclusion_lock);
static LIST_HEAD(include_guest_events);
static LIST_HEAD(passthrough_processes);

/* A process with VMs that own PMUs while they run */
struct passthrough_process {
	struct list_head	entry;
	struct mm_struct	*mm;
	unsigned int		nr_vms;
	pid_t			pid;
	char			comm[TASK_COMM_LEN];
};

/* Does @task run in @mm, and could it run a vCPU? */
VISIBLE_IF_KUNIT bool perf_guest_task_uses_mm(struct task_struct *task, struct mm_struct *mm)
{
	KUNIT_STATIC_STUB_REDIRECT(perf_guest_task_uses_mm, task, mm);
	return READ_ONCE(task->mm) == mm && !(task->flags & PF_KTHREAD);
}
EXPORT_SYMBOL_IF_KUNIT(perf_guest_task_uses_mm);

/*
 * For whom does @event count? The words fit into a sentence. An event belongs to
 * the task that has opened it, no matter which task it counts or who else has its
 * file open.
 */
static int whose_event(struct perf_event *event, char *buf, size_t size)
{
	struct task_struct *owner;

	guard(rcu)();

	if (hardlockup_detector_owns_event(event))
		return scnprintf(buf, size,
				 "the NMI watchdog (sysctl kernel.nmi_watchdog=0 turns it off)");

	/*
	 * Read once: an event that is just being created gets its owner meanwhile.
	 * See perf_remove_from_owner() for when it loses it. Whoever still has the
	 * file open then is not known.
	 */
	owner = READ_ONCE(event->owner);
	if (owner == TASK_TOMBSTONE)
		return scnprintf(buf, size, "the kernel (%ps)", event->overflow_handler);
	if (owner)
		return scnprintf(buf, size, "task \"%s\" (pid %d)", owner->comm,
				 task_pid_nr(owner));
	return scnprintf(buf, size, "a task that has exited or called exec()");
}

/* An event that @task has inherited or opened, and which counts guests */
static void whose_event_of_task(struct task_struct *task, struct perf_event *event,
				char *buf, size_t size)
{
	int len = whose_event(event->parent ?: event, buf, size);

	scnprintf(buf + len, size - len, ", in task \"%s\" (pid %d)", task->comm,
		  task_pid_nr(task));
}

/* Would an event of @task's count guests? If so, @buf gets to know whose it is. */
static bool task_counts_guest(struct task_struct *task, char *buf, size_t size)
{
	struct perf_event_context *ctx;
	struct perf_event *event;
	unsigned long flags;
	bool counts;

	ctx = perf_lock_task_context(task, &flags);
	if (!ctx)
		return false;

	counts = ctx->nr_include_guest;
	if (counts && buf) {
		list_for_each_entry(event, &ctx->event_list, event_entry) {
			if (perf_event_includes_guest(event)) {
				whose_event_of_task(task, event, buf, size);
				break;
			}
		}
	}
	perf_unlock_task_context(ctx, flags);

	return counts;
}

/*
 * Does an event in the context of any task of @mm count guests?
 *
 * The threads of current are looked at first, and if they are all that has @mm,
 * which is the rule, nobody else is.
 */
static bool mm_counts_guest(struct mm_struct *mm, char *buf, size_t size)
{
	struct task_struct *process, *task;
	int users, nr = 0;
	bool counts = false;

	read_lock(&tasklist_lock);

	/* First, as those that were counted may exit, while nobody is added to the list. */
	users = mm ? atomic_read(&mm->mm_users) : INT_MAX;

	for_each_thread(current, task) {
		if (!perf_guest_task_uses_mm(task, mm))
			continue;
		counts = task_counts_guest(task, buf, size);
		if (counts)
			goto out;
		nr++;
	}
	if (users <= nr)
		goto out;

	for_each_process_thread(process, task) {
		counts = perf_guest_task_uses_mm(task, mm) && task_counts_guest(task, buf, size);
		if (counts)
			goto out;
	}
out:
	read_unlock(&tasklist_lock);
	return counts;
}

static struct passthrough_process *find_process(struct mm_struct *mm)
{
	struct passthrough_process *process;

	lockdep_assert_held(&exclusion_lock);

	list_for_each_entry(process, &passthrough_processes, entry) {
		if (process->mm == mm)
			return process;
	}
	return NULL;
}

/* Would @event, which counts guests, count in a task of @mm? */
static bool counts_mm(struct perf_event *event, struct mm_struct *mm)
{
	struct task_struct *target = event->hw.target;

	return !target || perf_guest_task_uses_mm(target, mm);
}

/* Does any event count guests of @mm? Events of the NMI watchdog are for later. */
static bool listed_event_counts(struct mm_struct *mm, char *buf, size_t size)
{
	struct perf_event *event;

	lockdep_assert_held(&exclusion_lock);

	list_for_each_entry(event, &include_guest_events, include_guest_entry) {
		if (!counts_mm(event, mm) || hardlockup_detector_owns_event(event))
			continue;
		if (buf)
			whose_event(event, buf, size);
		return true;
	}
	return false;
}

/* Step 1: refuse, or make the VM known. */
static int add_vm(struct mm_struct *mm, struct passthrough_process *new, char *buf, size_t size)
{
	struct passthrough_process *process;
	int r = 0;

	spin_lock(&exclusion_lock);
	if (listed_event_counts(mm, buf, size)) {
		r = -EBUSY;
	} else {
		process = find_process(mm);
		if (!process) {
			process = new;
			list_add_tail(&process->entry, &passthrough_processes);
		}
		process->nr_vms++;
	}
	spin_unlock(&exclusion_lock);

	return r;
}

/* Returns what is to be freed, or an error if there is no such VM. */
static struct passthrough_process *remove_vm(struct mm_struct *mm)
{
	struct passthrough_process *process;

	spin_lock(&exclusion_lock);
	process = find_process(mm);
	if (!process)
		process = ERR_PTR(-ENOENT);
	else if (--process->nr_vms)
		process = NULL;
	else
		list_del(&process->entry);
	spin_unlock(&exclusion_lock);

	return process;
}

static bool watchdog_counts_guests(void)
{
	struct perf_event *event;
	bool counts = false;

	spin_lock(&exclusion_lock);
	list_for_each_entry(event, &include_guest_events, include_guest_entry) {
		counts = hardlockup_detector_owns_event(event);
		if (counts)
			break;
	}
	spin_unlock(&exclusion_lock);

	return counts;
}

/*
 * Only one VM at a time comes, so that each finds the watchdog as it needs it.
 * Creating an event never takes this lock, which is outside of watchdog_mutex and
 * of the hotplug lock.
 */
static DEFINE_MUTEX(vms_mutex);

/*
 * Some time after the last VM, since the next one may come soon, and destroying a VM
 * should not wait for this.
 */
#define RESTORE_WATCHDOG_DELAY	(5 * HZ)

/* Having the watchdog reconfigured left CPUs unwatched. Under vms_mutex */
static bool watchdog_lost_cpus;

static void restore_watchdog(struct work_struct *work)
{
	bool excluded;

	guard(mutex)(&vms_mutex);

	if (perf_passthrough_pmu_in_use())
		return;

	hardlockup_detector_exclude_guests(false);
	excluded = hardlockup_detector_excludes_guests();
	if (!excluded && !watchdog_lost_cpus)
		return;

	lockup_detector_reconfigure();
	watchdog_lost_cpus = false;
	if (excluded && watchdog_counts_guests())
		pr_info("perf: the NMI watchdog counts guests again, no virtual machine owns the PMU\n");
}

static DECLARE_DELAYED_WORK(restore_watchdog_work, restore_watchdog);

/*
 * The NMI watchdog has events on all CPUs, which exist for good. While there are
 * VMs that own the PMU it creates them with exclude_guest, which is what it is told
 * to do anew. CPUs are not watched meanwhile.
 */
static int reconfigure_watchdog(char *buf, size_t size)
{
	unsigned int unwatched = hardlockup_detector_unwatched_cpus();

	lockdep_assert_held(&vms_mutex);

	hardlockup_detector_exclude_guests(true);
	if (!watchdog_counts_guests())
		return 0;

	lockup_detector_reconfigure();

	watchdog_lost_cpus = hardlockup_detector_unwatched_cpus() > unwatched;
	if (watchdog_counts_guests() || watchdog_lost_cpus) {
		if (buf)
			scnprintf(buf, size,
				  "the NMI watchdog (sysctl kernel.nmi_watchdog=0 turns it off)");
		return -EBUSY;
	}

	pr_info("perf: the NMI watchdog leaves guests out as long as virtual machines own the PMU\n");
	return 0;
}

/**
 * perf_get_passthrough_pmu - announce a VM that will own PMUs while it runs
 * @mm: the address space of all tasks that will ever run its vCPUs
 * @blocker: on -EBUSY gets to know for whom guests are counted, in words for
 *	the log; may be NULL
 * @size: size of @blocker, PERF_GUEST_BLOCKER_SIZE is enough
 *
 * A hypervisor calls this once per VM, before the first perf_guest_enter() for
 * one of its vCPUs. Until perf_put_passthrough_pmu(), perf_event_open() and
 * perf_event_create_kernel_counter() fail with -EOPNOTSUPP for events that
 * would count this VM's guest on a flagged PMU: those of CPUs and cgroups, and
 * those of tasks with this @mm. If the NMI watchdog counts guests, it is told to
 * leave them out, which may take some time.
 *
 * An event keeps VMs out from its creation until it is freed, whether it is
 * enabled or not. If there are several, @blocker is about one of them.
 *
 * Context: Process context, may sleep. @mm must not be freed until
 * perf_put_passthrough_pmu().
 * Return: 0, -EBUSY while such an event exists, or -ENOMEM.
 */
int perf_get_passthrough_pmu(struct mm_struct *mm, char *blocker, size_t size)
{
	struct passthrough_process *new;
	int r;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->mm = mm;
	new->pid = task_tgid_nr(current);
	get_task_comm(new->comm, current->group_leader);

	guard(mutex)(&vms_mutex);

	r = add_vm(mm, new, blocker, size);
	if (r || !new->nr_vms)
		kfree(new);
	if (r)
		return r;

	/* Step 2 */
	r = mm_counts_guest(mm, blocker, size) ? -EBUSY : reconfigure_watchdog(blocker, size);
	if (r)
		perf_put_passthrough_pmu(mm);
	/* Watch them again at once, unless there is another VM. */
	if (r && watchdog_lost_cpus)
		mod_delayed_work(system_wq, &restore_watchdog_work, 0);
	return r;
}
EXPORT_SYMBOL_GPL(perf_get_passthrough_pmu);

/**
 * perf_put_passthrough_pmu - undo one successful perf_get_passthrough_pmu()
 * @mm: what perf_get_passthrough_pmu() was given
 *
 * Context: Process context, on any CPU. No vCPU of the VM may be between
 * perf_guest_enter() and perf_guest_exit().
 */
void perf_put_passthrough_pmu(struct mm_struct *mm)
{
	struct passthrough_process *process = remove_vm(mm);

	if (IS_ERR(process)) {
		perf_guest_unbalanced(__func__);
		return;
	}

	if (!perf_passthrough_pmu_in_use())
		mod_delayed_work(system_wq, &restore_watchdog_work, RESTORE_WATCHDOG_DELAY);
	kfree(process);
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
	return !list_empty_careful(&passthrough_processes);
}
EXPORT_SYMBOL_GPL(perf_passthrough_pmu_in_use);

/* Which VMs would @event count? If there are several, those of one process. */
static struct passthrough_process *process_counted_by(struct perf_event *event)
{
	struct passthrough_process *process;

	lockdep_assert_held(&exclusion_lock);

	list_for_each_entry(process, &passthrough_processes, entry) {
		if (counts_mm(event, process->mm))
			return process;
	}
	return NULL;
}

/**
 * perf_guest_account_event - take a new event into account
 * @event: event with its final attributes and PMU
 *
 * For those that create events, once it is clear that the caller may have @event:
 * who may not, must neither keep VMs away nor learn of them. Freeing the event
 * undoes it. An inherited event needs no entry of its own, nor could it be refused:
 * the task that it is inherited from has such an event, and hence no VM.
 *
 * Context: Process context.
 * Return: 0, or -EOPNOTSUPP if @event would count the guest of a VM with a
 * passthrough vPMU. User space is meant to see that value: perf takes it for a
 * hint to retry with exclude_guest.
 */
int perf_guest_account_event(struct perf_event *event)
{
	struct passthrough_process *process;
	char comm[TASK_COMM_LEN];
	pid_t pid;

	if (event->parent || !perf_event_includes_guest(event))
		return 0;

	spin_lock(&exclusion_lock);
	process = process_counted_by(event);
	if (process) {
		pid = process->pid;
		strscpy(comm, process->comm);
	} else {
		list_add_tail(&event->include_guest_entry, &include_guest_events);
	}
	spin_unlock(&exclusion_lock);

	if (!process)
		return 0;

	/* Which tries again, as it should be by now. */
	if (hardlockup_detector_owns_event(event))
		return -EOPNOTSUPP;

	pr_info_ratelimited("perf: refused an event of \"%s\" (pid %d): it would count a guest of \"%s\" (pid %d) that owns the PMU; exclude_guest (perf: modifier H) makes it welcome\n",
			    current->comm, task_pid_nr(current), comm, pid);
	return -EOPNOTSUPP;
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
 * Both sides for the administrator: processes with VMs, and events that count guests,
 * whose opener may be another task than the one that they count. Inherited events are
 * not shown, the one that they come from is.
 */
static int perf_guest_exclusion_show(struct seq_file *m, void *unused)
{
	char whose[PERF_GUEST_BLOCKER_SIZE];
	struct passthrough_process *process;
	struct perf_event *event;

	spin_lock(&exclusion_lock);

	list_for_each_entry(process, &passthrough_processes, entry)
		seq_printf(m, "%u VMs of \"%s\" (pid %d)\n", process->nr_vms, process->comm,
			   process->pid);

	list_for_each_entry(event, &include_guest_events, include_guest_entry) {
		whose_event(event, whose, sizeof(whose));
		if (event->hw.target)
			seq_printf(m, "event of %s, counts task \"%s\" (pid %d)%s\n", whose,
				   event->hw.target->comm, task_pid_nr(event->hw.target),
				   event->attr.inherit ? " and its children" : "");
		else
			seq_printf(m, "event of %s, counts CPU %d\n", whose, event->cpu);
	}

	spin_unlock(&exclusion_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(perf_guest_exclusion);

static int __init perf_guest_debugfs_init(void)
{
	/* For root: it tells of other users' processes. */
	debugfs_create_file("perf_guest_exclusion", 0400, NULL, NULL,
			    &perf_guest_exclusion_fops);
	return 0;
}
late_initcall(perf_guest_debugfs_init);

/*
 * Ownership
 *
 * Only flagged PMUs change hands. Their events stay where they are: for a context
 * they are active all the while, time goes on, and the members of a group that
 * belong to other PMUs keep counting. The driver stops what counts and starts it
 * again, and for the events on its PMU the clock of the host stands still.
 *
 * If events of the host had to make way, interrupts must be off for as long as the
 * guest is the owner: all scheduling of events happens in interrupts, in IPIs, and in
 * context switches. core.c refuses nevertheless to schedule events of PMUs that
 * belong to a guest, and perf_guest_exit() makes up for it.
 *
 * If there were none, the hypervisor may keep the PMUs while its vCPU is loaded and
 * the host runs: nothing counts there, and nobody misses the PMU. As soon as
 * core.c is about to schedule an event with a flagged PMU, or one that traces
 * instructions, as those share the interrupt, it recalls all PMUs of this CPU.
 *
 * If there were some, the hypervisor gives the PMUs back, but may leave the guest's
 * values in counters that these events don't use. Nothing of the host looks at such
 * a counter, which is not enabled, as long as no other event is scheduled. So that is
 * recalled at the same point. Until then, events only start and stop where they are.
 *
 * While a PMU is lent, perf_guest_enter() holds one reference of its disable
 * count. So nothing that disables and enables the PMU meanwhile reaches the driver.
 *
 * If no event here is scheduled with a flagged PMU, the reference is all there is to
 * do, and it needs neither a lock nor the driver: then nothing counts, and what
 * the driver has copies of was written when the last event left. Contexts can be
 * looked at without their locks, since those of this CPU and of its current
 * task are changed by other CPUs only in one way: an event that is not enabled
 * may come or go, and that is nobody who would have to make way.
 */
DEFINE_PER_CPU(enum perf_pmu_owner, perf_pmu_owner);

/* Events were to be scheduled with a PMU that is lent. */
static DEFINE_PER_CPU(bool, events_wait);

/* Has the driver been told that the PMUs are lent, because there are events? */
static DEFINE_PER_CPU(bool, events_make_way);

/* Counters that events used when the PMUs were lent, and those with values of a guest */
static DEFINE_PER_CPU(u64, host_counters);
static DEFINE_PER_CPU(u64, left_counters);

/* PMUs that can be lent. Changed under pmus_lock, read under RCU */
static LIST_HEAD(flagged_pmus);

void perf_guest_add_pmu(struct pmu *pmu)
{
	if (pmu->capabilities & PERF_PMU_CAP_PASSTHROUGH_VPMU)
		list_add_tail_rcu(&pmu->flagged_entry, &flagged_pmus);
	else
		INIT_LIST_HEAD(&pmu->flagged_entry);
}

/* Waiting for a grace period is up to the caller. */
void perf_guest_remove_pmu(struct pmu *pmu)
{
	list_del_rcu(&pmu->flagged_entry);
}

#define for_each_flagged_pmu(pmu)						\
	list_for_each_entry_rcu(pmu, &flagged_pmus, flagged_entry, irqs_disabled())

static bool has_flagged_events(struct perf_cpu_context *cpuctx,
			       struct perf_event_context *task_ctx)
{
	return READ_ONCE(cpuctx->ctx.nr_flagged) ||
	       (task_ctx && READ_ONCE(task_ctx->nr_flagged));
}

/* Hold a reference on each flagged PMU of this CPU. */
static void hold_flagged_pmus(void)
{
	struct perf_cpu_pmu_context *cpc;
	struct pmu *pmu;

	for_each_flagged_pmu(pmu) {
		/* Not a PMU of this CPU, if there are several kinds of CPUs */
		if (pmu->filter && pmu->filter(pmu, smp_processor_id()))
			continue;

		cpc = this_cpu_ptr(pmu->cpu_pmu_context);
		cpc->lent = true;
		__this_cpu_inc(*pmu->pmu_disable_count);
	}
}

/* Have the driver do what up to now is only counted. */
static void disable_flagged_pmus(void)
{
	struct pmu *pmu;

	for_each_flagged_pmu(pmu) {
		if (this_cpu_ptr(pmu->cpu_pmu_context)->lent &&
		    __this_cpu_read(*pmu->pmu_disable_count) == 1)
			pmu->pmu_disable(pmu);
	}
}

static void lend_flagged_pmus(void)
{
	struct pmu *pmu;

	for_each_flagged_pmu(pmu) {
		if (this_cpu_ptr(pmu->cpu_pmu_context)->lent)
			pmu->lend(pmu);
	}
}

static void take_back_flagged_pmus(void)
{
	struct pmu *pmu;

	for_each_flagged_pmu(pmu) {
		if (this_cpu_ptr(pmu->cpu_pmu_context)->lent)
			pmu->take_back(pmu);
	}
}

/* Drop the references, and let the drivers enable the PMUs if they were told before. */
static void release_flagged_pmus(bool enable)
{
	struct perf_cpu_pmu_context *cpc;
	struct pmu *pmu;

	for_each_flagged_pmu(pmu) {
		cpc = this_cpu_ptr(pmu->cpu_pmu_context);
		/* One may be new. */
		if (!cpc->lent)
			continue;

		cpc->lent = false;
		if (enable) {
			perf_pmu_enable(pmu);
			continue;
		}

		/*
		 * Whoever else has disabled the PMU meanwhile goes by the count, and
		 * expects that the driver knows.
		 */
		if (__this_cpu_read(*pmu->pmu_disable_count) > 1)
			pmu->pmu_disable(pmu);
		__this_cpu_dec(*pmu->pmu_disable_count);
	}
}

/* Only groups that are scheduled otherwise are added. */
static void flagged_events_sched_in(struct perf_event_context *ctx, enum event_type_t group)
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

/*
 * Perf core has an event here that would count the guest, although it should have
 * been refused, or the VM should. It can't count, it is stopped with the others.
 */
static void check_excluded(struct perf_cpu_context *cpuctx,
			   struct perf_event_context *task_ctx)
{
	/* Deferred: the contexts are locked, and the console wakes tasks up. */
	if (unlikely(cpuctx->ctx.nr_include_guest ||
		     (task_ctx && task_ctx->nr_include_guest)))
		DO_ONCE_LITE(printk_deferred, KERN_WARNING
			     "perf: an event of \"%s\" (pid %d) should count the guest that owns the PMU, and does not\n",
			     current->comm, task_pid_nr(current));
}

static void perf_guest_recall(void)
{
	typeof_member(struct perf_guest_stubs, recall) stub = perf_guest_stub(recall);

	if (stub)
		stub();
	else
		perf_guest_return_passthrough_pmu();
}

/* An event may get any counter from here on. */
static void recall_left_values(void)
{
	perf_guest_recall();
	if (!__this_cpu_read(left_counters))
		return;

	perf_guest_unbalanced(__func__);
	perf_guest_leave(0);
}

/*
 * See perf_guest_defers_events(). Events that trace instructions may be members of
 * groups that are led by events of any PMU.
 */
bool __perf_guest_defers_events(struct perf_event_pmu_context *pmu_ctx)
{
	bool flagged = pmu_ctx->pmu->capabilities & PERF_PMU_CAP_PASSTHROUGH_VPMU;

	if (__this_cpu_read(perf_pmu_owner) == PERF_PMU_OWNER_BESIDE) {
		if (flagged)
			recall_left_values();
		return false;
	}

	if (!flagged && !pmu_ctx->ctx->nr_itrace)
		return false;

	/* A hypervisor that did not return it the first time need not be asked again. */
	if (!__this_cpu_read(events_make_way) && !__this_cpu_read(events_wait)) {
		perf_guest_recall();
		if (__this_cpu_read(perf_pmu_owner) == PERF_PMU_OWNER_HOST)
			return false;
		perf_guest_unbalanced(__func__);
	}

	if (flagged)
		__this_cpu_write(events_wait, true);
	return flagged;
}

static bool has_itrace_events(struct perf_cpu_context *cpuctx,
			      struct perf_event_context *task_ctx)
{
	return READ_ONCE(cpuctx->ctx.nr_itrace) ||
	       (task_ctx && READ_ONCE(task_ctx->nr_itrace));
}

/**
 * perf_guest_enter - hand the flagged PMUs of this CPU over to a guest
 *
 * Stops all events of flagged PMUs on this CPU, those of the CPU as well as those
 * of the current task, and stops the time of events with exclude_guest. The events
 * remain on their PMUs, and events of other PMUs in their groups keep counting.
 *
 * On return no counter is enabled, and control registers of which the driver keeps
 * a copy agree with it (on Intel CPUs FIXED_CTR_CTRL, which is zero). Other
 * registers have any value, including the one that starts all counters. From here
 * on the hypervisor may use the PMU. It hands it to perf_guest_exit() in the same
 * state, having removed what the host must not see of the guest.
 *
 * To stop the PMU globally is the hypervisor's first step, which needs no undoing:
 * the driver enables the PMU in perf_guest_exit(), or, if no event is there, when
 * it next schedules one. Until then the driver has the PMU disabled, whatever
 * disables and enables it meanwhile.
 *
 * If the hypervisor may keep the PMU, it need not call perf_guest_exit() before it
 * turns interrupts on, but then
 *
 *  - nothing counts unless the guest runs;
 *  - it does call perf_guest_exit() before another task runs on this CPU, before the
 *    current one runs in user mode, and before the CPU goes offline;
 *  - it returns the PMU, that is takes the guest's values out and calls
 *    perf_guest_exit(), when perf calls ->return_passthrough_pmu() of struct
 *    perf_guest_info_callbacks. Interrupts are off then, and the raw locks of contexts
 *    and of the run queue may be held;
 *  - it looks at what is in the PMU with interrupts off only.
 *
 * Context: Interrupts off, and kept off until perf_guest_exit() on this CPU, unless
 * the hypervisor may keep the PMU.
 * Takes the locks of the perf contexts if they have events of flagged PMUs. NMIs
 * may come in at any time, the architecture has to keep its PMI handler out.
 * Return: true if the hypervisor may keep the PMU until perf recalls it.
 */
bool perf_guest_enter(void)
{
	struct perf_cpu_context *cpuctx = this_cpu_ptr(&perf_cpu_context);
	struct perf_event_context *task_ctx = cpuctx->task_ctx;

	lockdep_assert_irqs_disabled();

	if (__this_cpu_read(perf_pmu_owner) == PERF_PMU_OWNER_GUEST) {
		perf_guest_unbalanced(__func__);
		return false;
	}

	hold_flagged_pmus();

	__this_cpu_write(host_counters, 0);
	if (!has_flagged_events(cpuctx, task_ctx)) {
		__this_cpu_write(perf_pmu_owner, PERF_PMU_OWNER_GUEST);
		return !has_itrace_events(cpuctx, task_ctx);
	}

	perf_step_lock(cpuctx, task_ctx);

	check_excluded(cpuctx, task_ctx);

	/* A group may have events of several PMUs: disable all before anything else. */
	disable_flagged_pmus();
	host_clocks(cpuctx, task_ctx, true);
	lend_flagged_pmus();

	__this_cpu_write(events_make_way, true);
	__this_cpu_write(perf_pmu_owner, PERF_PMU_OWNER_GUEST);

	perf_step_unlock(cpuctx, task_ctx);
	return false;
}
EXPORT_SYMBOL_GPL(perf_guest_enter);

/**
 * perf_guest_host_counters - which counters do events of the host use?
 *
 * Whether they run or not. That is as of the last perf_guest_enter() on this CPU, and
 * remains so until events are scheduled, see perf_guest_leave().
 *
 * Context: Interrupts off.
 * Return: Counters as bits, numbered the way the architecture does.
 */
u64 perf_guest_host_counters(void)
{
	lockdep_assert_irqs_disabled();

	return __this_cpu_read(host_counters);
}
EXPORT_SYMBOL_GPL(perf_guest_host_counters);

/**
 * perf_guest_use_counters - tell which counters the events of a PMU use
 * @counters: counters as bits, see perf_guest_host_counters()
 *
 * For ->lend() of drivers. Those of events that don't run count as well, as they may
 * start again without being scheduled.
 *
 * Context: Interrupts off, called by ->lend().
 */
void perf_guest_use_counters(u64 counters)
{
	__this_cpu_or(host_counters, counters);
}
EXPORT_SYMBOL_IF_KUNIT(perf_guest_use_counters);

/**
 * perf_guest_leave - leave values of a guest in counters while the host owns the PMUs
 * @counters: counters as bits, none of perf_guest_host_counters(); 0 if none holds a
 *	value of a guest (any more)
 *
 * A hypervisor that is about to return the PMUs need not take the values of these
 * counters out, and finds them there at its next perf_guest_enter(). Their selectors
 * are disabled, that is, they don't count.
 *
 * The hypervisor takes the values out, zeroes the counters and calls this function
 * again, with 0,
 *
 *  - before another task runs on this CPU, before the current one runs in user mode,
 *    and before the CPU goes offline;
 *  - when perf calls ->return_passthrough_pmu(), as for PMUs that a guest has kept. It
 *    does so before events are scheduled, because these may get any counter.
 *
 * Context: Interrupts off. Between perf_guest_enter() and perf_guest_exit(), and with 0
 * at any time.
 */
void perf_guest_leave(u64 counters)
{
	lockdep_assert_irqs_disabled();

	__this_cpu_write(left_counters, counters);

	if (!counters && __this_cpu_read(perf_pmu_owner) == PERF_PMU_OWNER_BESIDE)
		__this_cpu_write(perf_pmu_owner, PERF_PMU_OWNER_HOST);
}
EXPORT_SYMBOL_GPL(perf_guest_leave);

/**
 * perf_guest_left - which counters are a guest's although the host owns the PMUs?
 *
 * For drivers that write to counters which none of their events uses.
 *
 * Context: Preemption off.
 * Return: Counters as bits.
 */
u64 perf_guest_left(void)
{
	return __this_cpu_read(left_counters);
}

static enum perf_pmu_owner next_owner(void)
{
	return __this_cpu_read(left_counters) ? PERF_PMU_OWNER_BESIDE : PERF_PMU_OWNER_HOST;
}

/**
 * perf_guest_exit - take the flagged PMUs of this CPU back from a guest
 *
 * Starts what perf_guest_enter() has stopped, and lets the time of events with
 * exclude_guest go on. See there for the state in which the hypervisor returns
 * the PMU.
 *
 * Context: Interrupts off, since perf_guest_enter() on this CPU unless that allowed
 * otherwise. Takes the locks of the perf contexts if they had events of flagged PMUs
 * then.
 */
void perf_guest_exit(void)
{
	struct perf_cpu_context *cpuctx = this_cpu_ptr(&perf_cpu_context);
	struct perf_event_context *task_ctx = cpuctx->task_ctx;
	bool make_way = __this_cpu_read(events_make_way);

	lockdep_assert_irqs_disabled();

	if (__this_cpu_read(perf_pmu_owner) != PERF_PMU_OWNER_GUEST) {
		perf_guest_unbalanced(__func__);
		return;
	}

	if (!make_way && !__this_cpu_read(events_wait)) {
		release_flagged_pmus(false);
		__this_cpu_write(perf_pmu_owner, next_owner());
		return;
	}

	perf_step_lock(cpuctx, task_ctx);

	/* Events go on with the time at which the guest ended. */
	host_clocks(cpuctx, task_ctx, false);

	if (make_way)
		take_back_flagged_pmus();
	else
		disable_flagged_pmus();

	if (__this_cpu_read(events_wait)) {
		if (__this_cpu_read(left_counters))
			recall_left_values();
		/* In the order of priority, see ctx_resched(). */
		flagged_events_sched_in(&cpuctx->ctx, EVENT_PINNED);
		flagged_events_sched_in(task_ctx, EVENT_PINNED);
		flagged_events_sched_in(&cpuctx->ctx, EVENT_FLEXIBLE);
		flagged_events_sched_in(task_ctx, EVENT_FLEXIBLE);
		__this_cpu_write(events_wait, false);
	}

	release_flagged_pmus(true);
	__this_cpu_write(events_make_way, false);
	__this_cpu_write(perf_pmu_owner, next_owner());

	perf_step_unlock(cpuctx, task_ctx);
}
EXPORT_SYMBOL_GPL(perf_guest_exit);
