// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of lending PMUs to virtual machines
 *
 * Two PMUs made up for the purpose, of which only one can be lent, write down
 * what perf core does to them. There is no VM and no guest: the tests call what
 * a hypervisor would.
 */

#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kernfs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/perf_event.h>
#include <linux/perf_guest.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>

#include "internal.h"

/*
 * The PMUs
 *
 * An event has a letter for a name. The log of a PMU tells what happens to it:
 *	D, E	the PMU is disabled, enabled
 *	+x, -x	event x is scheduled in, out
 *	~x	event x does not fit
 *	(x, )x	event x is stopped for a guest, started again
 *	!	an event is touched on a PMU that is not disabled
 */
struct fake_pmu {
	struct pmu	pmu;
	bool		disabled;
	int		capacity;
	int		nr_events;
	struct perf_event *events[8];	/* in the order in which they came */
	struct perf_event *lent[8];	/* those that a guest has stopped */
	char		log[80];
	unsigned int	log_len;
};

static struct fake_pmu flagged;	/* can be lent */
static struct fake_pmu plain;	/* can not */

static struct fake_pmu *to_fake(struct pmu *pmu)
{
	return container_of(pmu, struct fake_pmu, pmu);
}

static char event_id(struct perf_event *event)
{
	return event->attr.config;
}

static void log_op(struct fake_pmu *fake, char op, struct perf_event *event)
{
	if (event && !fake->disabled && fake->log_len < sizeof(fake->log) - 1)
		fake->log[fake->log_len++] = '!';
	if (fake->log_len < sizeof(fake->log) - 1)
		fake->log[fake->log_len++] = op;
	if (event && fake->log_len < sizeof(fake->log) - 1)
		fake->log[fake->log_len++] = event_id(event);
	fake->log[fake->log_len] = '\0';
}

static void clear_log(struct fake_pmu *fake)
{
	fake->log_len = 0;
	fake->log[0] = '\0';
}

static void fake_pmu_enable(struct pmu *pmu)
{
	to_fake(pmu)->disabled = false;
	log_op(to_fake(pmu), 'E', NULL);
}

static void fake_pmu_disable(struct pmu *pmu)
{
	to_fake(pmu)->disabled = true;
	log_op(to_fake(pmu), 'D', NULL);
}

static int fake_event_add(struct perf_event *event, int flags)
{
	struct fake_pmu *fake = to_fake(event->pmu);

	if (fake->nr_events >= fake->capacity) {
		log_op(fake, '~', event);
		return -EAGAIN;
	}

	fake->events[fake->nr_events++] = event;
	log_op(fake, '+', event);
	return 0;
}

static void fake_event_del(struct perf_event *event, int flags)
{
	struct fake_pmu *fake = to_fake(event->pmu);
	int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(fake->lent); i++) {
		if (fake->lent[i] == event)
			fake->lent[i] = NULL;
	}
	for (i = 0; i < fake->nr_events; i++) {
		if (fake->events[i] != event)
			fake->events[n++] = fake->events[i];
	}
	fake->nr_events = n;
	log_op(fake, '-', event);
}

/* Each letter has a counter. */
#define COUNTER(id)	BIT_ULL((id) % 64)

static void fake_pmu_lend(struct pmu *pmu)
{
	struct fake_pmu *fake = to_fake(pmu);
	u64 used = 0;
	int i;

	for (i = 0; i < fake->nr_events; i++) {
		fake->lent[i] = fake->events[i];
		log_op(fake, '(', fake->events[i]);
		used |= COUNTER(event_id(fake->events[i]));
	}
	perf_guest_use_counters(used);
}

static void fake_pmu_take_back(struct pmu *pmu)
{
	struct fake_pmu *fake = to_fake(pmu);
	int i;

	for (i = 0; i < ARRAY_SIZE(fake->lent); i++) {
		if (fake->lent[i])
			log_op(fake, ')', fake->lent[i]);
		fake->lent[i] = NULL;
	}
}

static void fake_event_start(struct perf_event *event, int flags) { }
static void fake_event_stop(struct perf_event *event, int flags) { }
static void fake_event_read(struct perf_event *event) { }

/*
 * Kernel counters are neither members of groups nor bound to cgroups. The fake
 * PMU makes up for that, before perf core looks.
 */
static int fake_event_init(struct perf_event *event)
{
	if (event->attr.type != event->pmu->type)
		return -ENOENT;

	if (event_id(event) == '?')
		return -EINVAL;

	if (event->attr.config1)
		event->group_leader = (struct perf_event *)(unsigned long)event->attr.config1;

#ifdef CONFIG_CGROUP_PERF
	if (event->attr.config2) {
		event->cgrp = (struct perf_cgroup *)(unsigned long)event->attr.config2;
		css_get(&event->cgrp->css);
	}
#endif
	return 0;
}

static int fake_pmu_register(struct fake_pmu *fake, const char *name, int capabilities)
{
	fake->pmu = (struct pmu) {
		.module		= THIS_MODULE,
		.capabilities	= capabilities,
		.dev		= PMU_NULL_DEV,
		.task_ctx_nr	= perf_hw_context,
		.pmu_enable	= fake_pmu_enable,
		.pmu_disable	= fake_pmu_disable,
		.event_init	= fake_event_init,
		.add		= fake_event_add,
		.del		= fake_event_del,
		.start		= fake_event_start,
		.stop		= fake_event_stop,
		.read		= fake_event_read,
		.lend		= fake_pmu_lend,
		.take_back	= fake_pmu_take_back,
	};

	return perf_pmu_register(&fake->pmu, name, -1);
}

/*
 * Events
 */
struct fake_event {
	char			id;
	bool			task;	/* of the current task, not of the CPU */
	bool			pinned;
	bool			include_guest;
	bool			user_only;
	bool			disabled;
	bool			exclusive;
	perf_overflow_handler_t	handler;
	struct perf_event	*leader;
	struct perf_cgroup	*cgrp;
};

#define EVENT(...) ((struct fake_event) { __VA_ARGS__ })

static struct perf_event *try_event(struct fake_pmu *fake, int cpu, struct fake_event e)
{
	struct perf_event_attr attr = {
		.type		= fake->pmu.type,
		.size		= sizeof(attr),
		.config		= e.id,
		.config1	= (unsigned long)e.leader,
		.config2	= (unsigned long)e.cgrp,
		.disabled	= e.disabled,
		.pinned		= e.pinned,
		.exclusive	= e.exclusive,
		.exclude_guest	= !e.include_guest,
		.exclude_kernel	= e.user_only,
	};

	return perf_event_create_kernel_counter(&attr, e.task ? -1 : cpu,
						e.task ? current : NULL, e.handler, NULL);
}

static void release_event(void *event)
{
	perf_event_release_kernel(event);
}

/* All tests run on the CPU on which they find themselves at first. */
static int test_cpu(struct kunit *test)
{
	return (long)test->priv;
}

/* Event that goes away with the test, or by kunit_release_action(). */
static struct perf_event *new_event(struct kunit *test, struct fake_pmu *fake,
				    struct fake_event e)
{
	struct perf_event *event = try_event(fake, test_cpu(test), e);

	KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(test, event, "event %c", e.id);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, event), 0);
	return event;
}

static void expect_refused(struct kunit *test, struct fake_pmu *fake, struct fake_event e)
{
	struct perf_event *event = try_event(fake, test_cpu(test), e);

	KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(event), -EOPNOTSUPP, "event %c", e.id);
	if (!IS_ERR(event))
		perf_event_release_kernel(event);
}

/* A failure here must not fail the tests that follow. */
static void expect_vm_refused(struct kunit *test)
{
	int ret = perf_get_passthrough_pmu(NULL, NULL, 0);

	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	if (!ret)
		perf_put_passthrough_pmu(NULL);
}

/*
 * VMs of the tests have no address space, as the thread has none that runs the
 * tests. Whether that thread could run their vCPUs is up to the test.
 */
static bool current_runs_vms(struct task_struct *task, struct mm_struct *mm)
{
	return task == current && !mm;
}

static void let_current_run_vms(struct kunit *test)
{
	kunit_activate_static_stub(test, perf_guest_task_uses_mm, current_runs_vms);
}

static void put_pmu(void *unused)
{
	perf_put_passthrough_pmu(NULL);
}

/*
 * Accounting
 */
static void first_handler(struct perf_event *event, struct perf_sample_data *data,
			  struct pt_regs *regs)
{
}

static void second_handler(struct perf_event *event, struct perf_sample_data *data,
			   struct pt_regs *regs)
{
	event->hw.interrupts = 0;
}

static void event_keeps_vms_away(struct kunit *test)
{
	struct perf_event *a, *b;

	let_current_run_vms(test);
	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true));
	b = new_event(test, &flagged, EVENT(.id = 'b', .include_guest = true, .task = true,
					    .user_only = true));

	expect_vm_refused(test);
	kunit_release_action(test, release_event, a);
	expect_vm_refused(test);
	kunit_release_action(test, release_event, b);

	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);
}

