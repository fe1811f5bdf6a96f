// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls of everything that sets, copies or rebinds a memory policy, each
 * compared with what a model says has to come of it.
 *
 * A case is a sequence of steps.  A coordinator has threads of several processes
 * make them, one at a time, or several at once of which no two act on the same
 * thing; or, while the mems of a process are changed, a step of that process,
 * which then has to end as if it had been made before or after.  When all is
 * quiet, after each of these, compared are: what the calls returned, the policy
 * and the mems of every thread, the policies of all addresses, numa_maps of every
 * thread, and where pages are that were touched.
 *
 * What a policy becomes is in mempolicy_model.h; here is whose policy becomes
 * what: those of tasks follow the cpuset of the task, those of VMAs the cpuset of
 * the thread group leader, or of the oldest thread if that has exited, those of
 * shared memory none.
 *
 * On a mismatch steps are left out one after the other for as long as there is
 * still one; what remains is printed.
 *
 * In the environment: SECONDS=n, how long (20), or up to five times that if a kind
 * of step was not made yet; or CASES=n, how many; SEED=n; CASE=n, this one only;
 * STEPS=n, of a case (40); MODE=v1 or v2 (v1); WITHOUT=step,step leaves out kinds of
 * steps.
 *
 * PLANT=n has the first test make the n-th of the mistakes below in the model, which
 * then has to be found; PLANT=-1 all of them; by default the first, and one that
 * SEED chooses.
 *
 * OLD=1 is for the kernel before the series: what is preferred shows other nodes
 * after an update, and VMA policies follow nobody when the leader has exited.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "kselftest.h"
#include "guest.h"
#include "mm/mempolicy_model.h"

#define NR_PROCS	4
#define NR_THREADS	3	/* of each; the first is the leader, if there is one */
#define ARENA_PAGES	16	/* private */
#define SHARED_PAGES	8	/* of a file, behind them as far as numbers go */
#define NR_PAGES	(ARENA_PAGES + SHARED_PAGES)
#define ARENA		0x10000000000UL
#define SHARED		0x10010000000UL
#define MAX_STEPS	400
#define MAX_TOGETHER	4
#define MAX_WORLDS	64
#define MAX_DELAY	3000	/* microseconds */
#define TOUCH_AGAIN	50	/* to meet what happens at the same time */
#define ANSWER_SECONDS	30
#define MAX_REPLAYS	400
#define PLANT_CASES	200
#define PLANT_STEPS	4	/* that may be left when one is found */

#define MEMFD		99
/* Of each thread: commands to read and write, replies to read and write */
#define FD(slot, which)	(100 + (slot) * 4 + (which))
#define SLOT(proc, thread) ((proc) * NR_THREADS + (thread))

#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node	450
#endif

#define OPS(op)								\
	op(mbind) op(mbind_move) op(mbind_strict) op(mbind_shared)	\
	op(home_node) op(home_shared) op(set_mempolicy)			\
	op(migrate_pages) op(touch) op(touch_shared)			\
	op(fork) op(thread) op(exec) op(exec_thread)			\
	op(exit) op(exit_thread) op(exit_leader)			\
	op(mems) op(move) op(move_thread) op(move_leader)

#define OP_ENUM(name)	OP_##name,
#define OP_NAME(name)	#name,
enum op { OPS(OP_ENUM) NR_OPS, OP_look };
static const char * const op_name[] = { OPS(OP_NAME) };

/* How often each is rolled, among them all */
static const unsigned char op_share[NR_OPS] = {
	[OP_mbind] = 14, [OP_mbind_move] = 3, [OP_mbind_strict] = 3,
	[OP_mbind_shared] = 5, [OP_home_node] = 5, [OP_home_shared] = 3,
	[OP_set_mempolicy] = 12, [OP_migrate_pages] = 2, [OP_touch] = 10,
	[OP_touch_shared] = 3, [OP_fork] = 5, [OP_thread] = 6, [OP_exec] = 2,
	[OP_exec_thread] = 2, [OP_exit] = 2, [OP_exit_thread] = 1,
	[OP_exit_leader] = 3, [OP_mems] = 12, [OP_move] = 7,
	[OP_move_thread] = 5, [OP_move_leader] = 3,
};

/* As numa_maps has them */
static const char * const mode_name[] = {
	"default", "prefer", "bind", "interleave", "local", "prefer (many)",
	"weighted interleave",
};

#define PLANTS(plant)							\
	plant(no_remap) plant(static_stays) plant(move_is_not_write)	\
	plant(fork_drops_vma_policies) plant(exec_drops_policy)		\
	plant(thread_drops_policy) plant(shared_is_rebound)		\
	plant(task_before_vma) plant(outside_is_fine)			\
	plant(home_is_left)

#define PLANT_ENUM(name)	PLANT_##name,
enum plant { PLANT_none, PLANTS(PLANT_ENUM) NR_PLANTS };
static const char * const plant_name[] = { "", PLANTS(OP_NAME) };

struct step {
	enum op op;
	int proc, thread;	/* who makes it, or is moved */
	int together;		/* with the others of this number, if not 0 */
	int first, nr;		/* pages */
	int mode, flags;
	unsigned long nodes, from;
	int other;		/* process, thread, cpuset or home node */
	int delay;		/* microseconds */
};

struct shown {
	int mode;
	unsigned long nodes;
};

/* Less than PIPE_BUF */
struct reply {
	int err;		/* 0 or an errno */
	pid_t tid;		/* who was made */
	unsigned long seen[NR_PAGES];	/* the nodes of what was touched */
	unsigned long mems;
	struct shown task, page[NR_PAGES];
};

/* The model */
struct policy {
	struct model_policy is;	/* MPOL_DEFAULT: there is none */
	int home;		/* or -1 */
};

struct task {
	pid_t tid;		/* or 0 */
	int cpuset;
	int born;
	struct policy policy;
};

struct process {
	pid_t pid;		/* or 0 */
	struct task task[NR_THREADS];
	struct policy vma[NR_PAGES];	/* for shared pages, not what holds */
};

struct world {
	unsigned long mems[2];	/* of the cpusets */
	int births;
	struct process proc[NR_PROCS];
	struct policy shared[SHARED_PAGES];
};

/* What was seen when all was quiet */
struct numa_maps {
	unsigned long begin;	/* of VMAs: bits of pages */
	char text[NR_PAGES][64];
};

struct look {
	int cpuset[NR_PROCS][NR_THREADS];
	struct reply reply[NR_PROCS][NR_THREADS];
	struct numa_maps maps[NR_PROCS][NR_THREADS];
};

/* What came of a step, besides the reply */
struct result {
	struct reply reply;
	unsigned long before, after;	/* begin of VMAs */
	unsigned long resident;		/* nodes of the pages, for STRICT */
	unsigned long wide;	/* while mems changed: all that was allowed */
};

struct sequence {
	long number;
	unsigned long mems[2];
	int nr;
	struct step step[MAX_STEPS];
};

static struct cpusets cs;
static unsigned long page;
static int node[MODEL_NODES], nr_nodes;
static unsigned long all_nodes;		/* with memory, or 0 if too many */
static bool empty_mems;			/* may be written while there are tasks */
static long seed, nr_steps;
static const char *without;
static enum plant planted;
static bool old_rules;
static uint64_t dice;

static struct look look;
/* One, or several if what was made at once can have ended in several ways */
static struct world world[MAX_WORLDS];
static int nr_worlds;
static char mismatch[1024];

static struct {
	unsigned long made[NR_OPS], refused[NR_OPS], together, raced, late, unsure;
	unsigned long sequences, steps, tasks, vmas, pages, placed;
} counts;
static bool counting;
static struct step last_step;	/* that was rolled */

static char *page_at(int i)
{
	return (char *)(i < ARENA_PAGES ? ARENA + i * page :
					  SHARED + (i - ARENA_PAGES) * page);
}

static int page_of(unsigned long at)
{
	if (at >= ARENA && at < ARENA + ARENA_PAGES * page)
		return (at - ARENA) / page;
	if (at >= SHARED && at < SHARED + SHARED_PAGES * page)
		return ARENA_PAGES + (at - SHARED) / page;
	return -1;
}

/* xorshift64 */
static unsigned int roll(unsigned int sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (dice >> 16) % sides;
}

