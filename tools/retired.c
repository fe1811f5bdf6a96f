// SPDX-License-Identifier: GPL-2.0
/*
 * How many memory policies there are while a cpuset's mems change quickly, and
 * that a change does not fail for want of memory for another.
 *
 * The policies of many threads that sleep, and of a few that allocate, are
 * changed with each write to cpuset.mems.  What a change replaces must be freed
 * soon, and everything when the threads have ended:
 *
 *	shared	one policy, set before the threads were created
 *	own	each thread its own, and another for memory of its own
 *	busy	the same, and those that allocate set new ones all the time, which
 *		meet the changes: none may be lost, or stay for the old mems
 *
 * With FAILSLAB=1 instead: every allocation of a policy by the writer fails, and
 * still each write to cpuset.mems, and each move to another cpuset, has to
 * succeed and to change the policies of all threads.
 *
 * In the environment: THREADS and UPDATES for the first (1000, 10000),
 * OWN_THREADS and OWN_UPDATES for the second (200, 500) and for FAILSLAB=1;
 * BOUND=n, how many objects more than before there may be at any time.
 *
 * The bound, if none is given, is four policies for each that is in use by a
 * task or a mapping of its own: the one that is in use, the ones that wait for
 * the grace period that is under way and for the one after it, which are two,
 * and one that an update has at hand to put in; and what a CPU collects before
 * it asks for a grace period.  It takes for granted that updates are not faster
 * than grace periods; where they are, and a kernel keeps more for a reason, the
 * largest number is there to be judged.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "kselftest.h"
#include "guest.h"

#define MAX_THREADS	4000
#define NR_FAULTERS	4
#define FAULT_PAGES	64
#define STACK_BYTES	(32 << 10)
#define NR_SAMPLES	200	/* of the number of objects during the updates */
#define NR_LINES	10	/* about them */
#define NR_CHECKS	20	/* of the policies of all threads */
#define ANSWER_SECONDS	120
#define SLACK		4	/* see storm.c */
#define CPU_BATCH	128

#define FAILSLAB	"failslab"
#define POLICY_SLAB	"numa_policy"

enum event { EVENT_UPDATE, EVENT_ATTACH };

struct answer {
	struct nodes task, mapping;
	int error;
};

struct shared {
	bool stop;
	int question;			/* a futex; counts the questions */
	int answers;
	unsigned long faults;
	long updates;			/* begun */
	unsigned long set, outdated;	/* policies, that were set by who is busy */
	int ready;
	struct answer answer[MAX_THREADS];
};

static struct shared *shared;
static struct cpusets cs;
static unsigned long page;
static int node[MAX_NODES], nr_nodes;
static bool big[MAX_NODES];
static struct nodes want[2];
static char mems[2][32];

/* What a test is made of */
struct crowd {
	int threads;
	bool own;
	bool busy;
	char *region;			/* two pages of each thread */
};

static struct crowd crowd;

static void sleep_until_asked(int asked)
{
	syscall(__NR_futex, &shared->question, FUTEX_WAIT, asked, NULL, NULL, 0);
}

static int bind_self(void)
{
	return syscall(__NR_set_mempolicy, MPOL_BIND, want[0].mask,
		       MAX_NODES + 1);
}

static void answer(int n)
{
	struct answer *a = &shared->answer[n];
	int mode;

	a->error = 0;
	if (syscall(__NR_get_mempolicy, &mode, a->task.mask, MAX_NODES + 1,
		    NULL, 0) || mode != MPOL_BIND)
		a->error = errno ? errno : EINVAL;
	if (crowd.own &&
	    (syscall(__NR_get_mempolicy, &mode, a->mapping.mask, MAX_NODES + 1,
		     crowd.region + 2 * n * page, MPOL_F_ADDR) ||
	     mode != MPOL_BIND))
		a->error = errno ? errno : EINVAL;
	__atomic_add_fetch(&shared->answers, 1, __ATOMIC_RELEASE);
}

static void *sleeper(void *arg)
{
	int n = (intptr_t)arg, asked = 0;
	char *mine = crowd.region + 2 * n * page;

	if (crowd.own &&
	    (bind_self() || syscall(__NR_mbind, mine, page, MPOL_BIND,
				    want[0].mask, MAX_NODES + 1, 0)))
		_exit(3);
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		int question = __atomic_load_n(&shared->question,
					       __ATOMIC_ACQUIRE);

		if (question != asked) {
			asked = question;
			answer(n);
		} else {
			sleep_until_asked(asked);
		}
	}
	return NULL;
}

/*
 * Is the policy that was just set for the mems of before?  At most one update
 * changes this thread if none begins meanwhile.
 */