static void vm_keeps_events_away(struct kunit *test)
{
	let_current_run_vms(test);
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_pmu, NULL), 0);

	expect_refused(test, &flagged, EVENT(.id = 'a', .include_guest = true));
	expect_refused(test, &flagged, EVENT(.id = 'b', .include_guest = true, .task = true));
	expect_refused(test, &flagged, EVENT(.id = 'c', .include_guest = true, .task = true,
					     .user_only = true));
	expect_refused(test, &flagged, EVENT(.id = 'd', .include_guest = true, .pinned = true));

	/* A refused event must leave no trace in the count of events. */
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);
	expect_refused(test, &flagged, EVENT(.id = 'e', .include_guest = true));

	kunit_release_action(test, put_pmu, NULL);
	new_event(test, &flagged, EVENT(.id = 'f', .include_guest = true));
}

static void vm_tolerates_other_events(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_pmu, NULL), 0);

	new_event(test, &flagged, EVENT(.id = 'a'));
	new_event(test, &flagged, EVENT(.id = 'b', .task = true));
	new_event(test, &plain, EVENT(.id = 'c', .include_guest = true));
	new_event(test, &plain, EVENT(.id = 'd', .include_guest = true, .task = true));
}

/* Tasks that run no vCPU of the VM are nobody's business. */
static void vm_tolerates_events_of_other_tasks(struct kunit *test)
{
	new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true, .task = true));
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_pmu, NULL), 0);
	new_event(test, &flagged, EVENT(.id = 'b', .include_guest = true, .task = true));
	expect_refused(test, &flagged, EVENT(.id = 'c', .include_guest = true));

	let_current_run_vms(test);
	expect_refused(test, &flagged, EVENT(.id = 'd', .include_guest = true, .task = true));
}

/* Which is how the task of an event that others inherit looks to their tasks */
static int nr_tasks_elsewhere;

static bool current_runs_vms_later(struct task_struct *task, struct mm_struct *mm)
{
	return nr_tasks_elsewhere-- <= 0 && current_runs_vms(task, mm);
}

/* What is in a task's context counts, wherever the task is that it is bound to. */
static void context_keeps_vms_away(struct kunit *test)
{
	char blocker[PERF_GUEST_BLOCKER_SIZE] = "";
	struct perf_event *a;
	char words[64];

	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true, .task = true,
					    .handler = first_handler));
	kunit_activate_static_stub(test, perf_guest_task_uses_mm, current_runs_vms_later);

	nr_tasks_elsewhere = 1;
	KUNIT_EXPECT_EQ(test, perf_get_passthrough_pmu(NULL, blocker, sizeof(blocker)), -EBUSY);
	snprintf(words, sizeof(words), ", in task \"%s\" (pid %d)", current->comm,
		 task_pid_nr(current));
	KUNIT_EXPECT_TRUE_MSG(test, strstr(blocker, "the kernel (first_handler") &&
			      strstr(blocker, words), "'%s' in '%s'", words, blocker);
	KUNIT_EXPECT_FALSE(test, perf_passthrough_pmu_in_use());

	kunit_release_action(test, release_event, a);
	nr_tasks_elsewhere = 0;
	KUNIT_EXPECT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);
}

/* Events that fail before, at and after the accounting leave it balanced. */
static void failed_events_are_not_counted(struct kunit *test)
{
	struct perf_event *event;

	event = try_event(&flagged, test_cpu(test), EVENT(.id = '?', .include_guest = true));
	KUNIT_EXPECT_EQ(test, PTR_ERR(event), -EINVAL);
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);

	flagged.pmu.capabilities |= PERF_PMU_CAP_EXCLUSIVE;
	new_event(test, &flagged, EVENT(.id = 'a'));
	event = try_event(&flagged, test_cpu(test), EVENT(.id = 'b', .include_guest = true));
	KUNIT_EXPECT_EQ(test, PTR_ERR(event), -EBUSY);
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);

	expect_refused(test, &flagged, EVENT(.id = 'c', .include_guest = true));
	perf_put_passthrough_pmu(NULL);
}

/* Whatever becomes of its attributes, an event is taken off the books as it was put there. */
static void accounting_outlives_attributes(struct kunit *test)
{
	struct perf_event *a, *b;

	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true));
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	a->attr.exclude_guest = 1;
	b->attr.exclude_guest = 0;

	kunit_release_action(test, release_event, b);
	expect_vm_refused(test);
	kunit_release_action(test, release_event, a);

	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	expect_refused(test, &flagged, EVENT(.id = 'c', .include_guest = true));
	perf_put_passthrough_pmu(NULL);
}

/* It could be enabled at any time, and then must not be refused. */
static void disabled_event_keeps_vms_away(struct kunit *test)
{
	struct perf_event *a;

	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true, .disabled = true));
	expect_vm_refused(test);
	kunit_release_action(test, release_event, a);
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);
}

static void expect_blocker(struct kunit *test, const char *words)
{
	char blocker[PERF_GUEST_BLOCKER_SIZE] = "";
	int ret = perf_get_passthrough_pmu(NULL, blocker, sizeof(blocker));

	KUNIT_EXPECT_EQ(test, ret, -EBUSY);
	if (!ret)
		perf_put_passthrough_pmu(NULL);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(blocker, words), "'%s' not in '%s'", words, blocker);
}

static void refused_vm_learns_of_oldest_event(struct kunit *test)
{
	char blocker[PERF_GUEST_BLOCKER_SIZE] = "as before";
	struct perf_event *a;

	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true,
					    .handler = first_handler));
	new_event(test, &flagged, EVENT(.id = 'b', .include_guest = true,
					.handler = second_handler));
	expect_blocker(test, "the kernel (first_handler");
	kunit_release_action(test, release_event, a);
	expect_blocker(test, "the kernel (second_handler");

	/* Not longer than there is room. */
	KUNIT_EXPECT_EQ(test, perf_get_passthrough_pmu(NULL, blocker, 4), -EBUSY);
	KUNIT_EXPECT_STREQ(test, blocker, "the");
}

/* What the test creates belongs to the kernel: make the task its owner. */
static void refused_vm_learns_of_task(struct kunit *test)
{
	struct perf_event *a;
	char words[64];

	a = new_event(test, &flagged, EVENT(.id = 'a', .include_guest = true));
	WRITE_ONCE(a->owner, current);
	snprintf(words, sizeof(words), "task \"%s\" (pid %d)", current->comm,
		 task_pid_nr(current));
	expect_blocker(test, words);

	WRITE_ONCE(a->owner, NULL);
	expect_blocker(test, "a task that has exited");

	WRITE_ONCE(a->owner, TASK_TOMBSTONE);
}

static void vms_are_seen_while_they_live(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, perf_passthrough_pmu_in_use());
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	KUNIT_EXPECT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	perf_put_passthrough_pmu(NULL);
	KUNIT_EXPECT_TRUE(test, perf_passthrough_pmu_in_use());
	perf_put_passthrough_pmu(NULL);
	KUNIT_EXPECT_FALSE(test, perf_passthrough_pmu_in_use());
}

struct race {
	int		cpu;
	atomic_t	vms;
	atomic_t	events;
	atomic_t	nr_vms;
	atomic_t	nr_events;
	atomic_t	nr_wrong;
};

#define RACE_ROUNDS	200

static int race_vm(void *arg)
{
	struct race *race = arg;
	int i, ret;

	for (i = 0; i < RACE_ROUNDS; i++) {
		ret = perf_get_passthrough_pmu(NULL, NULL, 0);
		if (!ret) {
			if (atomic_inc_return(&race->vms) && atomic_read(&race->events))
				atomic_inc(&race->nr_wrong);
			atomic_inc(&race->nr_vms);
			usleep_range(10, 200);
			atomic_dec_return(&race->vms);
			perf_put_passthrough_pmu(NULL);
		} else if (ret != -EBUSY) {
			atomic_inc(&race->nr_wrong);
		}
		usleep_range(100, 500);
	}

	return 0;
}

static int race_event(void *arg)
{
	struct race *race = arg;
	struct perf_event *event;
	int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		event = try_event(&flagged, race->cpu, EVENT(.id = 'r', .include_guest = true));
		if (!IS_ERR(event)) {
			if (atomic_inc_return(&race->events) && atomic_read(&race->vms))
				atomic_inc(&race->nr_wrong);
			atomic_inc(&race->nr_events);
			usleep_range(10, 200);
			atomic_dec_return(&race->events);
			perf_event_release_kernel(event);
		} else if (PTR_ERR(event) != -EOPNOTSUPP) {
			atomic_inc(&race->nr_wrong);
		}
		usleep_range(100, 500);
	}

	return 0;
}