static bool __attribute__((format(printf, 1, 2))) differs(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(mismatch, sizeof(mismatch), fmt, args);
	va_end(args);
	return false;
}

static const char *list_text(unsigned long nodes)
{
	static char text[4][256];
	static unsigned int turn;
	char *at = text[++turn % 4];
	const char *list = at;
	int first, last;

	*at = '\0';
	for (first = 0; first < MODEL_NODES; first = last + 1) {
		last = first;
		if (!(nodes >> first & 1))
			continue;
		while (last + 1 < MODEL_NODES && nodes >> (last + 1) & 1)
			last++;
		at += sprintf(at, at > list ? ",%d" : "%d", first);
		if (last > first)
			at += sprintf(at, "-%d", last);
	}
	return list;
}

/* As mpol_to_str() has it */
static const char *policy_text(int mode, int flags, unsigned long nodes)
{
	static char text[4][128];
	static unsigned int turn;
	char *at = text[++turn % 4];
	bool balancing = flags & MPOL_F_NUMA_BALANCING;

	sprintf(at, "%s%s%s%s%s%s%s%s", mode_name[mode], flags ? "=" : "",
		flags & MPOL_F_STATIC_NODES ? "static" : "",
		flags & MPOL_F_RELATIVE_NODES ? "relative" : "",
		balancing && flags != MPOL_F_NUMA_BALANCING ? "|" : "",
		balancing ? "balancing" : "", nodes ? ":" : "",
		list_text(nodes));
	return at;
}

static const char *step_text(const struct step *s)
{
	static char text[256];
	const char *how = policy_text(s->mode, s->flags, s->nodes);
	char *at = text;
	bool shared = s->first >= ARENA_PAGES;
	int first = s->first - (shared ? ARENA_PAGES : 0);

	if (s->together)
		at += sprintf(at, "at once (%d): ", s->together);
	if (s->op == OP_mems)
		at += sprintf(at, "cpuset %d ", s->other);
	else
		at += sprintf(at, "p%d.t%d ", s->proc, s->thread);
	at += sprintf(at, "%s", op_name[s->op]);
	switch (s->op) {
	case OP_mbind: case OP_mbind_move: case OP_mbind_strict:
	case OP_mbind_shared:
		sprintf(at, " pages %d-%d %s", first, first + s->nr - 1, how);
		break;
	case OP_home_node: case OP_home_shared:
		sprintf(at, " pages %d-%d node %d", first, first + s->nr - 1,
			s->other);
		break;
	case OP_set_mempolicy:
		sprintf(at, " %s", how);
		break;
	case OP_migrate_pages:
		sprintf(at, " of p%d from %s to %s", s->other,
			list_text(s->from), list_text(s->nodes));
		break;
	case OP_touch: case OP_touch_shared:
		sprintf(at, " pages %d-%d", first, first + s->nr - 1);
		break;
	case OP_fork:
		sprintf(at, ": p%d", s->other);
		break;
	case OP_thread:
		sprintf(at, ": t%d", s->other);
		break;
	case OP_mems:
		sprintf(at, " \"%s\"", list_text(s->nodes));
		break;
	case OP_move: case OP_move_thread: case OP_move_leader:
		sprintf(at, " to cpuset %d", s->other);
		break;
	default:
		break;
	}
	return text;
}

/* The actors: each thread does what it is told. */

struct birth {
	int slot;
	pid_t tid;
};

static void act_on(int slot);

static void *born(void *arg)
{
	struct birth *birth = arg;
	int slot = birth->slot;

	__atomic_store_n(&birth->tid, gettid(), __ATOMIC_RELEASE);
	act_on(slot);
	return NULL;
}

static int map_pages(void)
{
	void *want[] = { (void *)ARENA, (void *)SHARED };

	if (mmap(want[0], ARENA_PAGES * page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
	    want[0] ||
	    mmap(want[1], SHARED_PAGES * page, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, MEMFD, 0) != want[1])
		return errno;
	return 0;
}

static void answer(int slot, const struct reply *reply)
{
	if (write(FD(slot, 3), reply, sizeof(*reply)) != sizeof(*reply))
		_exit(1);
}

static void touch(const struct step *s, struct reply *reply)
{
	int times = s->together ? TOUCH_AGAIN : 1, status, looks, err, i;
	void *at;

	while (times--) {
		for (i = s->first; i < s->first + s->nr; i++) {
			at = page_at(i);
			if (madvise(at, page, i < ARENA_PAGES ? MADV_DONTNEED :
							       MADV_REMOVE))
				reply->err = errno;
			/* ENOENT: it is being migrated; a touch waits for that */
			looks = 0;
			do {
				*(volatile char *)at = 1;
				status = -1;
				err = syscall(__NR_move_pages, 0, 1UL, &at,
					      NULL, &status, 0);
			} while (!err && status == -ENOENT && ++looks < TOUCH_AGAIN);
			if (err)
				reply->err = errno;
			else if (status < 0)
				reply->err = -status;
			else
				reply->seen[i] |= 1UL << status;
		}
	}
}

static int show(struct shown *shown, void *at)
{
	struct nodes nodes = {};
	int err = syscall(__NR_get_mempolicy, &shown->mode, nodes.mask,
			  MAX_NODES + 1, at, at ? MPOL_F_ADDR : 0);

	shown->nodes = nodes.mask[0];
	return err ? errno : 0;
}

static void show_all(struct reply *reply)
{
	struct nodes mems = {};
	int i;

	reply->err = show(&reply->task, NULL);
	if (syscall(__NR_get_mempolicy, NULL, mems.mask, MAX_NODES + 1, NULL,
		    MPOL_F_MEMS_ALLOWED))
		reply->err = errno;
	reply->mems = mems.mask[0];
	for (i = 0; i < NR_PAGES && !reply->err; i++)
		reply->err = show(&reply->page[i], page_at(i));
}

static void act(int slot, const struct step *s, pid_t target)
{
	struct reply reply = {};
	struct nodes nodes = {}, from = {};
	void *at = page_at(s->first);
	unsigned long len = s->nr * page;
	struct birth birth = { .slot = SLOT(s->proc, s->other) };
	double begun = now();
	pthread_attr_t attr;
	pthread_t thread;
	char arg[16];
	long err = 0;

	while (s->delay && now() < begun + s->delay / 1e6)
		;
	nodes.mask[0] = s->nodes;
	from.mask[0] = s->from;
	switch (s->op) {
	case OP_mbind: case OP_mbind_move: case OP_mbind_strict:
	case OP_mbind_shared:
		err = syscall(__NR_mbind, at, len, s->mode | s->flags,
			      nodes.mask, MAX_NODES + 1,
			      s->op == OP_mbind_move ? MPOL_MF_MOVE :
			      s->op == OP_mbind_strict ? MPOL_MF_STRICT : 0);
		break;
	case OP_home_node: case OP_home_shared:
		err = syscall(__NR_set_mempolicy_home_node, at, len,
			      (unsigned long)s->other, 0UL);
		break;
	case OP_set_mempolicy:
		err = syscall(__NR_set_mempolicy, s->mode | s->flags,
			      nodes.mask, MAX_NODES + 1);
		break;
	case OP_migrate_pages:
		err = syscall(__NR_migrate_pages, target, MAX_NODES + 1,
			      from.mask, nodes.mask);
		break;
	case OP_touch: case OP_touch_shared:
		touch(s, &reply);
		break;
	case OP_fork:
		err = reply.tid = fork();
		if (!err)
			act_on(SLOT(s->other, 0));
		break;
	case OP_thread:
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		reply.err = pthread_create(&thread, &attr, born, &birth);
		while (!reply.err &&
		       !(reply.tid = __atomic_load_n(&birth.tid, __ATOMIC_ACQUIRE)))
			sched_yield();
		break;
	case OP_exec: case OP_exec_thread:
		sprintf(arg, "%d", s->proc);
		execl("/proc/thread-self/exe", "fuzz", arg, NULL);
		err = -1;
		break;
	case OP_exit:
		answer(slot, &reply);
		_exit(0);
	case OP_exit_thread: case OP_exit_leader:
		answer(slot, &reply);
		syscall(__NR_exit, 0);
		break;
	case OP_look:
		show_all(&reply);
		break;
	default:
		reply.err = ENOSYS;
	}
	if (err < 0)
		reply.err = errno;
	answer(slot, &reply);
}

struct command {
	struct step step;
	pid_t target;
};

static void act_on(int slot)
{
	struct command command;

	while (read(FD(slot, 0), &command, sizeof(command)) == sizeof(command))
		act(slot, &command.step, command.target);
	_exit(1);
}

/* The model: what has to come of a step */

static const struct policy no_policy = { .is.mode = MPOL_DEFAULT, .home = -1 };

static bool has_policy(const struct policy *pol)
{
	return pol->is.mode != MPOL_DEFAULT;
}

static bool same_policy(const struct policy *a, const struct policy *b)
{
	/* What they were made for is not compared. */
	return a->is.mode == b->is.mode && a->is.flags == b->is.flags &&
	       a->home == b->home && a->is.nodes == b->is.nodes &&
	       model_shown(&a->is) == model_shown(&b->is);
}

/* What does not matter must not make a difference. */
static void forget(struct policy *pol)
{
	if (!has_policy(pol))
		*pol = no_policy;
	else if (pol->is.flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES) ||
		 pol->is.mode == MPOL_LOCAL || pol->is.mode == MPOL_PREFERRED ||
		 pol->is.mode == MPOL_PREFERRED_MANY)
		pol->is.mems = 0;
}