static bool is_outdated(void)
{
	long updates = __atomic_load_n(&shared->updates, __ATOMIC_ACQUIRE);
	struct nodes before = {}, nodes = {}, after = {};
	int mode;

	if (syscall(__NR_get_mempolicy, NULL, before.mask, MAX_NODES + 1, NULL,
		    MPOL_F_MEMS_ALLOWED) ||
	    syscall(__NR_get_mempolicy, &mode, nodes.mask, MAX_NODES + 1, NULL, 0) ||
	    syscall(__NR_get_mempolicy, NULL, after.mask, MAX_NODES + 1, NULL,
		    MPOL_F_MEMS_ALLOWED))
		_exit(7);
	if (updates != __atomic_load_n(&shared->updates, __ATOMIC_ACQUIRE) ||
	    memcmp(&before, &after, sizeof(before)))
		return false;
	__atomic_add_fetch(&shared->set, 1, __ATOMIC_RELAXED);
	return memcmp(&nodes, &after, sizeof(nodes));
}

/* Policies unlike those that an update has made already */
static void set_anew(char *at, int n)
{
	static __thread unsigned int turn;
	struct nodes nodes = want[0];
	int mode;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nodes.mask); i++)
		nodes.mask[i] |= want[1].mask[i];
	if (syscall(__NR_set_mempolicy, MPOL_BIND, nodes.mask, MAX_NODES + 1))
		_exit(5);
	if (is_outdated())
		__atomic_add_fetch(&shared->outdated, 1, __ATOMIC_RELAXED);
	nodes_add(&nodes, 8 + (turn++ * NR_FAULTERS + n % NR_FAULTERS) % 40);
	if (syscall(__NR_mbind, at, page, MPOL_BIND | MPOL_F_STATIC_NODES,
		    nodes.mask, MAX_NODES + 1, 0) ||
	    syscall(__NR_get_mempolicy, &mode, NULL, 0, at, MPOL_F_ADDR) ||
	    mode != (MPOL_BIND | MPOL_F_STATIC_NODES))
		_exit(6);
}

static void *faulter(void *arg)
{
	char *at = mmap(NULL, FAULT_PAGES * page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	if (at == MAP_FAILED)
		_exit(4);
	__atomic_add_fetch(&shared->ready, 1, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < FAULT_PAGES; i++) {
			if (crowd.busy)
				set_anew(at, (intptr_t)arg);
			at[i * page] = 1;
		}
		__atomic_add_fetch(&shared->faults, FAULT_PAGES,
				   __ATOMIC_RELAXED);
		madvise(at, FAULT_PAGES * page, MADV_DONTNEED);
	}
	return arg;
}

static int hold(void)
{
	int all = crowd.threads + NR_FAULTERS, i;
	pthread_attr_t attr;
	pthread_t thread;
	char pid[16], *stacks;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(pid, sizeof(pid), "%d", getpid());
	crowd.region = mmap(NULL, 2 * crowd.threads * page,
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* One mapping: an update visits them all, and is to be quick. */
	stacks = mmap(NULL, (size_t)all * STACK_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (crowd.region == MAP_FAILED || stacks == MAP_FAILED ||
	    madvise(stacks, (size_t)all * STACK_BYTES, MADV_NOHUGEPAGE) ||
	    cpuset_write(&cs, 0, "cgroup.procs", pid) || bind_self())
		return 1;
	pthread_attr_init(&attr);
	for (i = 0; i < all; i++) {
		pthread_attr_setstack(&attr, stacks + (size_t)i * STACK_BYTES,
				      STACK_BYTES);
		if (pthread_create(&thread, &attr,
				   i < crowd.threads ? sleeper : faulter,
				   (void *)(intptr_t)i))
			return 2;
	}
	while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
		pause();
	return 0;
}

static bool ended(pid_t pid)
{
	siginfo_t info = {};

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       info.si_pid == pid;
}

static pid_t start_crowd(int threads, bool own, bool busy)
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	crowd.threads = threads;
	crowd.own = own;
	crowd.busy = busy;
	if (cpuset_write(&cs, 0, "cpuset.mems", mems[0]) ||
	    cpuset_write(&cs, 1, "cpuset.mems", mems[1])) {
		ksft_print_msg("cannot write cpuset.mems\n");
		return -1;
	}
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(hold());
	while (pid > 0 &&
	       __atomic_load_n(&shared->ready, __ATOMIC_RELAXED) <
	       threads + NR_FAULTERS) {
		if (ended(pid)) {
			ksft_print_msg("the threads ended before the test\n");
			waitpid(pid, NULL, 0);
			return -1;
		}
		nap(10);
	}
	return pid;
}

static int end_crowd(pid_t pid)
{
	int status = 0;

	if (ended(pid)) {
		waitpid(pid, &status, 0);
		ksft_print_msg("the threads ended too early: signal=%d status=%d\n",
			       WIFSIGNALED(status) ? WTERMSIG(status) : 0,
			       WEXITSTATUS(status));
		return 1;
	}
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid) {
		ksft_perror("waitpid");
		return 1;
	}
	return 0;
}