static void vms_and_events_race(struct kunit *test)
{
	struct race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	struct task_struct *tasks[4] = { };
	int i;

	KUNIT_ASSERT_NOT_NULL(test, race);
	race->cpu = test_cpu(test);

	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		tasks[i] = kthread_create(i & 1 ? race_event : race_vm, race, "race/%d", i);
		if (!IS_ERR(tasks[i])) {
			get_task_struct(tasks[i]);
			wake_up_process(tasks[i]);
		}
	}
	for (i = 0; i < ARRAY_SIZE(tasks); i++) {
		if (IS_ERR(tasks[i])) {
			KUNIT_FAIL(test, "no thread");
			continue;
		}
		kthread_stop(tasks[i]);
		put_task_struct(tasks[i]);
	}

	KUNIT_EXPECT_EQ(test, atomic_read(&race->nr_wrong), 0);
	/* It was a race. */
	KUNIT_EXPECT_GT(test, atomic_read(&race->nr_vms), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&race->nr_events), 0);
	KUNIT_EXPECT_LT(test, atomic_read(&race->nr_vms) + atomic_read(&race->nr_events),
			4 * RACE_ROUNDS);
}

/*
 * Ownership
 */
struct window {
	char	enter[sizeof_field(struct fake_pmu, log)];
	char	exit[sizeof_field(struct fake_pmu, log)];
	char	plain[sizeof_field(struct fake_pmu, log)];
	u64	inner;	/* ns that the guest has had at least, at most */
	u64	outer;
};

static void spend(u64 nsecs)
{
	u64 start = local_clock();

	while (local_clock() - start < nsecs)
		cpu_relax();
}

static void guest_runs(u64 nsecs, struct window *w)
{
	unsigned long flags;
	u64 t[4];

	local_irq_save(flags);
	clear_log(&flagged);
	clear_log(&plain);

	t[0] = local_clock();
	perf_guest_enter();
	t[1] = local_clock();

	strscpy(w->enter, flagged.log);
	clear_log(&flagged);
	spend(nsecs);

	t[2] = local_clock();
	perf_guest_exit();
	t[3] = local_clock();

	strscpy(w->exit, flagged.log);
	strscpy(w->plain, plain.log);
	local_irq_restore(flags);

	w->inner = t[2] - t[1];
	w->outer = t[3] - t[0];
}

/* @may_keep: bool */
static void guest_enter_ipi(void *may_keep)
{
	bool keeps = perf_guest_enter();

	if (may_keep)
		*(bool *)may_keep = keeps;
}

static void guest_exit_ipi(void *unused)
{
	perf_guest_exit();
}

static void guest_without_events(struct kunit *test)
{
	struct window w;

	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "");
	KUNIT_EXPECT_STREQ(test, w.exit, "");
	KUNIT_EXPECT_STREQ(test, w.plain, "");
}

/* If there is nothing to stop, nobody looks at the contexts: their clocks do not even advance. */
static void guest_without_events_leaves_contexts_alone(struct kunit *test)
{
	struct perf_event *a, *b;
	unsigned long flags;
	u64 before, after;

	/* Which has the PMU of the CPU's context stay */
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	a = new_event(test, &plain, EVENT(.id = 'a'));
	kunit_release_action(test, release_event, b);

	local_irq_save(flags);
	before = a->ctx->timestamp;
	clear_log(&flagged);
	perf_guest_enter();
	spend(NSEC_PER_MSEC);
	perf_guest_exit();
	after = a->ctx->timestamp;
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, a->ctx->nr_flagged, 0);
	KUNIT_EXPECT_EQ(test, before, after);
	KUNIT_EXPECT_STREQ(test, flagged.log, "");
}

/* Each context knows how many of its events are scheduled with flagged PMUs. */
static void flagged_events_are_counted(struct kunit *test)
{
	struct perf_event *a, *b, *c, *d;

	c = new_event(test, &plain, EVENT(.id = 'c'));
	KUNIT_EXPECT_EQ(test, c->ctx->nr_flagged, 0);
	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &flagged, EVENT(.id = 'b', .disabled = true));
	KUNIT_EXPECT_PTR_EQ(test, a->ctx, c->ctx);
	KUNIT_EXPECT_EQ(test, a->ctx->nr_flagged, 2);
	d = new_event(test, &flagged, EVENT(.id = 'd', .task = true));
	KUNIT_EXPECT_EQ(test, d->ctx->nr_flagged, 1);
	kunit_release_action(test, release_event, a);
	KUNIT_EXPECT_EQ(test, c->ctx->nr_flagged, 1);
	kunit_release_action(test, release_event, b);
	KUNIT_EXPECT_EQ(test, c->ctx->nr_flagged, 0);
}

/* Whoever disables and enables a PMU while it is lent does not reach the driver. */
static void lent_pmu_stays_disabled(struct kunit *test)
{
	unsigned long flags;
	char log[sizeof(flagged.log)];
	int i, count[2][3];

	for (i = 0; i < 2; i++) {
		if (i)
			new_event(test, &flagged, EVENT(.id = 'a'));

		local_irq_save(flags);
		count[i][0] = *this_cpu_ptr(flagged.pmu.pmu_disable_count);
		perf_guest_enter();
		clear_log(&flagged);
		perf_pmu_disable(&flagged.pmu);
		perf_pmu_enable(&flagged.pmu);
		strscpy(log, flagged.log);
		count[i][1] = *this_cpu_ptr(flagged.pmu.pmu_disable_count);
		perf_guest_exit();
		count[i][2] = *this_cpu_ptr(flagged.pmu.pmu_disable_count);
		local_irq_restore(flags);

		KUNIT_EXPECT_STREQ(test, log, "");
		KUNIT_EXPECT_EQ(test, count[i][0], 0);
		KUNIT_EXPECT_EQ(test, count[i][1], 1);
		KUNIT_EXPECT_EQ(test, count[i][2], 0);
	}
}

/*
 * Guests that keep the PMU
 */
static bool guest_may_keep(struct kunit *test)
{
	bool may_keep = false;
	int cpu = test_cpu(test);

	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, &may_keep, 1), 0);
	return may_keep;
}

/* As long as the host has events that could want it, the PMU has to be returned at once. */
static void guest_keeps_pmu_without_events(struct kunit *test)
{
	static const struct fake_event unwelcome[] = {
		{ .id = 'b' },
		{ .id = 'c', .disabled = true },
		{ .id = 'd', .task = true },
		{ .id = 'e', .task = true, .disabled = true },
	};
	int cpu = test_cpu(test);
	struct perf_event *a, *event;
	int i;

	a = new_event(test, &plain, EVENT(.id = 'a'));
	for (i = 0; i < ARRAY_SIZE(unwelcome); i++) {
		KUNIT_EXPECT_TRUE(test, guest_may_keep(test));
		smp_call_function_single(cpu, guest_exit_ipi, NULL, 1);

		event = new_event(test, &flagged, unwelcome[i]);
		KUNIT_EXPECT_FALSE_MSG(test, guest_may_keep(test), "event %c", unwelcome[i].id);
		smp_call_function_single(cpu, guest_exit_ipi, NULL, 1);
		kunit_release_action(test, release_event, event);
	}

	kunit_release_action(test, release_event, a);

	/* Which may interrupt as if it was the PMU */
	plain.pmu.capabilities = PERF_PMU_CAP_ITRACE;
	for (i = 0; i < ARRAY_SIZE(unwelcome); i++) {
		event = new_event(test, &plain, unwelcome[i]);
		KUNIT_EXPECT_FALSE_MSG(test, guest_may_keep(test), "tracing event %c",
				       unwelcome[i].id);
		smp_call_function_single(cpu, guest_exit_ipi, NULL, 1);
		kunit_release_action(test, release_event, event);
	}
	KUNIT_EXPECT_TRUE(test, guest_may_keep(test));
	smp_call_function_single(cpu, guest_exit_ipi, NULL, 1);
}

/* The hypervisor: how often was it called, and was the PMU's driver idle until then? */
static int nr_recalls;
static bool returns_pmu;
static char log_until_recall[sizeof(flagged.log)];
static char plain_until_recall[sizeof(plain.log)];

static void take_recall(void)
{
	lockdep_assert_irqs_disabled();

	if (!nr_recalls++) {
		strscpy(log_until_recall, flagged.log);
		strscpy(plain_until_recall, plain.log);
	}
	if (returns_pmu)
		perf_guest_exit();
}

static struct perf_guest_stubs *stubs(struct kunit *test)
{
	return per_cpu_ptr(&perf_guest_stubs, test_cpu(test));
}

static void remove_fake_hypervisor(void *test)
{
	stubs(test)->recall = NULL;
}

static void fake_hypervisor(struct kunit *test, bool returns)
{
	stubs(test)->recall = take_recall;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, remove_fake_hypervisor, test), 0);
	nr_recalls = 0;
	returns_pmu = returns;
	strscpy(log_until_recall, "");
	strscpy(plain_until_recall, "");
	clear_log(&flagged);
	clear_log(&plain);
}