static bool make_policy(struct policy *pol, const struct step *s,
			unsigned long mems)
{
	if (planted == PLANT_outside_is_fine)
		mems |= s->nodes;
	*pol = no_policy;
	if (!model_make(&pol->is, s->mode, s->flags, s->nodes, mems))
		return false;
	forget(pol);
	return true;
}

static void rebind(struct policy *pol, unsigned long mems)
{
	int remap = pol->is.flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);

	/* Those that have these nodes stay as they are. */
	if (!has_policy(pol) ||
	    (planted == PLANT_no_remap && !remap) ||
	    (planted == PLANT_static_stays && remap == MPOL_F_STATIC_NODES))
		return;
	model_rebind(&pol->is, mems);
	if (old_rules && remap && (pol->is.mode == MPOL_PREFERRED ||
				   pol->is.mode == MPOL_PREFERRED_MANY))
		pol->is.user = mems;
	forget(pol);
}

static void rebind_vmas(struct world *w, struct process *p, unsigned long mems)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		rebind(&p->vma[i], mems);
	for (i = 0; i < SHARED_PAGES && planted == PLANT_shared_is_rebound; i++)
		rebind(&w->shared[i], mems);
}

/* The thread whose cpuset the VMA policies follow */
static struct task *owner(struct process *p)
{
	struct task *oldest = &p->task[0];
	int i;

	for (i = 1; i < NR_THREADS && !old_rules; i++) {
		if (p->task[i].tid && (!oldest->tid ||
		    (!p->task[0].tid && p->task[i].born < oldest->born)))
			oldest = &p->task[i];
	}
	return oldest;
}

/* Any that is alive, to be asked about the process */
static pid_t some_tid(struct process *p)
{
	int i;

	for (i = 0; i < NR_THREADS - 1 && !p->task[i].tid; i++)
		;
	return p->task[i].tid;
}

static bool cpuset_used(const struct world *w, int which)
{
	int i, j;

	for (i = 0; i < NR_PROCS; i++) {
		for (j = 0; j < NR_THREADS; j++) {
			if (w->proc[i].task[j].tid &&
			    w->proc[i].task[j].cpuset == which)
				return true;
		}
	}
	return false;
}

static int model_mems(struct world *w, const struct step *s)
{
	unsigned long mems = s->nodes, old = w->mems[s->other];
	int i, j;

	for (i = 0; i < nr_nodes; i++)
		mems &= ~(1UL << node[i]);
	if (mems)
		return EINVAL;
	mems = s->nodes;
	if (!mems && cs.version == 2)
		mems = all_nodes;
	if (!mems && cpuset_used(w, s->other))
		return ENOSPC;
	w->mems[s->other] = mems;
	if (mems == old || !mems)
		return 0;
	for (i = 0; i < NR_PROCS; i++) {
		struct process *p = &w->proc[i];

		if (!p->pid)
			continue;
		for (j = 0; j < NR_THREADS; j++) {
			if (p->task[j].tid && p->task[j].cpuset == s->other)
				rebind(&p->task[j].policy, mems);
		}
		if (owner(p)->tid && owner(p)->cpuset == s->other)
			rebind_vmas(w, p, mems);
	}
	return 0;
}

static int model_move(struct world *w, const struct step *s)
{
	struct process *p = &w->proc[s->proc];
	unsigned long mems = w->mems[s->other];
	struct task *own = owner(p);
	bool vmas = false, same;
	int i;

	for (i = 0; i < NR_THREADS; i++) {
		struct task *t = &p->task[i];

		if (!t->tid || t->cpuset == s->other ||
		    (s->op != OP_move && i != s->thread))
			continue;
		if (!mems)
			return ENOSPC;
		same = w->mems[t->cpuset] == mems;
		if (!same && t == own)
			vmas = true;
		t->cpuset = s->other;
		if (cs.version == 1 || !same)
			rebind(&t->policy, mems);
	}
	if (vmas && planted != PLANT_move_is_not_write)
		rebind_vmas(w, p, mems);
	return 0;
}

/*
 * A VMA that has this policy already keeps what it has; others get the new one,
 * together with the neighbours that they merge with.  That matters where policies
 * are the same, but were made for other mems.
 */
static void model_set(struct world *w, struct process *p,
		      const struct policy *set, unsigned long is_set,
		      unsigned long after)
{
	int first, last, i, by;

	for (first = 0; first < NR_PAGES; first = last) {
		by = -1;
		last = first;
		do {
			if (is_set >> last & 1)
				by = last;
			last++;
		} while (last < NR_PAGES && !(after >> last & 1));
		for (i = first; i < last && by >= 0; i++) {
			p->vma[i] = set[by];
			if (i >= ARENA_PAGES)
				w->shared[i - ARENA_PAGES] = set[by];
		}
	}
}

static int model_mbind(struct world *w, const struct step *s,
		       const struct result *r)
{
	struct process *p = &w->proc[s->proc];
	struct policy pol, set[NR_PAGES];
	unsigned long mems = w->mems[p->task[s->thread].cpuset], is_set = 0;
	int i;

	if (!make_policy(&pol, s, mems))
		return EINVAL;
	/* By what the user passed, not by what it means */
	if (s->op == OP_mbind_strict && s->mode != MPOL_DEFAULT &&
	    r->resident & ~s->nodes)
		return EIO;
	for (i = s->first; i < s->first + s->nr; i++) {
		set[i] = pol;
		if (!same_policy(&p->vma[i], &pol))
			is_set |= 1UL << i;
	}
	model_set(w, p, set, is_set, r->after);
	return 0;
}

static int model_home(struct world *w, const struct step *s,
		      const struct result *r)
{
	struct process *p = &w->proc[s->proc];
	struct policy set[NR_PAGES];
	unsigned long is_set = 0;
	int err = ENOENT, i;

	for (i = 0; i < nr_nodes && node[i] != s->other; i++)
		;
	if (i == nr_nodes)
		return EINVAL;
	for (i = s->first; i < s->first + s->nr; i++) {
		set[i] = p->vma[i];
		if (!has_policy(&set[i]))
			continue;
		if (set[i].is.mode != MPOL_BIND &&
		    set[i].is.mode != MPOL_PREFERRED_MANY) {
			err = EOPNOTSUPP;
			break;
		}
		err = 0;
		set[i].home = s->other;
		if (!same_policy(&p->vma[i], &set[i]))
			is_set |= 1UL << i;
	}
	model_set(w, p, set, is_set, r->after);
	return err;
}

/* Where a page may be that @t touches, when there is memory everywhere */
static unsigned long model_place(const struct world *w, const struct process *p,
				 const struct task *t, int i)
{
	const struct policy *pol = i < ARENA_PAGES ? &p->vma[i] :
						     &w->shared[i - ARENA_PAGES];
	bool vma = has_policy(pol) && i < ARENA_PAGES;
	unsigned long mems = w->mems[t->cpuset], both, one;

	if (!has_policy(pol) ||
	    (planted == PLANT_task_before_vma && has_policy(&t->policy)))
		pol = &t->policy;
	both = pol->is.nodes & mems;
	switch (pol->is.mode) {
	case MPOL_DEFAULT:
	case MPOL_LOCAL:
		return mems;
	case MPOL_INTERLEAVE:
	case MPOL_WEIGHTED_INTERLEAVE:
		/* It is their turn even if they are not allowed. */
		if (vma) {
			one = model_nth(pol->is.nodes,
					(unsigned long)page_at(i) / page %
					model_weight(pol->is.nodes));
			return one & mems ? one : mems;
		}
		return pol->is.nodes & ~mems ? mems : both;
	}
	if (!both)
		return mems;
	if (pol->home < 0 || !(both >> pol->home & 1))
		return both;
	one = 1UL << pol->home;
	return planted == PLANT_home_is_left && both != one ? both & ~one : one;
}