/* How many threads do not have the policies of these mems, or -1 */
static int count_stale(pid_t pid, int to)
{
	double end = now() + ANSWER_SECONDS;
	int i, stale = 0;

	__atomic_store_n(&shared->answers, 0, __ATOMIC_RELAXED);
	__atomic_add_fetch(&shared->question, 1, __ATOMIC_RELEASE);
	syscall(__NR_futex, &shared->question, FUTEX_WAKE, INT_MAX, NULL, NULL,
		0);
	while (__atomic_load_n(&shared->answers, __ATOMIC_ACQUIRE) <
	       crowd.threads) {
		if (ended(pid) || now() > end) {
			ksft_print_msg("only %d of %d threads answered\n",
				       shared->answers, crowd.threads);
			return -1;
		}
		nap(1);
	}
	for (i = 0; i < crowd.threads; i++) {
		struct answer *a = &shared->answer[i];

		if (a->error ||
		    memcmp(&a->task, &want[to], sizeof(a->task)) ||
		    (crowd.own && memcmp(&a->mapping, &want[to],
					 sizeof(a->mapping))))
			stale++;
	}
	return stale;
}

static int change_mems(enum event event, pid_t pid, int to)
{
	char text[16];

	if (event == EVENT_UPDATE)
		return cpuset_write(&cs, 0, "cpuset.mems", mems[to]);
	snprintf(text, sizeof(text), "%d", pid);
	return cpuset_write(&cs, to, "cgroup.procs", text);
}

/* Is it time for one of @times actions, spread over @all rounds? */
static bool is_due(long round, long all, long times)
{
	/* Odd: after updates to either mems */
	return times >= all || round % (all / times | 1) == 0 || round == all - 1;
}

static void test_bound(const char *name, int threads, bool own, bool busy,
		       long updates)
{
	/* That of the first thread, and one for each thread and mapping */
	long in_use = 1 + (own ? 2L * threads : 0);
	long bound = env_number("BOUND", 4 * in_use + CPU_BATCH *
				sysconf(_SC_NPROCESSORS_ONLN));
	struct slab before, during = {}, after, at_rest, max = {};
	int err, stale, to = 0, failed = 0;
	const char *why;
	double started, seconds;
	long made = 0;
	pid_t pid;

	why = slab_settle(POLICY_SLAB, 0, BEFORE_SECONDS, &before);
	pid = start_crowd(threads, own, busy);
	if (pid < 0) {
		ksft_test_result_fail("%s\n", name);
		return;
	}
	if (!why)
		why = slab_count(POLICY_SLAB, &at_rest);
	started = now();
	while (made < updates && !failed) {
		to = !to;
		__atomic_add_fetch(&shared->updates, 1, __ATOMIC_RELEASE);
		err = change_mems(EVENT_UPDATE, pid, to);
		if (err) {
			ksft_print_msg("update %ld: %s\n", made,
				       strerror(-err));
			failed++;
		}
		if (!why && is_due(made, updates, NR_SAMPLES)) {
			why = slab_count(POLICY_SLAB, &during);
			if (during.active > max.active)
				max.active = during.active;
			if (during.total > max.total)
				max.total = during.total;
		}
		if (is_due(made, updates, NR_LINES))
			ksft_print_msg("update %ld after %ld ms: %ld objects, at most %ld so far\n",
				       made, (long)(1000 * (now() - started)),
				       why ? -1 : during.active, max.active);
		if (is_due(made, updates, NR_CHECKS)) {
			stale = count_stale(pid, to);
			if (stale) {
				ksft_print_msg("update %ld: %d threads have other policies\n",
					       made, stale);
				failed++;
			}
		}
		made++;
	}
	seconds = now() - started;
	failed += end_crowd(pid);
	if (!shared->faults) {
		ksft_print_msg("nothing was allocated during the updates\n");
		failed++;
	}
	if (shared->outdated || (busy && !shared->set)) {
		ksft_print_msg("of %lu policies that were set %lu are for the mems of before\n",
			       shared->set, shared->outdated);
		failed++;
	}
	ksft_print_msg("threads=%d updates=%ld faults=%lu set=%lu milliseconds=%ld\n",
		       threads, made, shared->faults, shared->set,
		       (long)(1000 * seconds));
	if (!why)
		why = slab_settle(POLICY_SLAB, before.active + SLACK,
				  SETTLE_SECONDS, &after);
	if (!why) {
		ksft_print_msg("objects: before %ld, with the threads %ld, max during %ld, after %ld\n",
			       before.active, at_rest.active, max.active,
			       after.active);
		ksft_print_msg("before=%ld max=%ld after=%ld bound=%ld total_max=%ld total_after=%ld\n",
			       before.active, max.active, after.active, bound,
			       max.total, after.total);
		/* Those who are busy leave behind as many as they can. */
		if (!busy && at_rest.active > before.active + in_use + SLACK) {
			ksft_print_msg("more than the %ld that are in use\n",
				       in_use);
			failed++;
		}
		if (!busy && max.active > before.active + bound) {
			ksft_print_msg("more than %ld above what there was before\n",
				       bound);
			failed++;
		}
		if (after.active > before.active + SLACK) {
			ksft_print_msg("not all were freed\n");
			failed++;
		}
	}
	if (failed || !why)
		ksft_test_result(!failed, "%s\n", name);
	else
		ksft_test_result_code(KSFT_SKIP, name, "%s", why);
}