/* One of each kind. */
static const struct fake_event wanted[] = {
	{ .id = 'a' },
	{ .id = 'a', .pinned = true },
	{ .id = 'a', .task = true },
	{ .id = 'a', .task = true, .pinned = true },
};

/* Whoever schedules an event has the PMU first, and the driver is disabled before that. */
static void new_event_recalls_pmu(struct kunit *test)
{
	struct perf_event *event;
	int i, count;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		fake_hypervisor(test, true);
		KUNIT_ASSERT_TRUE(test, guest_may_keep(test));
		event = new_event(test, &flagged, wanted[i]);
		preempt_disable();
		count = *this_cpu_ptr(flagged.pmu.pmu_disable_count);
		preempt_enable();

		KUNIT_EXPECT_EQ_MSG(test, nr_recalls, 1, "event %d", i);
		KUNIT_EXPECT_STREQ(test, log_until_recall, "");
		/* Installing it may disable and enable more than once. */
		KUNIT_EXPECT_NULL_MSG(test, strchr(flagged.log, '!'), "%s", flagged.log);
		KUNIT_EXPECT_EQ_MSG(test, strncmp(flagged.log, "D+a", 3), 0, "%s", flagged.log);
		KUNIT_EXPECT_EQ_MSG(test, flagged.log[flagged.log_len - 1], 'E', "%s",
				    flagged.log);
		KUNIT_EXPECT_EQ(test, count, 0);
		KUNIT_EXPECT_EQ(test, event->state, PERF_EVENT_STATE_ACTIVE);
		kunit_release_action(test, release_event, event);
	}
}

static void tracing_event_recalls_pmu(struct kunit *test)
{
	plain.pmu.capabilities = PERF_PMU_CAP_ITRACE;
	fake_hypervisor(test, true);
	KUNIT_ASSERT_TRUE(test, guest_may_keep(test));
	new_event(test, &plain, EVENT(.id = 'a'));
	KUNIT_EXPECT_EQ(test, nr_recalls, 1);
	KUNIT_EXPECT_STREQ(test, flagged.log, "");
}

static struct perf_event *new_software_event(struct kunit *test, bool task, bool disabled)
{
	struct perf_event_attr attr = {
		.type		= PERF_TYPE_SOFTWARE,
		.size		= sizeof(attr),
		.config		= PERF_COUNT_SW_DUMMY,
		.disabled	= disabled,
	};
	struct perf_event *event;

	event = perf_event_create_kernel_counter(&attr, task ? -1 : test_cpu(test),
						 task ? current : NULL, NULL, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, event);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, event), 0);
	return event;
}

/*
 * The group is scheduled with the PMU of its leader, which nobody would have to ask for.
 * One more event there has all groups of that PMU scheduled anew.
 */
static void tracing_member_recalls_pmu(struct kunit *test)
{
	struct perf_event *leader, *member, *other;
	int i;

	plain.pmu.capabilities = PERF_PMU_CAP_ITRACE;
	for (i = 0; i < 2; i++) {
		fake_hypervisor(test, true);
		KUNIT_ASSERT_TRUE(test, guest_may_keep(test));
		leader = new_software_event(test, i, false);
		KUNIT_EXPECT_EQ_MSG(test, nr_recalls, 0, "task %d", i);
		member = new_event(test, &plain, EVENT(.id = 'p', .task = i, .leader = leader));
		other = new_software_event(test, i, false);

		KUNIT_EXPECT_EQ_MSG(test, nr_recalls, 1, "task %d", i);
		KUNIT_EXPECT_NULL_MSG(test, strstr(plain_until_recall, "+p"), "%s",
				      plain_until_recall);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(plain.log, "+p"), "%s", plain.log);
		KUNIT_EXPECT_EQ(test, leader->nr_siblings, 1);
		KUNIT_EXPECT_EQ(test, member->state, PERF_EVENT_STATE_ACTIVE);
		kunit_release_action(test, release_event, other);
		kunit_release_action(test, release_event, member);
		kunit_release_action(test, release_event, leader);
	}
}

/*
 * What traces need not make way, nor wait: neither in a group that software leads, nor
 * beside a member that does.
 */
static void tracing_members_go_on(struct kunit *test)
{
	struct perf_event *leaders[2], *members[2], *a;
	enum perf_event_state before, inside[4];
	int cpu = test_cpu(test);
	struct window w;

	plain.pmu.capabilities = PERF_PMU_CAP_ITRACE;
	leaders[0] = new_software_event(test, false, false);
	members[0] = new_event(test, &plain, EVENT(.id = 'p', .leader = leaders[0]));
	a = new_event(test, &flagged, EVENT(.id = 'a', .leader = leaders[0]));
	leaders[1] = new_software_event(test, false, true);
	members[1] = new_event(test, &plain, EVENT(.id = 'q', .leader = leaders[1]));
	/* As above */
	new_software_event(test, false, false);
	KUNIT_ASSERT_EQ(test, leaders[0]->nr_siblings, 2);
	KUNIT_ASSERT_EQ(test, leaders[1]->nr_siblings, 1);
	KUNIT_ASSERT_EQ(test, members[0]->state, PERF_EVENT_STATE_ACTIVE);
	KUNIT_ASSERT_EQ(test, a->state, PERF_EVENT_STATE_ACTIVE);

	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.plain, "");
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a");
	KUNIT_EXPECT_STREQ(test, w.exit, ")aE");

	/* One more that comes meanwhile */
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	before = members[1]->state;
	perf_event_enable(leaders[1]);
	inside[0] = leaders[0]->state;
	inside[1] = members[0]->state;
	inside[2] = leaders[1]->state;
	inside[3] = members[1]->state;
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_EXPECT_EQ(test, before, PERF_EVENT_STATE_INACTIVE);
	KUNIT_EXPECT_EQ(test, inside[0], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_EQ(test, inside[1], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_EQ(test, inside[2], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_EQ(test, inside[3], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_EQ(test, a->state, PERF_EVENT_STATE_ACTIVE);
}

static void other_events_let_guest_keep_pmu(struct kunit *test)
{
	int cpu = test_cpu(test);

	fake_hypervisor(test, true);
	KUNIT_ASSERT_TRUE(test, guest_may_keep(test));
	new_event(test, &plain, EVENT(.id = 'a'));
	new_event(test, &plain, EVENT(.id = 'b', .task = true));
	schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_EQ(test, nr_recalls, 0);
	smp_call_function_single(cpu, guest_exit_ipi, NULL, 1);
	KUNIT_EXPECT_STREQ(test, flagged.log, "");
}

/*
 * Values that a guest leaves
 */
static void take_values_out(void)
{
	lockdep_assert_irqs_disabled();

	if (!nr_recalls++)
		strscpy(log_until_recall, flagged.log);
	if (returns_pmu)
		perf_guest_leave(0);
}

static void leaving_hypervisor(struct kunit *test, bool returns)
{
	fake_hypervisor(test, returns);
	stubs(test)->recall = take_values_out;
}

/* @used: u64, counters that the host's events turn out to use */
static void guest_leaves_values_ipi(void *used)
{
	perf_guest_enter();
	*(u64 *)used = perf_guest_host_counters();
	perf_guest_leave(COUNTER('a') | COUNTER('b'));
	perf_guest_exit();
}

static void guest_leaves_values(struct kunit *test)
{
	int cpu = test_cpu(test);
	u64 used;

	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_leaves_values_ipi, &used, 1), 0);
	clear_log(&flagged);
}

static void values_are_gone_ipi(void *unused)
{
	perf_guest_leave(0);
}

/* Of each flagged PMU, and be it that they are stopped. Others may have events, too. */
static void host_counters_are_known(struct kunit *test)
{
	const u64 counters = COUNTER('a') | COUNTER('b') | COUNTER('c') | COUNTER('d');
	struct perf_event *a;
	u64 used;
	int cpu = test_cpu(test);

	leaving_hypervisor(test, true);
	a = new_event(test, &flagged, EVENT(.id = 'a'));
	new_event(test, &flagged, EVENT(.id = 'b', .task = true));
	new_event(test, &flagged, EVENT(.id = 'c', .disabled = true));
	new_event(test, &plain, EVENT(.id = 'd'));
	smp_call_function_single(cpu, guest_leaves_values_ipi, &used, 1);
	KUNIT_EXPECT_EQ(test, used & counters, COUNTER('a') | COUNTER('b'));

	kunit_release_action(test, release_event, a);
	smp_call_function_single(cpu, guest_leaves_values_ipi, &used, 1);
	KUNIT_EXPECT_EQ(test, used & counters, COUNTER('b'));
	smp_call_function_single(cpu, values_are_gone_ipi, NULL, 1);
}

/* No counter is there for the taking before the guest's values are out. */
static void new_event_recalls_values(struct kunit *test)
{
	struct perf_event *event;
	int i;

	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		leaving_hypervisor(test, true);
		guest_leaves_values(test);
		event = new_event(test, &flagged, wanted[i]);

		KUNIT_EXPECT_EQ_MSG(test, nr_recalls, 1, "event %d", i);
		KUNIT_EXPECT_NULL_MSG(test, strchr(log_until_recall, '+'), "%s",
				      log_until_recall);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(flagged.log, "+a"), "%s", flagged.log);
		KUNIT_EXPECT_EQ(test, event->state, PERF_EVENT_STATE_ACTIVE);

		/* Once is enough. */
		perf_event_disable(event);
		perf_event_enable(event);
		KUNIT_EXPECT_EQ_MSG(test, nr_recalls, 1, "event %d", i);
		kunit_release_action(test, release_event, event);
	}
}