static bool model_touch(struct world *w, const struct step *s,
			const struct result *r)
{
	struct process *p = &w->proc[s->proc];
	struct task *t = &p->task[s->thread];
	int i;

	for (i = s->first; i < s->first + s->nr && !r->reply.err; i++) {
		unsigned long may = r->wide ?: model_place(w, p, t, i);

		if (r->reply.seen[i] & ~may)
			return differs("%s: page %d is on node %s, may be on %s",
				       step_text(s), i,
				       list_text(r->reply.seen[i]),
				       list_text(may));
	}
	return true;
}

/*
 * A child that was copied before its parent was moved, and was put into a cpuset
 * after that, is in the new one: all that it has is changed for it, unless for v2
 * it was no change, and the parent looks as before.
 */
static void model_catch_up(struct world *w, const struct step *fork)
{
	struct task *parent = &w->proc[fork->proc].task[fork->thread];
	struct process *p = &w->proc[fork->other];
	struct task *child = &p->task[0];
	bool same = w->mems[child->cpuset] == w->mems[parent->cpuset];

	if (child->cpuset == parent->cpuset)
		return;
	child->cpuset = parent->cpuset;
	if (cs.version == 2 && same)
		return;
	rebind(&child->policy, w->mems[child->cpuset]);
	rebind_vmas(w, p, w->mems[child->cpuset]);
}

/* Does what the step has to do, with @w.  Did it return what it has to? */
static bool model_step(struct world *w, const struct step *s,
		       const struct result *r)
{
	struct process *p = &w->proc[s->proc], *child;
	struct task *t = &p->task[s->thread];
	struct policy pol;
	unsigned long mems = w->mems[t->cpuset];
	int err = 0, i;

	if (r->reply.err && (s->op == OP_fork || s->op == OP_thread))
		return differs("%s: returned %s", step_text(s),
			       strerrorname_np(r->reply.err));
	switch (s->op) {
	case OP_mbind: case OP_mbind_move: case OP_mbind_strict:
	case OP_mbind_shared:
		err = model_mbind(w, s, r);
		break;
	case OP_home_node: case OP_home_shared:
		err = model_home(w, s, r);
		break;
	case OP_set_mempolicy:
		if (make_policy(&pol, s, mems))
			t->policy = pol;
		else
			err = EINVAL;
		break;
	case OP_migrate_pages:
		err = s->nodes & mems ? 0 : EINVAL;
		/* The nodes to go to were lost on the way. */
		if (r->wide && !err && r->reply.err == ENOMEM)
			err = ENOMEM;
		break;
	case OP_touch: case OP_touch_shared:
		if (!model_touch(w, s, r))
			return false;
		break;
	case OP_fork:
		child = &w->proc[s->other];
		*child = *p;
		memset(child->task, 0, sizeof(child->task));
		child->task[0] = *t;
		child->pid = child->task[0].tid = r->reply.tid;
		child->task[0].born = w->births++;
		for (i = 0; i < NR_PAGES &&
		     planted == PLANT_fork_drops_vma_policies; i++)
			child->vma[i] = no_policy;
		break;
	case OP_thread:
		p->task[s->other] = *t;
		p->task[s->other].tid = r->reply.tid;
		p->task[s->other].born = w->births++;
		if (planted == PLANT_thread_drops_policy)
			p->task[s->other].policy = no_policy;
		break;
	case OP_exec: case OP_exec_thread:
		/* Whoever does it becomes the leader. */
		p->task[0] = *t;
		p->task[0].tid = p->pid;
		for (i = 1; i < NR_THREADS; i++)
			memset(&p->task[i], 0, sizeof(*t));
		for (i = 0; i < NR_PAGES; i++)
			p->vma[i] = no_policy;
		if (planted == PLANT_exec_drops_policy)
			p->task[0].policy = no_policy;
		break;
	case OP_exit:
		memset(p, 0, sizeof(*p));
		break;
	case OP_exit_thread: case OP_exit_leader:
		memset(t, 0, sizeof(*t));
		break;
	case OP_mems:
		err = model_mems(w, s);
		break;
	case OP_move: case OP_move_thread: case OP_move_leader:
		err = model_move(w, s);
		break;
	default:
		break;
	}
	if (err != r->reply.err)
		return differs("%s: returned %s, should return %s",
			       step_text(s), strerrorname_np(r->reply.err),
			       strerrorname_np(err));
	return true;
}

/* Is what was seen of a process what the model says? */
static bool check_task(struct world *w, int proc, int thread)
{
	struct process *p = &w->proc[proc];
	struct task *t = &p->task[thread];
	struct reply *reply = &look.reply[proc][thread];
	struct numa_maps *maps = &look.maps[proc][thread];
	const struct policy *pol, *vma = NULL;
	const char *text;
	int i;

	if (reply->err)
		return differs("p%d.t%d cannot look: %s", proc, thread,
			       strerror(reply->err));
	if (look.cpuset[proc][thread] != t->cpuset)
		return differs("p%d.t%d is in cpuset %d, should be in %d", proc,
			       thread, look.cpuset[proc][thread], t->cpuset);
	if (reply->mems != w->mems[t->cpuset])
		return differs("p%d.t%d has the mems %s, should have %s", proc,
			       thread, list_text(reply->mems),
			       list_text(w->mems[t->cpuset]));
	pol = &t->policy;
	if (reply->task.mode != (pol->is.mode | pol->is.flags) ||
	    reply->task.nodes != model_shown(&pol->is))
		return differs("p%d.t%d: the task policy is mode 0x%x nodes %s, should be 0x%x nodes %s",
			       proc, thread, reply->task.mode,
			       list_text(reply->task.nodes),
			       pol->is.mode | pol->is.flags,
			       list_text(model_shown(&pol->is)));
	for (i = 0; i < NR_PAGES; i++) {
		pol = i < ARENA_PAGES ? &p->vma[i] : &w->shared[i - ARENA_PAGES];
		if (reply->page[i].mode != (pol->is.mode | pol->is.flags) ||
		    reply->page[i].nodes != model_shown(&pol->is))
			return differs("p%d.t%d: the policy of page %d is mode 0x%x nodes %s, should be 0x%x nodes %s",
				       proc, thread, i, reply->page[i].mode,
				       list_text(reply->page[i].nodes),
				       pol->is.mode | pol->is.flags,
				       list_text(model_shown(&pol->is)));
		if (maps->begin >> i & 1)
			vma = pol;
		/* Of shared memory the first page is shown only. */
		if (!(maps->begin >> i & 1) && i < ARENA_PAGES &&
		    (!vma || !same_policy(pol, vma)))
			return differs("p%d.t%d: a VMA goes over the border at page %d",
				       proc, thread, i);
		if (!(maps->begin >> i & 1))
			continue;
		if (!has_policy(pol))
			pol = &t->policy;
		text = policy_text(pol->is.mode, pol->is.flags, pol->is.nodes);
		if (strncmp(maps->text[i], text, strlen(text)) ||
		    !strchr(" \n", maps->text[i][strlen(text)]))
			return differs("p%d.t%d: numa_maps of page %d says \"%s\", should say \"%s\"",
				       proc, thread, i, maps->text[i], text);
	}
	if (counting) {
		counts.tasks++;
		counts.pages += NR_PAGES;
		counts.vmas += __builtin_popcountl(maps->begin);
	}
	return true;
}

static bool check_world(struct world *w)
{
	int i, j;

	for (i = 0; i < NR_PROCS; i++) {
		for (j = 0; j < NR_THREADS; j++) {
			if (w->proc[i].task[j].tid && !check_task(w, i, j))
				return false;
		}
	}
	return true;
}

/* The coordinator */