static void test_failslab(const char *name, enum event event, int threads,
			  bool own, long updates, const char *why)
{
	long made = 0, faults = 0;
	int err, stale, to = 0, failed = 0;
	pid_t pid;

	if (why) {
		ksft_test_result_code(KSFT_SKIP, name, "%s", why);
		return;
	}
	/* Does it work?  Who allocates a policy is told that it failed. */
	reset_injected(FAILSLAB);
	fail_me(true);
	err = bind_self() ? errno : 0;
	fail_me(false);
	if (err != ENOMEM || !injected(FAILSLAB)) {
		ksft_print_msg("set_mempolicy() did not fail (%s), injected=%ld\n",
			       strerror(err), injected(FAILSLAB));
		ksft_test_result_fail("%s\n", name);
		return;
	}
	pid = start_crowd(threads, own, false);
	if (pid < 0) {
		ksft_test_result_fail("%s\n", name);
		return;
	}
	while (made < updates && !failed) {
		to = !to;
		reset_injected(FAILSLAB);
		fail_me(true);
		err = change_mems(event, pid, to);
		fail_me(false);
		faults += injected(FAILSLAB);
		if (err) {
			ksft_print_msg("change %ld: %s\n", made, strerror(-err));
			failed++;
		}
		stale = count_stale(pid, to);
		if (stale) {
			ksft_print_msg("change %ld: %d threads have other policies\n",
				       made, stale);
			failed++;
		}
		made++;
	}
	failed += end_crowd(pid);
	ksft_print_msg("threads=%d updates=%ld faults=%lu injected=%ld\n",
		       threads, made, shared->faults, faults);
	ksft_test_result(!failed, "%s\n", name);
}

/* Two overlapping pairs, or two single nodes if there are no more */
static void choose_mems(void)
{
	int i, j, pair = nr_nodes > 2;

	for (i = 0; i < 2; i++) {
		char *at = mems[i];

		for (j = i; j <= i + pair; j++) {
			nodes_add(&want[i], node[j]);
			at += sprintf(at, "%s%d", j > i ? "," : "", node[j]);
		}
	}
}

int main(void)
{
	long threads = env_number("THREADS", 1000);
	long updates = env_number("UPDATES", 10000);
	long own_threads = env_number("OWN_THREADS", 200);
	long own_updates = env_number("OWN_UPDATES", 500);
	const char *why;

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	page = sysconf(_SC_PAGESIZE);
	nr_nodes = find_nodes(node, big, MAX_NODES);
	if (nr_nodes < 2)
		ksft_exit_skip("needs two nodes with memory\n");
	if (threads < 1 || threads > MAX_THREADS || own_threads < 1 ||
	    own_threads > MAX_THREADS || updates < 1 || own_updates < 1)
		ksft_exit_fail_msg("THREADS is 1 to %d, UPDATES is at least 1\n",
				   MAX_THREADS);
	why = cpusets_make(&cs, 1);
	if (why)
		ksft_exit_skip("%s\n", why);
	choose_mems();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");

	if (env_number("FAILSLAB", 0)) {
		ksft_set_plan(4);
		why = inject_faults(FAILSLAB, 100,
				    (const char * const []){ POLICY_SLAB, NULL });
		test_failslab("failslab.shared.update", EVENT_UPDATE,
			      own_threads, false, own_updates, why);
		test_failslab("failslab.shared.attach", EVENT_ATTACH,
			      own_threads, false, own_updates, why);
		test_failslab("failslab.own.update", EVENT_UPDATE, own_threads,
			      true, own_updates, why);
		test_failslab("failslab.own.attach", EVENT_ATTACH, own_threads,
			      true, own_updates, why);
	} else {
		ksft_set_plan(3);
		test_bound("retired.shared", threads, false, false, updates);
		test_bound("retired.own", own_threads, true, false, own_updates);
		test_bound("retired.busy", own_threads, true, true, own_updates);
	}
	cpusets_remove(&cs);
	ksft_finished();
}