/* An event that is enabled gets a counter as well, one that leaves needs none. */
static void enabled_event_recalls_values(struct kunit *test)
{
	struct perf_event *a, *b;

	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	a = new_event(test, &flagged, EVENT(.id = 'a', .disabled = true));
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	leaving_hypervisor(test, true);
	guest_leaves_values(test);
	perf_event_disable(b);
	KUNIT_EXPECT_EQ(test, nr_recalls, 0);
	perf_event_enable(a);
	KUNIT_EXPECT_EQ(test, nr_recalls, 1);
	KUNIT_EXPECT_NULL_MSG(test, strchr(log_until_recall, '+'), "%s", log_until_recall);
}

static void other_events_let_guest_leave_values(struct kunit *test)
{
	int cpu = test_cpu(test);

	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	leaving_hypervisor(test, true);
	guest_leaves_values(test);
	new_event(test, &plain, EVENT(.id = 'a'));
	new_event(test, &plain, EVENT(.id = 'b', .task = true));
	guest_leaves_values(test);
	KUNIT_EXPECT_EQ(test, nr_recalls, 0);

	/* The hypervisor took them out by itself. */
	smp_call_function_single(cpu, values_are_gone_ipi, NULL, 1);
	new_event(test, &flagged, EVENT(.id = 'c'));
	KUNIT_EXPECT_EQ(test, nr_recalls, 0);
}

static void enter_and_leave_ipi(void *unused)
{
	perf_guest_enter();
	perf_guest_leave(COUNTER('a'));
}

/* Events that have waited for the end of the guest don't find its values either. */
static void waiting_event_recalls_values(struct kunit *test)
{
	int cpu = test_cpu(test);
	struct perf_event *a;

	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	leaving_hypervisor(test, true);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, enter_and_leave_ipi, NULL, 1), 0);
	a = try_event(&flagged, cpu, EVENT(.id = 'a'));
	KUNIT_EXPECT_EQ(test, nr_recalls, 0);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, a), 0);
	KUNIT_EXPECT_EQ(test, nr_recalls, 1);
	KUNIT_EXPECT_NULL_MSG(test, strchr(log_until_recall, '+'), "%s", log_until_recall);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(flagged.log, "+a"), "%s", flagged.log);
}

/* The PMU is disabled all the while, and its driver is told once. */
static void guest_stops_events(struct kunit *test)
{
	struct window w;

	new_event(test, &flagged, EVENT(.id = 'a'));
	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a");
	KUNIT_EXPECT_STREQ(test, w.exit, ")aE");

	new_event(test, &flagged, EVENT(.id = 'b', .task = true));
	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a(b");
	KUNIT_EXPECT_STREQ(test, w.exit, ")a)bE");
	KUNIT_EXPECT_EQ(test, flagged.nr_events, 2);
}

/* No event of the CPU: the task's are stopped alone. */
static void guest_stops_task_events(struct kunit *test)
{
	struct window w;

	new_event(test, &flagged, EVENT(.id = 'a', .task = true));
	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a");
	KUNIT_EXPECT_STREQ(test, w.exit, ")aE");
}

static void guest_leaves_other_pmus_alone(struct kunit *test)
{
	struct window w;

	new_event(test, &flagged, EVENT(.id = 'a'));
	new_event(test, &plain, EVENT(.id = 'b'));
	new_event(test, &plain, EVENT(.id = 'c', .task = true));
	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a");
	KUNIT_EXPECT_STREQ(test, w.exit, ")aE");
	KUNIT_EXPECT_STREQ(test, w.plain, "");
}

static void guest_stops_groups(struct kunit *test)
{
	struct perf_event *a;
	struct window w;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	new_event(test, &flagged, EVENT(.id = 'b', .leader = a));
	new_event(test, &flagged, EVENT(.id = 'c', .leader = a));
	new_event(test, &flagged, EVENT(.id = 'd'));
	KUNIT_ASSERT_EQ(test, a->nr_siblings, 2);

	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a(b(c(d");
	KUNIT_EXPECT_STREQ(test, w.exit, ")a)b)c)dE");
}

/*
 * What had to wait for the guest is scheduled by priority, pinned before flexible,
 * and of each kind the CPU's before the task's.
 */
static void events_wait_by_priority(struct kunit *test)
{
	int cpu = test_cpu(test);
	struct perf_event *events[4];
	char log[sizeof(flagged.log)];
	int i;

	events[0] = new_event(test, &flagged, EVENT(.id = 'a', .task = true, .disabled = true));
	events[1] = new_event(test, &flagged, EVENT(.id = 'b', .disabled = true));
	events[2] = new_event(test, &flagged, EVENT(.id = 'c', .task = true, .pinned = true,
						    .disabled = true));
	events[3] = new_event(test, &flagged, EVENT(.id = 'd', .pinned = true, .disabled = true));

	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	for (i = 0; i < ARRAY_SIZE(events); i++)
		perf_event_enable(events[i]);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);
	strscpy(log, flagged.log);

	KUNIT_EXPECT_STREQ(test, log, "+d+c+b+aE");
}

/* An event that makes way for a guest remains what it is, be it one that counts guests. */
static void stopped_events_stay_active(struct kunit *test)
{
	struct perf_event *events[4];
	enum perf_event_state inside[4];
	unsigned long flags;
	int i;

	events[0] = new_event(test, &flagged, EVENT(.id = 'a', .pinned = true));
	events[1] = new_event(test, &flagged, EVENT(.id = 'b'));
	events[2] = new_event(test, &flagged, EVENT(.id = 'c', .task = true, .pinned = true));
	events[3] = new_event(test, &flagged, EVENT(.id = 'd', .include_guest = true));

	local_irq_save(flags);
	perf_guest_enter();
	for (i = 0; i < ARRAY_SIZE(events); i++)
		inside[i] = events[i]->state;
	perf_guest_exit();
	local_irq_restore(flags);

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		KUNIT_EXPECT_EQ_MSG(test, inside[i], PERF_EVENT_STATE_ACTIVE, "event %d", i);
		KUNIT_EXPECT_EQ_MSG(test, events[i]->state, PERF_EVENT_STATE_ACTIVE, "event %d", i);
	}
}

/* Members of a group that are not on the PMU that is lent go on, and so does their leader. */
static void other_members_of_groups_go_on(struct kunit *test)
{
	struct perf_event *a, *b, *c, *d;
	enum perf_event_state inside[2];
	unsigned long flags;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &plain, EVENT(.id = 'b', .leader = a));
	c = new_event(test, &plain, EVENT(.id = 'c'));
	d = new_event(test, &flagged, EVENT(.id = 'd', .leader = c));
	/* Has the groups of that PMU scheduled anew, d with them, as d did with b. */
	new_event(test, &plain, EVENT(.id = 'e'));
	KUNIT_ASSERT_EQ(test, a->nr_siblings, 1);
	KUNIT_ASSERT_EQ(test, c->nr_siblings, 1);
	KUNIT_ASSERT_EQ(test, b->state, PERF_EVENT_STATE_ACTIVE);
	KUNIT_ASSERT_EQ(test, d->state, PERF_EVENT_STATE_ACTIVE);

	local_irq_save(flags);
	clear_log(&flagged);
	clear_log(&plain);
	perf_guest_enter();
	inside[0] = b->state;
	inside[1] = c->state;
	perf_guest_exit();
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, inside[0], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_EQ(test, inside[1], PERF_EVENT_STATE_ACTIVE);
	KUNIT_EXPECT_STREQ(test, plain.log, "");
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(flagged.log, "(a"), "%s", flagged.log);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(flagged.log, "(d"), "%s", flagged.log);
}

static void exclusive_event_stays_alone(struct kunit *test)
{
	struct perf_event *b;
	struct window w;

	new_event(test, &flagged, EVENT(.id = 'a', .pinned = true, .exclusive = true));
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.enter, "D(a");
	KUNIT_EXPECT_STREQ(test, w.exit, ")aE");
	KUNIT_EXPECT_EQ(test, b->state, PERF_EVENT_STATE_INACTIVE);
}