/* Has a process or thread come to its end?  A leader stays, as a zombie. */
static bool has_ended(pid_t pid, pid_t tid)
{
	char path[64], buf[256], *at;

	waitpid(pid, NULL, WNOHANG);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return true;
	at = strrchr(buf, ')');
	return at && strchr("ZX", at[2]);
}

static bool is_gone(pid_t pid)
{
	waitpid(pid, NULL, WNOHANG);
	return kill(pid, 0) && errno == ESRCH;
}

static void send(struct world *w, const struct step *s)
{
	struct command command = { .step = *s };

	if (s->op == OP_migrate_pages)
		command.target = some_tid(&w->proc[s->other]);
	if (write(FD(SLOT(s->proc, s->thread), 1), &command, sizeof(command)) !=
	    sizeof(command))
		ksft_exit_fail_perror("write to an actor");
}

static bool receive(struct world *w, int proc, int thread, int from,
		    struct reply *reply)
{
	struct process *p = &w->proc[proc];
	struct pollfd fd = { .fd = FD(SLOT(proc, from), 2), .events = POLLIN };
	char path[64], wchan[128] = "?";
	int i;

	for (i = 0; i < ANSWER_SECONDS; i++) {
		if (poll(&fd, 1, 1000) == 1) {
			if (read(fd.fd, reply, sizeof(*reply)) == sizeof(*reply))
				return true;
			break;
		}
		/* By exec() a thread becomes the leader. */
		if (from == thread ? has_ended(p->pid, p->task[thread].tid) :
				     is_gone(p->pid))
			return differs("p%d.t%d was killed", proc, thread);
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", p->pid,
		 p->task[thread].tid);
	read_text(path, wchan, sizeof(wchan));
	return differs("p%d.t%d does not answer, in %s", proc, thread, wchan);
}

static unsigned long read_begins(struct process *p)
{
	char path[64], buf[8192], *line;
	unsigned long at, begins = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", p->pid,
		 some_tid(p));
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return 0;
	for (line = buf; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%lx-", &at) == 1 && page_of(at) >= 0)
			begins |= 1UL << page_of(at);
	}
	return begins;
}

static void read_numa_maps(struct process *p, pid_t tid, struct numa_maps *maps)
{
	char path[64], buf[16384], *line;
	unsigned long at;
	int len, i;

	memset(maps, 0, sizeof(*maps));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/numa_maps", p->pid, tid);
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return;
	for (line = buf; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%lx %n", &at, &len) != 1)
			break;
		i = page_of(at);
		if (i < 0)
			continue;
		maps->begin |= 1UL << i;
		snprintf(maps->text[i], sizeof(maps->text[i]), "%.*s",
			 (int)strcspn(line + len, "\n"), line + len);
	}
}

static int read_cpuset(struct process *p, pid_t tid)
{
	char path[64], buf[1024], *at;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/cgroup", p->pid, tid);
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	at = strstr(buf, "/guest");
	return at ? atoi(at + strlen("/guest")) : -1;
}

static unsigned long read_resident(struct process *p, const struct step *s)
{
	void *at[NR_PAGES];
	int status[NR_PAGES], i;
	unsigned long nodes = 0;

	for (i = 0; i < s->nr; i++)
		at[i] = page_at(s->first + i);
	if (syscall(__NR_move_pages, some_tid(p), (unsigned long)s->nr, at, NULL,
		    status, 0))
		return 0;
	for (i = 0; i < s->nr; i++) {
		if (status[i] >= 0)
			nodes |= 1UL << status[i];
	}
	return nodes;
}

static bool look_at(struct world *w)
{
	struct step step = { .op = OP_look };
	int i, j;

	for (i = 0; i < NR_PROCS; i++) {
		for (j = 0; j < NR_THREADS; j++) {
			if (!w->proc[i].task[j].tid)
				continue;
			step.proc = i;
			step.thread = j;
			send(w, &step);
		}
	}
	for (i = 0; i < NR_PROCS; i++) {
		for (j = 0; j < NR_THREADS; j++) {
			if (!w->proc[i].task[j].tid)
				continue;
			if (!receive(w, i, j, j, &look.reply[i][j]))
				return false;
			look.cpuset[i][j] = read_cpuset(&w->proc[i],
							w->proc[i].task[j].tid);
			read_numa_maps(&w->proc[i], w->proc[i].task[j].tid,
				       &look.maps[i][j]);
		}
	}
	return true;
}

static bool for_cpuset(const struct step *s)
{
	return s->op == OP_mems || s->op == OP_move ||
	       s->op == OP_move_thread || s->op == OP_move_leader;
}

static int change_cpuset(struct world *w, const struct step *s)
{
	struct process *p = &w->proc[s->proc];
	bool alone = s->op != OP_mems && s->op != OP_move;
	double end = now() + 5;
	char number[16];
	int err;

	if (s->op == OP_mems) {
		/* Who has ended stays in the cpuset for a while. */
		do {
			err = cpuset_write(&cs, s->other, "cpuset.mems",
					   *list_text(s->nodes) ?
					   list_text(s->nodes) : "\n");
		} while (err == -ENOSPC && !cpuset_used(w, s->other) &&
			 now() < end && (nap(5), true));
		return -err;
	}
	sprintf(number, "%d", alone ? p->task[s->thread].tid : p->pid);
	return -cpuset_write(&cs, s->other, alone ? "tasks" : "cgroup.procs",
			     number);
}

/* Does this cpuset change concern the process? */
static bool concerns(struct world *w, const struct step *change, int proc)
{
	int i;

	if (change->op != OP_mems)
		return change->proc == proc;
	for (i = 0; i < NR_THREADS; i++) {
		if (w->proc[proc].task[i].tid &&
		    w->proc[proc].task[i].cpuset == change->other)
			return true;
	}
	return false;
}

static bool is_mm_op(const struct step *s)
{
	return s->op != OP_set_mempolicy && s->op != OP_touch;
}

/* May these be made at once, and does the model know what comes of it? */
static bool together(const struct step *a, const struct step *b)
{
	static const bool alone[NR_OPS] = {
		[OP_mbind_strict] = true, [OP_mbind_shared] = true,
		[OP_home_shared] = true, [OP_touch_shared] = true,
		[OP_exit] = true, [OP_exit_thread] = true,
		[OP_exit_leader] = true,
	};

	if (alone[a->op] || alone[b->op] || (for_cpuset(a) && for_cpuset(b)))
		return false;
	if (for_cpuset(b))
		return together(b, a);
	/* By exec() a thread gets another number. */
	if (for_cpuset(a))
		return a->op == OP_mems || a->op == OP_move ||
		       a->proc != b->proc ||
		       (b->op != OP_exec && b->op != OP_exec_thread);
	if ((a->op == OP_fork && b->op == OP_fork && a->other == b->other) ||
	    (a->op == OP_migrate_pages && a->other != a->proc) ||
	    (b->op == OP_migrate_pages && b->other != b->proc))
		return false;
	if (a->proc != b->proc)
		return true;
	return a->thread != b->thread && !is_mm_op(a) && !is_mm_op(b) &&
	       (a->op != b->op || a->op != OP_touch ||
		a->first + a->nr <= b->first || b->first + b->nr <= a->first);
}

/*
 * Makes steps at once and compares.  Those of whom the mems are changed at the
 * same time may turn out to have been made before or after, a fork both: any order
 * is fine if it explains everything.
 */
static bool make(struct step *s, int nr)
{
	struct result result[MAX_TOGETHER] = {};
	struct step *change = NULL;
	static struct world next[MAX_WORLDS], w;
	int late[MAX_TOGETHER], nr_late = 0, nr_next = 0, was_late = 0, at, i;
	int choices;	/* bits: who is behind, and whether a child caught up */
	char first[sizeof(mismatch)] = "", last[sizeof(mismatch)] = "";
	bool fine = true, counted = counting;

	for (i = 0; i < nr; i++) {
		if (for_cpuset(&s[i]))
			change = &s[i];
		if (s[i].op == OP_mbind_strict)
			result[i].resident = read_resident(&world->proc[s[i].proc],
							   &s[i]);
	}
	for (i = 0; i < nr; i++) {
		if (&s[i] != change)
			send(world, &s[i]);
	}
	for (i = 0; i < nr; i++) {
		if (&s[i] == change)
			result[i].reply.err = change_cpuset(world, change);
	}
	for (i = 0; i < nr; i++) {
		int from = s[i].op == OP_exec_thread ? 0 : s[i].thread;
		struct process *p = &world->proc[s[i].proc];

		if (&s[i] == change)
			continue;
		if (!receive(world, s[i].proc, s[i].thread, from,
			     &result[i].reply)) {
			strcpy(first, mismatch);
			return differs("%s: %s", step_text(&s[i]), first);
		}
		while ((s[i].op == OP_exit && !is_gone(p->pid)) ||
		       ((s[i].op == OP_exit_thread || s[i].op == OP_exit_leader) &&
			!has_ended(p->pid, p->task[s[i].thread].tid)))
			nap(1);
		if (s[i].op <= OP_home_shared)
			result[i].after = read_begins(p);
		if (change && concerns(world, change, s[i].proc)) {
			result[i].wide = world->mems[0] | world->mems[1] |
					 (change->nodes ?: all_nodes);
			if (s[i].op != OP_touch)
				late[nr_late++] = i;
		}
	}

	/* Who has been made and who has ended does not depend on the order. */
	w = *world;
	for (i = 0; i < nr; i++)
		model_step(&w, &s[i], &result[i]);
	if (!look_at(&w))
		return false;
	counting = false;
	choices = nr_late + (nr_late > 0);
	for (at = 0; at < nr_worlds << choices; at++) {
		unsigned int behind = 0, order = at % (1 << choices);
		bool catch_up = order >> nr_late & 1;

		for (i = 0; i < nr_late; i++)
			behind |= (order >> i & 1) << late[i];
		w = world[at >> choices];
		fine = true;
		for (i = 0; i < nr && fine; i++) {
			if (&s[i] != change && !(behind >> i & 1))
				fine = model_step(&w, &s[i], &result[i]);
		}
		if (change && fine)
			fine = model_step(&w, change, &result[change - s]);
		for (i = 0; i < nr && fine && catch_up; i++) {
			if (s[i].op == OP_fork && !(behind >> i & 1))
				model_catch_up(&w, &s[i]);
		}
		for (i = 0; i < nr && fine; i++) {
			if (behind >> i & 1)
				fine = model_step(&w, &s[i], &result[i]);
		}
		if (!fine || !check_world(&w)) {
			strcpy(at ? last : first, mismatch);
			continue;
		}
		for (i = 0; i < nr_next && memcmp(&next[i], &w, sizeof(w)); i++)
			;
		if (i == MAX_WORLDS) {
			counting = counted;
			return differs("more than %d states explain what was seen",
				       MAX_WORLDS);
		}
		next[i] = w;
		if (i == nr_next) {
			nr_next++;
			was_late = order;
		}
	}
	counting = counted;
	if (!nr_next)
		return nr_late ? differs("%s; or in another order: %s", first, last) :
				 differs("%s", first);
	memcpy(world, next, nr_next * sizeof(w));
	nr_worlds = nr_next;
	if (counting) {
		check_world(world);	/* to be counted */
		counts.steps += nr;
		counts.together += nr > 1;
		counts.raced += nr_late > 0;
		counts.late += nr_late && nr_next == 1 && was_late;
		counts.unsure += nr_next > 1;
		for (i = 0; i < nr; i++) {
			if (result[i].reply.err)
				counts.refused[s[i].op]++;
			else
				counts.made[s[i].op]++;
			if (s[i].op == OP_touch || s[i].op == OP_touch_shared)
				counts.placed += s[i].nr;
		}
	}
	return true;
}

/* Can it be made?  When steps are left out others may have nobody to make them. */
static bool possible(const struct step *s)
{
	struct process *p = &world->proc[s->proc];
	int i, others = 0;

	if (s->op == OP_mems)
		return true;
	if (!p->pid)
		return false;
	if (s->op == OP_move)
		return true;
	if (!p->task[s->thread].tid)
		return false;
	for (i = 0; i < NR_THREADS; i++)
		others += i != s->thread && p->task[i].tid;
	switch (s->op) {
	case OP_fork:
		return !world->proc[s->other].pid;
	case OP_thread:
		return !p->task[s->other].tid && s->other;
	case OP_exec_thread: case OP_exit_thread:
		return s->thread && others;
	case OP_exec:
		return !s->thread;
	case OP_exit_leader:
		return !s->thread && others;
	case OP_migrate_pages:
		return world->proc[s->other].pid;
	case OP_move_thread:
		return cs.version == 1 && s->thread;
	case OP_move_leader:
		return cs.version == 1 && !s->thread && others;
	default:
		return true;
	}
}

static bool allowed(enum op op)
{
	size_t len = strlen(op_name[op]);
	const char *at = without;

	for (; at && (at = strstr(at, op_name[op])); at += len) {
		if ((at == without || at[-1] == ',') &&
		    (!at[len] || at[len] == ','))
			return false;
	}
	return cs.version == 1 || (op != OP_move_thread && op != OP_move_leader);
}

static unsigned long some_nodes(void)
{
	unsigned long nodes = 1UL << node[roll(nr_nodes)];
	int i;

	for (i = roll(4); i; i--)
		nodes |= 1UL << node[roll(nr_nodes)];
	return nodes;
}

static void some_policy(struct step *s)
{
	static const int flags[] = {
		0, 0, 0, MPOL_F_STATIC_NODES, MPOL_F_STATIC_NODES,
		MPOL_F_RELATIVE_NODES, MPOL_F_RELATIVE_NODES,
	};
	bool empty;

	s->mode = roll(3) ? roll(ARRAY_SIZE(mode_name)) : MPOL_BIND;
	empty = s->mode == MPOL_DEFAULT || s->mode == MPOL_LOCAL ||
		(s->mode == MPOL_PREFERRED && !roll(8));
	if (!roll(40))
		empty = !empty;
	if (empty)
		return;
	s->nodes = some_nodes();
	/* Some that do not exist: relative ones need not. */
	if (!roll(8))
		s->nodes |= 1UL << roll(node[nr_nodes - 1] + 4);
	s->flags = flags[roll(ARRAY_SIZE(flags))];
	if (!roll(10))
		s->flags |= MPOL_F_NUMA_BALANCING;
	if (!roll(40))
		s->flags |= MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES;
}

static void some_pages(struct step *s, int first, int nr)
{
	s->first = first + roll(nr);
	s->nr = 1 + roll(roll(3) ? 4 : nr);
	if (s->nr > first + nr - s->first)
		s->nr = first + nr - s->first;
}

static bool may_have_home(const struct policy *pol)
{
	return pol->is.mode == MPOL_BIND || pol->is.mode == MPOL_PREFERRED_MANY;
}