/* A counter for two: guests neither stop the rotation nor always favour the same event. */
static void events_take_turns_among_guests(struct kunit *test)
{
	u64 enabled, a_running, b_running;
	struct perf_event *a, *b;
	struct window w;
	int i;

	flagged.capacity = 1;
	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	for (i = 0; i < 50; i++) {
		guest_runs(NSEC_PER_MSEC, &w);
		spend(NSEC_PER_MSEC);
	}
	perf_event_read_value(b, &enabled, &b_running);
	perf_event_read_value(a, &enabled, &a_running);
	KUNIT_EXPECT_GT(test, a_running, enabled / 10);
	KUNIT_EXPECT_GT(test, b_running, enabled / 10);
	KUNIT_EXPECT_LE(test, a_running + b_running, enabled);
}

/* With no event there was nothing to enable at the end; the next event makes up for it. */
static void first_event_after_guest_enables_pmu(struct kunit *test)
{
	struct window w;

	guest_runs(0, &w);
	KUNIT_EXPECT_STREQ(test, w.exit, "");

	clear_log(&flagged);
	new_event(test, &flagged, EVENT(.id = 'a'));
	KUNIT_EXPECT_EQ_MSG(test, flagged.log[0], 'D', "%s", flagged.log);
	KUNIT_EXPECT_EQ_MSG(test, flagged.log[flagged.log_len - 1], 'E', "%s", flagged.log);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(flagged.log, "+a"), "%s", flagged.log);
}

static void many_guests(struct kunit *test)
{
	struct window w = { };
	int i;

	new_event(test, &flagged, EVENT(.id = 'a'));
	new_event(test, &flagged, EVENT(.id = 'b', .task = true));
	for (i = 0; i < 1000; i++) {
		guest_runs(0, &w);
		if (strcmp(w.enter, "D(a(b") || strcmp(w.exit, ")a)bE"))
			break;
	}
	KUNIT_EXPECT_EQ_MSG(test, i, 1000, "%s %s", w.enter, w.exit);
}

/*
 * Time
 */
struct times {
	u64 enabled;
	u64 running;
	u64 before;	/* enabled time of a reference right before, right after */
	u64 after;
};

static struct times read_times(struct perf_event *event, struct perf_event *ref)
{
	struct times t;
	u64 unused;

	perf_event_read_value(ref, &t.before, &unused);
	perf_event_read_value(event, &t.enabled, &t.running);
	perf_event_read_value(ref, &t.after, &unused);

	return t;
}

/*
 * Compare the times of an event with those of an event that runs all the time,
 * and of the same context, as the times of a task's events stop when the task
 * is preempted. All bounds are strict, so a slow machine can't fail the test.
 */
static void expect_times(struct kunit *test, struct perf_event *event, struct perf_event *ref,
			 bool enabled_in_guest, bool running_in_guest)
{
	struct times t0, t1;
	struct window w;
	u64 min, max;

	t0 = read_times(event, ref);
	guest_runs(10 * NSEC_PER_MSEC, &w);
	t1 = read_times(event, ref);

	min = t1.before - t0.after;
	max = t1.after - t0.before;
	KUNIT_EXPECT_GE(test, min, w.inner);
	KUNIT_EXPECT_GE(test, w.inner, 10 * NSEC_PER_MSEC);

	t1.enabled -= t0.enabled;
	t1.running -= t0.running;
	KUNIT_EXPECT_LE(test, t1.enabled, max - (enabled_in_guest ? 0 : w.inner));
	KUNIT_EXPECT_GE(test, t1.enabled, min - (enabled_in_guest ? 0 : w.outer));
	KUNIT_EXPECT_LE(test, t1.running, max - (running_in_guest ? 0 : w.inner));
	KUNIT_EXPECT_GE(test, t1.running, min - (running_in_guest ? 0 : w.outer));
	if (enabled_in_guest == running_in_guest)
		KUNIT_EXPECT_EQ(test, t1.enabled, t1.running);
}

static void time_of_cpu_events(struct kunit *test)
{
	struct perf_event *a, *b, *c, *d;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &flagged, EVENT(.id = 'b', .include_guest = true));
	c = new_event(test, &plain, EVENT(.id = 'c'));
	d = new_event(test, &plain, EVENT(.id = 'd', .include_guest = true));

	expect_times(test, a, d, false, false);
	expect_times(test, b, d, true, true);
	expect_times(test, c, d, true, true);
	expect_times(test, d, c, true, true);
	expect_times(test, a, c, false, false);
}

static void time_of_task_events(struct kunit *test)
{
	struct perf_event *a, *b;

	a = new_event(test, &flagged, EVENT(.id = 'a', .task = true));
	b = new_event(test, &plain, EVENT(.id = 'b', .task = true));

	expect_times(test, a, b, false, false);
	expect_times(test, b, b, true, true);
}

/* An event that comes after guests have run has no time of guests, either. */
static void time_of_late_events(struct kunit *test)
{
	struct perf_event *a, *b, *c;
	u64 start, enabled, running;
	struct window w;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	c = new_event(test, &plain, EVENT(.id = 'c'));
	guest_runs(10 * NSEC_PER_MSEC, &w);

	start = local_clock();
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	perf_event_read_value(b, &enabled, &running);
	KUNIT_EXPECT_LE(test, enabled, local_clock() - start);
	KUNIT_EXPECT_EQ(test, enabled, running);
	expect_times(test, b, c, false, false);
	expect_times(test, a, c, false, false);
}

/* Whatever has become of the events that the guest displaced, the clock goes on. */
static void time_after_last_event_has_gone(struct kunit *test)
{
	u64 before, after, running;
	int cpu = test_cpu(test);
	struct perf_event *a;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	kunit_release_action(test, release_event, a);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	perf_event_read_value(a, &before, &running);
	spend(10 * NSEC_PER_MSEC);
	perf_event_read_value(a, &after, &running);
	KUNIT_EXPECT_GE(test, after - before, 10 * NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, after, running);
}

/* What is not enabled has no time, with guests or without; and what is enabled later, only that. */
static void time_of_disabled_events(struct kunit *test)
{
	u64 enabled, running, start;
	struct perf_event *a, *c;
	struct window w;

	a = new_event(test, &flagged, EVENT(.id = 'a', .disabled = true));
	c = new_event(test, &plain, EVENT(.id = 'c'));
	guest_runs(NSEC_PER_MSEC, &w);
	perf_event_read_value(a, &enabled, &running);
	KUNIT_EXPECT_EQ(test, enabled, 0);
	KUNIT_EXPECT_EQ(test, running, 0);

	start = local_clock();
	perf_event_enable(a);
	perf_event_read_value(a, &enabled, &running);
	KUNIT_EXPECT_LE(test, enabled, local_clock() - start);
	KUNIT_EXPECT_EQ(test, enabled, running);
	expect_times(test, a, c, false, false);

	perf_event_disable(a);
	perf_event_read_value(a, &start, &running);
	guest_runs(NSEC_PER_MSEC, &w);
	perf_event_read_value(a, &enabled, &running);
	KUNIT_EXPECT_EQ(test, enabled, start);
	KUNIT_EXPECT_EQ(test, enabled, running);
}

/* Thousands of short guests must not make the two times drift apart. */
static void times_stay_equal(struct kunit *test)
{
	struct perf_event *a, *b;
	u64 enabled, running;
	struct window w;
	int i;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &flagged, EVENT(.id = 'b', .task = true));
	for (i = 0; i < 2000; i++)
		guest_runs(0, &w);

	perf_event_read_value(a, &enabled, &running);
	KUNIT_EXPECT_EQ(test, enabled, running);
	perf_event_read_value(b, &enabled, &running);
	KUNIT_EXPECT_EQ(test, enabled, running);
}

/* What NMIs, BPF programs and user pages see, which take no locks. */
static void time_now(struct kunit *test)
{
	u64 a_enabled[4], a_running[4], c_enabled[4], value;
	struct perf_event *a, *c;
	unsigned long flags;
	int i, ret = 0;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	c = new_event(test, &plain, EVENT(.id = 'c'));

	local_irq_save(flags);
	for (i = 0; i < ARRAY_SIZE(a_enabled); i++) {
		if (i == 1)
			perf_guest_enter();
		ret = ret ?: perf_event_read_local(a, &value, &a_enabled[i], &a_running[i]);
		ret = ret ?: perf_event_read_local(c, &value, &c_enabled[i], NULL);
		spend(NSEC_PER_MSEC);
		if (i == 2)
			perf_guest_exit();
	}
	local_irq_restore(flags);

	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_EXPECT_GE(test, a_enabled[1], a_enabled[0]);
	KUNIT_EXPECT_EQ(test, a_enabled[2], a_enabled[1]);
	KUNIT_EXPECT_EQ(test, a_running[2], a_running[1]);
	KUNIT_EXPECT_GE(test, a_enabled[3], a_enabled[2]);
	KUNIT_EXPECT_LT(test, a_enabled[3] - a_enabled[2], c_enabled[3] - c_enabled[2]);
	KUNIT_EXPECT_EQ(test, a_enabled[3], a_running[3]);
	for (i = 1; i < ARRAY_SIZE(c_enabled); i++)
		KUNIT_EXPECT_GE(test, c_enabled[i] - c_enabled[i - 1], NSEC_PER_MSEC);
}