static void some_step(struct step *s)
{
	unsigned int shares = 0, procs = 0, at, i;
	bool found = false;
	const struct policy *pol;
	struct process *p;
	enum op op;

	/* Of a home node nothing shows but where pages are. */
	if (last_step.op == OP_home_node && roll(2)) {
		*s = last_step;
		s->op = OP_touch;
		last_step.op = OP_touch;
		if (allowed(s->op) && possible(s))
			return;
	}
	/* Whose the policies are without the leader shows after a move. */
	if (last_step.op == OP_exit_leader && roll(2)) {
		*s = (struct step){
			.op = OP_move, .proc = last_step.proc, .other = roll(2),
		};
		last_step.op = OP_touch;
		if (allowed(s->op) && possible(s))
			return;
	}
	for (i = 0; i < NR_PROCS; i++)
		procs += world->proc[i].pid != 0;
	for (i = 0; i < NR_OPS; i++)
		shares += op_share[i];
	do {
		at = roll(shares);
		for (op = 0; at >= op_share[op]; op++)
			at -= op_share[op];
		if (!allowed(op) || (op == OP_exit && procs < 2))
			continue;
		/* Somebody who can do it, if that is easily found */
		for (i = 0; i < 50; i++) {
			*s = (struct step){
				.op = op,
				.proc = op == OP_mems ? 0 : roll(NR_PROCS),
				.thread = op == OP_mems || op == OP_move ? 0 :
					  roll(NR_THREADS),
			};
			s->other = roll(for_cpuset(s) ? 2 :
					op == OP_thread ? NR_THREADS : NR_PROCS);
			found = possible(s);
			if (found)
				break;
		}
	} while (!found);

	p = &world->proc[s->proc];
	switch (s->op) {
	case OP_mbind_shared:
		some_policy(s);
		/* fall through */
	case OP_home_shared: case OP_touch_shared:
		some_pages(s, ARENA_PAGES, SHARED_PAGES);
		break;
	case OP_mbind: case OP_mbind_move: case OP_mbind_strict:
		some_policy(s);
		/* fall through */
	case OP_home_node: case OP_touch:
		some_pages(s, 0, ARENA_PAGES);
		break;
	case OP_set_mempolicy:
		some_policy(s);
		break;
	case OP_migrate_pages:
		s->from = some_nodes();
		s->nodes = some_nodes();
		break;
	case OP_mems:
		s->nodes = some_nodes();
		if (!roll(30) && node[nr_nodes - 1] < MODEL_NODES - 1)
			s->nodes |= 2UL << node[nr_nodes - 1];
		if (!roll(20) && empty_mems)
			s->nodes = 0;
		break;
	default:
		break;
	}
	/*
	 * Most pages could not have a home node, or have no policy at all.  Two
	 * that have different ones are looked for first.
	 */
	for (i = 0; i < 2 * NR_PAGES; i++) {
		bool home = s->op == OP_home_node || s->op == OP_home_shared;
		bool pair;

		at = s->op == OP_home_shared ? ARENA_PAGES + roll(SHARED_PAGES) :
					       roll(ARENA_PAGES);
		pol = &p->vma[at];
		pair = home && at + 1 != ARENA_PAGES && at + 1 < NR_PAGES &&
		       may_have_home(pol + 1) && !same_policy(pol, pol + 1);
		if ((home && may_have_home(pol) && (pair || i >= NR_PAGES)) ||
		    (s->op == OP_touch &&
		     (roll(2) ? pol->home >= 0 : has_policy(pol)))) {
			s->first = at;
			s->nr = 1 + pair;
			break;
		}
	}
	if (s->op == OP_home_node || s->op == OP_home_shared)
		s->other = roll(20) ? node[roll(nr_nodes)] : node[nr_nodes - 1] + 1;
	last_step = *s;
}

static void make_pipes(void)
{
	int slot, i, fd[2];

	for (slot = 0; slot < NR_PROCS * NR_THREADS; slot++) {
		for (i = 0; i < 4; i += 2) {
			if (pipe(fd) || dup2(fd[0], FD(slot, i)) < 0 ||
			    dup2(fd[1], FD(slot, i + 1)) < 0)
				ksft_exit_fail_perror("pipe");
			close(fd[0]);
			close(fd[1]);
		}
	}
}

static pid_t start(int proc)
{
	char number[16];
	pid_t pid = fork();

	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (pid) {
		sprintf(number, "%d", pid);
		if (cpuset_write(&cs, proc, "cgroup.procs", number))
			ksft_exit_fail_msg("cannot move a process\n");
		return pid;
	}
	/* Nobody waits for the children of actors. */
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (map_pages())
		_exit(1);
	act_on(SLOT(proc, 0));
	_exit(1);
}

static void begin(const struct sequence *seq)
{
	int fd = memfd_create("fuzz", 0), i;

	if (fd < 0 || ftruncate(fd, SHARED_PAGES * page) || dup2(fd, MEMFD) < 0)
		ksft_exit_fail_perror("memfd");
	close(fd);
	make_pipes();
	memset(world, 0, sizeof(world));
	nr_worlds = 1;
	for (i = 0; i < SHARED_PAGES; i++)
		world->shared[i] = no_policy;
	for (i = 0; i < 2; i++) {
		struct process *p = &world->proc[i];
		int j;

		world->mems[i] = seq->mems[i];
		if (cpuset_write(&cs, i, "cpuset.mems", list_text(seq->mems[i])))
			ksft_exit_fail_msg("cannot write cpuset.mems\n");
		if (cs.version == 1)
			cpuset_write(&cs, i, "cpuset.memory_migrate",
				     seq->number & 1 ? "1" : "0");
		p->pid = start(i);
		p->task[0].tid = p->pid;
		p->task[0].cpuset = i;
		p->task[0].born = world->births++;
		p->task[0].policy = no_policy;
		for (j = 0; j < NR_PAGES; j++)
			p->vma[j] = no_policy;
	}
}