/*
 * The same for a pinned event. It is as good as running while it makes way for a
 * guest, unless it would not be running without the guest either.
 */
static void pinned_event_is_read_locally(struct kunit *test)
{
	struct perf_event *a, *b, *c;
	u64 value[3], enabled[3], running[3];
	unsigned long flags;
	int i, ret[3], error[3], off[3];

	flagged.capacity = 1;
	a = new_event(test, &flagged, EVENT(.id = 'a', .pinned = true));
	b = new_event(test, &flagged, EVENT(.id = 'b', .pinned = true));
	c = new_event(test, &flagged, EVENT(.id = 'c', .pinned = true, .disabled = true));
	KUNIT_ASSERT_EQ(test, b->state, PERF_EVENT_STATE_ERROR);

	local_irq_save(flags);
	for (i = 0; i < ARRAY_SIZE(ret); i++) {
		if (i == 1)
			perf_guest_enter();
		local64_set(&a->count, 100 + i);
		ret[i] = perf_event_read_local(a, &value[i], &enabled[i], &running[i]);
		error[i] = perf_event_read_local(b, &value[i], NULL, NULL);
		off[i] = perf_event_read_local(c, &value[i], NULL, NULL);
		if (i == 1)
			perf_guest_exit();
	}
	local_irq_restore(flags);

	for (i = 0; i < ARRAY_SIZE(ret); i++) {
		KUNIT_EXPECT_EQ_MSG(test, ret[i], 0, "read %d", i);
		KUNIT_EXPECT_EQ_MSG(test, value[i], 100 + i, "read %d", i);
		KUNIT_EXPECT_EQ_MSG(test, enabled[i], running[i], "read %d", i);
		KUNIT_EXPECT_EQ_MSG(test, error[i], -EBUSY, "read %d", i);
		KUNIT_EXPECT_EQ_MSG(test, off[i], -EBUSY, "read %d", i);
	}
}

/*
 * Misuse, and what can't happen
 */
static void new_events_wait_for_host(struct kunit *test)
{
	int cpu = test_cpu(test);
	char log[sizeof(flagged.log)];
	struct perf_event *a;

	/* An event that makes way, and is not scheduled anew for the sake of the other. */
	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	a = try_event(&flagged, cpu, EVENT(.id = 'a'));
	strscpy(log, flagged.log);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, release_event, a), 0);
	KUNIT_EXPECT_NULL_MSG(test, strstr(log, "+a"), "%s", log);
	KUNIT_EXPECT_STREQ(test, flagged.log, ")z+aE");
	KUNIT_EXPECT_EQ(test, a->state, PERF_EVENT_STATE_ACTIVE);
}

/* The same for an event that exists already, and for its end. */
static void enabled_event_waits_for_host(struct kunit *test)
{
	int cpu = test_cpu(test);
	char log[sizeof(flagged.log)];
	enum perf_event_state inside;
	struct perf_event *a;
	u64 enabled, running;

	a = new_event(test, &flagged, EVENT(.id = 'a', .disabled = true));
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	perf_event_enable(a);
	inside = a->state;
	strscpy(log, flagged.log);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_EXPECT_EQ(test, inside, PERF_EVENT_STATE_INACTIVE);
	KUNIT_EXPECT_NULL_MSG(test, strchr(log, '+'), "%s", log);
	KUNIT_EXPECT_STREQ(test, flagged.log, "+aE");
	perf_event_read_value(a, &enabled, &running);
	KUNIT_EXPECT_EQ(test, enabled, running);
}

static void disabled_event_stays_away(struct kunit *test)
{
	int cpu = test_cpu(test);
	struct perf_event *a, *b;

	a = new_event(test, &flagged, EVENT(.id = 'a'));
	b = new_event(test, &flagged, EVENT(.id = 'b'));
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_enter_ipi, NULL, 1), 0);
	perf_event_disable(a);
	kunit_release_action(test, release_event, b);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_EXPECT_NULL_MSG(test, strchr(flagged.log, '+'), "%s", flagged.log);
	KUNIT_EXPECT_EQ(test, a->state, PERF_EVENT_STATE_OFF);
	KUNIT_EXPECT_EQ(test, flagged.nr_events, 0);
}

static int nr_unbalanced;

static void count_unbalanced(const char *func)
{
	nr_unbalanced++;
}

static void stop_expecting_unbalanced(void *test)
{
	stubs(test)->unbalanced = NULL;
}

static void expect_unbalanced(struct kunit *test)
{
	nr_unbalanced = 0;
	stubs(test)->unbalanced = count_unbalanced;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, stop_expecting_unbalanced, test), 0);
}

/* A hypervisor that keeps the PMU nevertheless does not lose the host's event. */
static void event_waits_if_pmu_is_not_returned(struct kunit *test)
{
	char log[sizeof(flagged.log)];
	int cpu = test_cpu(test);
	struct perf_event *a;

	expect_unbalanced(test);
	fake_hypervisor(test, false);
	KUNIT_ASSERT_TRUE(test, guest_may_keep(test));
	a = new_event(test, &flagged, EVENT(.id = 'a', .pinned = true));
	strscpy(log, flagged.log);
	clear_log(&flagged);
	KUNIT_ASSERT_EQ(test, smp_call_function_single(cpu, guest_exit_ipi, NULL, 1), 0);

	KUNIT_EXPECT_EQ(test, nr_recalls, 1);
	KUNIT_EXPECT_EQ(test, nr_unbalanced, 1);
	KUNIT_EXPECT_STREQ(test, log, "");
	KUNIT_EXPECT_STREQ(test, flagged.log, "D+aE");
	KUNIT_EXPECT_EQ(test, a->state, PERF_EVENT_STATE_ACTIVE);
	kunit_release_action(test, stop_expecting_unbalanced, test);
}

/* One that does not take its values out loses them, and says so. */
static void event_is_scheduled_if_values_remain(struct kunit *test)
{
	struct perf_event *a;

	expect_unbalanced(test);
	new_event(test, &flagged, EVENT(.id = 'z', .pinned = true));
	leaving_hypervisor(test, false);
	guest_leaves_values(test);
	a = new_event(test, &flagged, EVENT(.id = 'a'));

	KUNIT_EXPECT_EQ(test, nr_recalls, 1);
	KUNIT_EXPECT_EQ(test, nr_unbalanced, 1);
	KUNIT_EXPECT_EQ(test, a->state, PERF_EVENT_STATE_ACTIVE);
	kunit_release_action(test, stop_expecting_unbalanced, test);
}

static void unbalanced_calls_are_refused(struct kunit *test)
{
	unsigned long flags;
	char log[sizeof(flagged.log)];
	int nr[4];

	new_event(test, &flagged, EVENT(.id = 'a'));
	expect_unbalanced(test);

	local_irq_save(flags);
	clear_log(&flagged);
	perf_guest_exit();
	nr[0] = nr_unbalanced;
	perf_guest_enter();
	nr[1] = nr_unbalanced;
	perf_guest_enter();
	nr[2] = nr_unbalanced;
	perf_guest_exit();
	nr[3] = nr_unbalanced;
	strscpy(log, flagged.log);
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, nr[0], 1);
	KUNIT_EXPECT_EQ(test, nr[1], 1);
	KUNIT_EXPECT_EQ(test, nr[2], 2);
	KUNIT_EXPECT_EQ(test, nr[3], 2);
	KUNIT_EXPECT_STREQ(test, log, "D(a)aE");

	/* Too many puts must not let events through that a VM keeps away. */
	perf_put_passthrough_pmu(NULL);
	KUNIT_EXPECT_EQ(test, nr_unbalanced, 3);
	KUNIT_ASSERT_EQ(test, perf_get_passthrough_pmu(NULL, NULL, 0), 0);
	expect_refused(test, &flagged, EVENT(.id = 'b', .include_guest = true));
	perf_put_passthrough_pmu(NULL);
	KUNIT_EXPECT_EQ(test, nr_unbalanced, 3);

	kunit_release_action(test, stop_expecting_unbalanced, test);
}

/*
 * Cgroups
 */
#ifdef CONFIG_CGROUP_PERF
static struct perf_cgroup *current_cgroup(void)
{
	guard(rcu)();
	/* Pinned by the current task, a kernel thread, which stays there. */
	return perf_cgroup_from_task(current, NULL);
}