static void end(void)
{
	int i;

	/* What the last step made is not in the world if it went wrong. */
	for (i = 0; i < 2; i++) {
		char path[256], list[4096], *at;

		snprintf(path, sizeof(path), "%s/cgroup.procs", cs.cgroup[i]);
		while (read_text(path, list, sizeof(list)) > 0) {
			for (at = list; at && atoi(at) > 0;
			     at = strchr(at, '\n'), at += !!at)
				kill(atoi(at), SIGKILL);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			nap(1);
		}
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
}

/* Makes the steps, or rolls them; did all go as the model says? */
static bool run(struct sequence *seq, bool fresh)
{
	struct step batch[MAX_TOGETHER];
	bool fine = true;
	int i, j, nr = 0, want;

	if (fresh) {
		dice = (seed + 1) * 0x9e3779b97f4a7c15ULL +
		       (seq->number + 1) * 0xbf58476d1ce4e5b9ULL;
		dice |= 1;
		for (i = 0; i < 4; i++)
			roll(2);
		last_step.op = OP_touch;
		seq->mems[0] = some_nodes();
		seq->mems[1] = some_nodes();
		seq->nr = 0;
	}
	begin(seq);
	for (i = 0; fine && i < (fresh ? nr_steps : seq->nr); i += want) {
		want = 1;
		nr = 0;
		if (fresh && !roll(3))
			want = 2 + roll(MAX_TOGETHER - 1);
		if (!fresh && seq->step[i].together) {
			while (want < MAX_TOGETHER && i + want < seq->nr &&
			       seq->step[i + want].together ==
			       seq->step[i].together)
				want++;
		}
		if (fresh && seq->nr + want > MAX_STEPS)
			break;
		for (j = 0; j < want && fine; j++) {
			struct step s;
			int k;

			if (fresh) {
				some_step(&s);
				s.together = want > 1 ? i + 1 : 0;
				s.delay = want > 1 && roll(2) ? roll(MAX_DELAY) : 0;
			} else {
				s = seq->step[i + j];
			}
			if (!possible(&s))
				continue;
			for (k = 0; k < nr && together(&batch[k], &s); k++)
				;
			if (k < nr) {
				/* A step of its own after all */
				if (fresh)
					continue;
				fine = make(batch, nr);
				nr = 0;
				if (!fine || !possible(&s))
					continue;
			}
			batch[nr++] = s;
			if (fresh)
				seq->step[seq->nr++] = s;
		}
		if (fine && nr)
			fine = make(batch, nr);
		/* What was not reached yet */
		if (!fine && !fresh)
			seq->nr = i + want;
	}
	end();
	return fine;
}

/*
 * Leaves out @nr steps.  What a single one did can be had in another way: who is
 * not made has its steps made by who would have made it, and mems that are not
 * written may be there from the start.
 */
static bool leave_out(struct sequence *seq, int at, int nr, bool replace)
{
	struct step gone = seq->step[at], *s;

	memmove(seq->step + at, seq->step + at + nr,
		(seq->nr - at - nr) * sizeof(gone));
	seq->nr -= nr;
	if (!replace)
		return true;
	if (nr > 1)
		return false;
	if (gone.op == OP_mems && gone.nodes) {
		seq->mems[gone.other] = gone.nodes;
		return true;
	}
	if (gone.op != OP_fork && gone.op != OP_thread)
		return false;
	for (s = seq->step + at; s < seq->step + seq->nr; s++) {
		if (gone.op == OP_fork && s->proc == gone.other) {
			s->proc = gone.proc;
			if (!s->thread)
				s->thread = gone.thread;
		} else if (gone.op == OP_thread && s->proc == gone.proc &&
			   s->thread == gone.other) {
			s->thread = gone.thread;
		}
		if (gone.op == OP_fork && s->op == OP_migrate_pages &&
		    s->other == gone.other)
			s->other = gone.proc;
	}
	return true;
}

/* Leaves out what can be left out; returns how many replays that took. */
static int shrink(struct sequence *seq)
{
	static struct sequence try;
	int size = seq->nr, at, replays = 1, i, nr;
	bool less = false, fine;

	/* One at a time, if that does it as well */
	try = *seq;
	for (i = 0; i < try.nr; i++)
		try.step[i].together = 0;
	if (!run(&try, false))
		*seq = try;

	do {
		/* Half as many at once, and in the end singly until all are needed */
		size = size > 1 ? size / 2 : 1;
		less = false;
		for (at = 0; at < seq->nr && replays < MAX_REPLAYS;) {
			nr = size < seq->nr - at ? size : seq->nr - at;
			fine = true;
			for (i = 0; i < 2 && fine; i++) {
				try = *seq;
				if (!leave_out(&try, at, nr, i))
					break;
				replays++;
				fine = run(&try, false);
			}
			if (fine) {
				at += nr;
				continue;
			}
			*seq = try;
			less = true;
		}
	} while ((size > 1 || less) && replays < MAX_REPLAYS);
	return replays;
}

static void print_steps(const struct sequence *seq)
{
	int i;

	ksft_print_msg("start: p0 in cpuset 0, mems %s; p1 in cpuset 1, mems %s\n",
		       list_text(seq->mems[0]), list_text(seq->mems[1]));
	for (i = 0; i < seq->nr; i++)
		ksft_print_msg("step: %s\n", step_text(&seq->step[i]));
}

/* Returns how many steps are left of what went wrong. */
static int explain(struct sequence *seq)
{
	char found[sizeof(mismatch)];
	int replays, steps = seq->nr, i;

	counting = false;
	strcpy(found, mismatch);
	ksft_print_msg("SEED=%ld CASE=%ld STEPS=%ld: %s\n", seed, seq->number,
		       nr_steps, found);
	for (i = 0; i < 5 && run(seq, false); i++)
		;
	if (i == 5) {
		ksft_print_msg("that happens not every time, these are all steps:\n");
		print_steps(seq);
		return seq->nr;
	}
	replays = shrink(seq);
	for (i = 0; i < 5 && run(seq, false); i++)
		;
	ksft_print_msg("of %d steps %d are left, after %d replays:\n", steps,
		       seq->nr, replays);
	print_steps(seq);
	ksft_print_msg("then: %s\n", mismatch);
	return seq->nr;
}

/* Is a mistake in the model found?  All of them take a while. */
static bool find_planted(int which)
{
	static struct sequence seq;
	bool fine = true;
	int i, steps;

	for (planted = 1; planted < NR_PLANTS; planted++) {
		double begun = now();

		if (which > 0 ? planted != (unsigned int)which :
		    !which && planted != PLANT_no_remap &&
		    planted != 2 + (unsigned long)seed % (NR_PLANTS - 2))
			continue;
		for (i = 0; i < PLANT_CASES; i++) {
			seq.number = i;
			if (!run(&seq, true))
				break;
		}
		ksft_print_msg("planted: %s: %d cases\n", plant_name[planted], i + 1);
		if (i == PLANT_CASES) {
			ksft_print_msg("not found: %s\n", plant_name[planted]);
			fine = false;
			continue;
		}
		steps = explain(&seq);
		ksft_print_msg("planted: %s: found and shrunk in %.1f s\n",
			       plant_name[planted], now() - begun);
		if (steps > PLANT_STEPS)
			fine = false;
	}
	planted = PLANT_none;
	return fine;
}

static bool all_made(void)
{
	int i;

	for (i = 0; i < NR_OPS && (counts.made[i] || !allowed(i)); i++)
		;
	return i == NR_OPS && counts.raced;
}

/* 0 if every kind of step was made */
static int report(void)
{
	int missing = 0;
	size_t i;

	for (i = 0; i < NR_OPS; i++) {
		ksft_print_msg("fuzz: %s=%lu (%lu refused)%s\n", op_name[i],
			       counts.made[i], counts.refused[i],
			       allowed(i) ? "" : " (not to be had here)");
		if (allowed(i) && !counts.made[i]) {
			ksft_print_msg("never made: %s\n", op_name[i]);
			missing++;
		}
	}
	ksft_print_msg("sequences=%lu steps=%lu at_once=%lu raced=%lu late=%lu unsure=%lu\n",
		       counts.sequences, counts.steps, counts.together,
		       counts.raced, counts.late, counts.unsure);
	ksft_print_msg("checks: tasks=%lu addresses=%lu vmas=%lu placed=%lu\n",
		       counts.tasks, counts.pages, counts.vmas, counts.placed);
	if (!counts.raced || !counts.placed) {
		ksft_print_msg("never made: %s\n",
			       counts.raced ? "a touch" : "a race");
		missing++;
	}
	return missing;
}

static void find_all_nodes(void)
{
	char buf[4096], *at = buf;
	int one, last, len;

	if (read_text("/sys/devices/system/node/has_memory", buf,
		      sizeof(buf)) <= 0)
		return;
	for (; sscanf(at, "%d%n", &one, &len) == 1; at++) {
		at += len;
		last = one;
		if (sscanf(at, "-%d%n", &last, &len) == 1)
			at += len;
		if (last >= MODEL_NODES) {
			all_nodes = 0;
			return;
		}
		for (; one <= last; one++)
			all_nodes |= 1UL << one;
	}
}

/* On v2 they are those of the parent then.  6.12 refuses that, as v1 does. */
static bool may_write_empty_mems(void)
{
	char number[16];
	pid_t pid;
	int err;

	if (cs.version == 1)
		return true;	/* and the model has the refusal */
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	sprintf(number, "%d", pid);
	err = cpuset_write(&cs, 0, "cpuset.mems", list_text(1UL << node[0])) ?:
	      cpuset_write(&cs, 0, "cgroup.procs", number);
	if (err)
		ksft_exit_fail_msg("no process in a cpuset: %s\n", strerror(-err));
	err = cpuset_write(&cs, 0, "cpuset.mems", "\n");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (err && err != -ENOSPC)
		ksft_exit_fail_msg("no mems: %s\n", strerror(-err));
	return !err && all_nodes;
}

int main(int argc, char **argv)
{
	long seconds = env_number("SECONDS", 20), cases = env_number("CASES", 0);
	long only = env_number("CASE", -1), failed = 0;
	const char *mode = getenv("MODE"), *why;
	static struct sequence seq;
	bool big[MODEL_NODES];
	struct reply reply = {};
	char name[64];
	double stop;

	page = sysconf(_SC_PAGESIZE);
	if (argc > 1) {
		int slot = SLOT(atoi(argv[1]), 0);

		/* The path that was executed ends in "exe". */
		prctl(PR_SET_NAME, "fuzz");
		reply.err = map_pages();
		answer(slot, &reply);
		act_on(slot);
	}

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	seed = env_number("SEED", time(NULL) ^ getpid());
	nr_steps = env_number("STEPS", 40);
	without = getenv("WITHOUT");
	old_rules = env_number("OLD", 0);
	if (!mode)
		mode = "v1";
	nr_nodes = find_nodes(node, big, MODEL_NODES);
	while (nr_nodes && node[nr_nodes - 1] >= MODEL_NODES)
		nr_nodes--;
	if (nr_nodes < 3)
		ksft_exit_skip("needs three nodes with memory\n");
	find_all_nodes();
	why = cpusets_make(&cs, strcmp(mode, "v2") ? 1 : 2);
	if (why)
		ksft_exit_skip("%s\n", why);
	empty_mems = may_write_empty_mems();
	/* It would move pages on its own. */
	write_text("/proc/sys/kernel/numa_balancing", "0");
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	ksft_set_plan(2);
	ksft_print_msg("MODE=%s SEED=%ld STEPS=%ld nodes=%d empty_mems=%d\n", mode,
		       seed, nr_steps, nr_nodes, empty_mems);
	if (only < 0)
		ksft_test_result(find_planted(env_number("PLANT", 0)),
				 "fuzz.can_fail\n");
	else
		ksft_test_result_skip("fuzz.can_fail\n");

	stop = now() + seconds;
	seq.number = only < 0 ? 0 : only;
	do {
		counting = true;
		if (!run(&seq, true)) {
			failed++;
			explain(&seq);
		}
		counting = true;
		counts.sequences++;
		seq.number++;
	} while (only < 0 && failed < 3 &&
		 (cases ? seq.number < cases : now() < stop ||
		  (!all_made() && now() < stop + 4 * seconds)));
	if (report() && only < 0)
		failed++;
	snprintf(name, sizeof(name), "fuzz.%s", mode);
	cpusets_remove(&cs);
	ksft_test_result(!failed, "%s\n", name);
	ksft_finished();
}