static void time_of_cgroup_events(struct kunit *test)
{
	struct perf_cgroup *cgrp = current_cgroup();
	struct perf_event *a, *b;

	a = new_event(test, &flagged, EVENT(.id = 'a', .cgrp = cgrp));
	b = new_event(test, &plain, EVENT(.id = 'b', .cgrp = cgrp));

	expect_times(test, a, b, false, false);
	expect_times(test, b, b, true, true);
}

static void cgroup_clock_stops(struct kunit *test)
{
	struct perf_cgroup *cgrp = current_cgroup();
	unsigned long flags;
	int stopped[3];

	new_event(test, &flagged, EVENT(.id = 'a', .cgrp = cgrp));

	local_irq_save(flags);
	stopped[0] = this_cpu_ptr(cgrp->info)->host_clock.stopped;
	perf_guest_enter();
	stopped[1] = this_cpu_ptr(cgrp->info)->host_clock.stopped;
	perf_guest_exit();
	stopped[2] = this_cpu_ptr(cgrp->info)->host_clock.stopped;
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, stopped[0], 0);
	KUNIT_EXPECT_EQ(test, stopped[1], 1);
	KUNIT_EXPECT_EQ(test, stopped[2], 0);
}

/* An event of a cgroup that nothing runs in: events, but none active, no time. */
static void guest_with_idle_cgroup_events(struct kunit *test)
{
	struct perf_cgroup *cgrp = kunit_kzalloc(test, sizeof(*cgrp), GFP_KERNEL);
	struct cgroup *cgroup = kunit_kzalloc(test, sizeof(*cgroup), GFP_KERNEL);
	struct kernfs_node *kn = kunit_kzalloc(test, sizeof(*kn), GFP_KERNEL);
	struct perf_event *event;
	struct window w;

	KUNIT_ASSERT_NOT_NULL(test, cgrp);
	KUNIT_ASSERT_NOT_NULL(test, cgroup);
	KUNIT_ASSERT_NOT_NULL(test, kn);

	kn->id = ~0ULL;
	cgroup->kn = kn;
	cgrp->css.cgroup = cgroup;
	cgrp->css.flags = CSS_NO_REF;
	cgrp->info = alloc_percpu(struct perf_cgroup_info);
	KUNIT_ASSERT_TRUE(test, !!cgrp->info);

	event = try_event(&flagged, test_cpu(test), EVENT(.id = 'a', .cgrp = cgrp));
	if (!IS_ERR(event)) {
		KUNIT_EXPECT_EQ(test, event->state, PERF_EVENT_STATE_INACTIVE);
		guest_runs(0, &w);
		KUNIT_EXPECT_STREQ(test, w.enter, "D");
		KUNIT_EXPECT_STREQ(test, w.exit, "E");
		perf_event_release_kernel(event);
	}
	synchronize_rcu();
	free_percpu(cgrp->info);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, event);
}
#endif /* CONFIG_CGROUP_PERF */

static bool warned;

/* Events go away after the exit of their test, so the next test looks for them. */
static void all_events_are_gone(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, flagged.nr_events, 0);
	KUNIT_ASSERT_EQ(test, plain.nr_events, 0);
	KUNIT_ASSERT_FALSE(test, flagged.disabled || plain.disabled);
	KUNIT_ASSERT_NULL(test, strchr(flagged.log, '!'));
	KUNIT_ASSERT_EQ(test, test_taint(TAINT_WARN), warned);
}

static int perf_guest_test_init(struct kunit *test)
{
	int cpu = get_cpu();

	put_cpu();
	all_events_are_gone(test);
	test->priv = (void *)(long)cpu;

	flagged.capacity = 8;
	plain.capacity = 8;
	flagged.pmu.capabilities = PERF_PMU_CAP_PASSTHROUGH_VPMU;
	plain.pmu.capabilities = 0;
	clear_log(&flagged);
	clear_log(&plain);

	return set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

static void perf_guest_test_exit(struct kunit *test)
{
	/* A WARN() of perf core is a failure of the test that caused it. */
	KUNIT_EXPECT_EQ(test, test_taint(TAINT_WARN), warned);
}

static int perf_guest_suite_init(struct kunit_suite *suite)
{
	char blocker[PERF_GUEST_BLOCKER_SIZE];
	int ret;

	warned = test_taint(TAINT_WARN);

	/* Events or VMs of others would make each test of exclusion fail. */
	ret = perf_get_passthrough_pmu(NULL, blocker, sizeof(blocker));
	if (ret) {
		pr_err("an event counts guests for %s\n", blocker);
		return ret;
	}
	perf_put_passthrough_pmu(NULL);

	ret = fake_pmu_register(&flagged, "kunit_flagged", PERF_PMU_CAP_PASSTHROUGH_VPMU);
	if (ret)
		return ret;

	ret = fake_pmu_register(&plain, "kunit_plain", 0);
	if (ret)
		perf_pmu_unregister(&flagged.pmu);

	return ret;
}

static void perf_guest_suite_exit(struct kunit_suite *suite)
{
	perf_pmu_unregister(&plain.pmu);
	perf_pmu_unregister(&flagged.pmu);
}

static struct kunit_case perf_guest_test_cases[] = {
	KUNIT_CASE(event_keeps_vms_away),
	KUNIT_CASE(vm_keeps_events_away),
	KUNIT_CASE(vm_tolerates_other_events),
	KUNIT_CASE(vm_tolerates_events_of_other_tasks),
	KUNIT_CASE(context_keeps_vms_away),
	KUNIT_CASE(failed_events_are_not_counted),
	KUNIT_CASE(accounting_outlives_attributes),
	KUNIT_CASE(disabled_event_keeps_vms_away),
	KUNIT_CASE(refused_vm_learns_of_oldest_event),
	KUNIT_CASE(refused_vm_learns_of_task),
	KUNIT_CASE(vms_are_seen_while_they_live),
	KUNIT_CASE_SLOW(vms_and_events_race),
	KUNIT_CASE(guest_without_events),
	KUNIT_CASE(guest_without_events_leaves_contexts_alone),
	KUNIT_CASE(flagged_events_are_counted),
	KUNIT_CASE(lent_pmu_stays_disabled),
	KUNIT_CASE(guest_keeps_pmu_without_events),
	KUNIT_CASE(new_event_recalls_pmu),
	KUNIT_CASE(tracing_event_recalls_pmu),
	KUNIT_CASE(tracing_member_recalls_pmu),
	KUNIT_CASE(tracing_members_go_on),
	KUNIT_CASE(other_events_let_guest_keep_pmu),
	KUNIT_CASE(host_counters_are_known),
	KUNIT_CASE(new_event_recalls_values),
	KUNIT_CASE(enabled_event_recalls_values),
	KUNIT_CASE(other_events_let_guest_leave_values),
	KUNIT_CASE(waiting_event_recalls_values),
	KUNIT_CASE(guest_stops_events),
	KUNIT_CASE(guest_stops_task_events),
	KUNIT_CASE(guest_leaves_other_pmus_alone),
	KUNIT_CASE(guest_stops_groups),
	KUNIT_CASE(events_wait_by_priority),
	KUNIT_CASE(stopped_events_stay_active),
	KUNIT_CASE(other_members_of_groups_go_on),
	KUNIT_CASE(exclusive_event_stays_alone),
	KUNIT_CASE(events_take_turns_among_guests),
	KUNIT_CASE(first_event_after_guest_enables_pmu),
	KUNIT_CASE(many_guests),
	KUNIT_CASE(time_of_cpu_events),
	KUNIT_CASE(time_of_task_events),
	KUNIT_CASE(time_of_late_events),
	KUNIT_CASE(time_after_last_event_has_gone),
	KUNIT_CASE(time_of_disabled_events),
	KUNIT_CASE(times_stay_equal),
	KUNIT_CASE(time_now),
	KUNIT_CASE(pinned_event_is_read_locally),
	KUNIT_CASE(new_events_wait_for_host),
	KUNIT_CASE(enabled_event_waits_for_host),
	KUNIT_CASE(event_waits_if_pmu_is_not_returned),
	KUNIT_CASE(disabled_event_stays_away),
	KUNIT_CASE(event_is_scheduled_if_values_remain),
	KUNIT_CASE(unbalanced_calls_are_refused),
#ifdef CONFIG_CGROUP_PERF
	KUNIT_CASE(time_of_cgroup_events),
	KUNIT_CASE(cgroup_clock_stops),
	KUNIT_CASE(guest_with_idle_cgroup_events),
#endif
	KUNIT_CASE(all_events_are_gone),
	{ }
};

static struct kunit_suite perf_guest_test_suite = {
	.name = "perf_guest",
	.suite_init = perf_guest_suite_init,
	.suite_exit = perf_guest_suite_exit,
	.init = perf_guest_test_init,
	.exit = perf_guest_test_exit,
	.test_cases = perf_guest_test_cases,
};

kunit_test_suite(perf_guest_test_suite);

MODULE_DESCRIPTION("KUnit tests of lending PMUs to virtual machines");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
