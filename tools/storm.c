// SPDX-License-Identifier: GPL-2.0
/*
 * A storm of everything that creates, copies, looks at, replaces or drops a
 * memory policy, all at once, to be run in a kernel that notices mistakes: use
 * after free, leaks, data races, lock order.
 *
 *	workers		processes with threads, each doing one operation after the
 *			other at random on memory that they share
 *	mems		writes cpuset.mems of two cpusets
 *	mover		moves processes, and threads (v1), between the two
 *	weights		writes the weights of weighted interleaving
 *
 * What has to hold: nobody is killed, every process ends and can be reaped,
 * nothing fails in a way that it should not, nothing was left out, and
 * afterwards there are as many policies in the slab caches as before.
 *
 * In the environment: SECONDS=n, how long (20); SEED=n, to repeat the choices
 * of a run, though not their order in time; MODE=v1 or v2 (v1).
 *
 * HOTPLUG=n takes the memory of node n, which has to be movable, offline and
 * online all the time.  The first node then is in all policies and mems: a process
 * that is bound to the node that goes would rightly be killed.
 *
 * FAIL=failslab or FAIL=fail_page_alloc has some of the workers' allocations fail:
 * whatever they do may be refused for want of memory.
 *
 * It allocates little, some MB per worker, none of it on a node of less than
 * USABLE_KB: if it runs out of memory nevertheless, that is the kernel's fault.
 */
#define _GNU_SOURCE
#include <glob.h>
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

#define NR_WORKERS	6
#define NR_THREADS	2	/* of each worker */
#define HUGE_SIZE	(2UL << 20)
#define ARENA_SIZE	(HUGE_SIZE + (1UL << 20))	/* a huge page and more */
#define SHMEM_PAGES	128
#define FUTEX_PAGES	2
#define FUTEX_STRIDE	64
#define SCRATCH_PAGES	16
#define CHILD_PAGES	16
#define PIPE_BYTES	(32 << 10)
#define STACK_BYTES	(64 << 10)
/* Migrations take one more page each; none may be without. */
#define HUGE_PER_NODE	4
#define LONGEST		10
#define REAP_SECONDS	180
#define FAIL_PERCENT	2
/*
 * Nothing should be left.  A process of the kernel that started meanwhile may
 * have a policy; that is a few, and what leaks in a storm are many.
 */
#define SLACK		4

#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node	450
#endif
#ifndef __NR_futex_wake
#define __NR_futex_wake			454
#define __NR_futex_wait			455
#endif

#define WEIGHTS	"/sys/kernel/mm/mempolicy/weighted_interleave/"

#ifdef FUTEX2_MPOL
#define FUTEX_OPS(op)							\
	op(futex_wait) op(futex_wake) op(futex_numa) op(futex_mpol)
#else
#define FUTEX_OPS(op)	/* this kernel's futexes know of no nodes */
#endif

#define OPS(op)								\
	op(mbind) op(mbind_move) op(set_mempolicy) op(home_node)	\
	op(get_task) op(get_addr) op(get_node) op(get_next)		\
	op(fork) op(exec) op(exec_thread) op(exit_leader) op(thread)	\
	op(numa_maps) op(map_fixed) op(unmap) op(remap)			\
	op(shmem) op(shmem_anon) op(hugetlb) op(fault) op(pipe)		\
	FUTEX_OPS(op)							\
	op(weight) op(auto_off) op(mems) op(move) op(move_thread)	\
	op(offline) op(online)

#define OP_ENUM(name)	OP_##name,
#define OP_NAME(name)	#name,
enum op { OPS(OP_ENUM) NR_OPS };
static const char * const op_name[] = { OPS(OP_NAME) };

static const char * const mode_name[] = {
	"default", "preferred", "bind", "interleave", "local",
	"preferred_many", "weighted_interleave",
};
#define NR_MODES	ARRAY_SIZE(mode_name)

static const struct {
	const char *name;
	int flags;
} mode_flags[] = {
	{ "none", 0 },
	{ "static", MPOL_F_STATIC_NODES },
	{ "relative", MPOL_F_RELATIVE_NODES },
	{ "balancing", MPOL_F_NUMA_BALANCING },
	{ "balancing_static", MPOL_F_NUMA_BALANCING | MPOL_F_STATIC_NODES },
};
#define NR_FLAGS	ARRAY_SIZE(mode_flags)

struct shared {
	bool stop;
	unsigned long made[NR_OPS];
	unsigned long refused[NR_OPS];	/* for a reason that is none to worry */
	unsigned long mbind[NR_MODES][NR_FLAGS];
	unsigned long set[NR_MODES][NR_FLAGS];
	unsigned long bad;		/* what must not happen */
	int bad_op, bad_value;		/* ... the first time */
	pid_t worker[NR_WORKERS];
};

static struct shared *shared;
static struct cpusets cs;
static unsigned long page;
static int node[MAX_NODES], nr_nodes;
static bool big[MAX_NODES];
static bool have_hugetlb;
static long seed;
static int hot_node;			/* or -1 */
static const char *fail;		/* a kind of fault injection, or NULL */

/* Of each process */
static char *arena, *futexes, *shmem;
/* Of each thread */
static __thread uint64_t dice;
static __thread int own_pipe[2];
static __thread char *pipe_buf;

/* xorshift64 */
static unsigned int roll(unsigned int sides)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (dice >> 16) % sides;
}

static void roll_from(unsigned int n)
{
	dice = (seed + 1) * 0x9e3779b97f4a7c15ULL + n * 0xbf58476d1ce4e5b9ULL;
	dice |= 1;
	roll(2);
	roll(2);
}

static void count(unsigned long *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static void bad(enum op op, int value)
{
	if (fail && (value == ENOMEM || value == EAGAIN || value == EFAULT ||
		     value == ENOSPC)) {
		count(&shared->refused[op]);
		return;
	}
	if (__atomic_add_fetch(&shared->bad, 1, __ATOMIC_RELAXED) == 1) {
		shared->bad_op = op;
		shared->bad_value = value;
	}
}

static bool stopped(void)
{
	return __atomic_load_n(&shared->stop, __ATOMIC_RELAXED);
}

/*
 * Keeps account of a system call; those of @fine may be refused, EINVAL in most
 * cases for a mask of which the cpuset has no node at the moment.
 */
static bool did(enum op op, long result, const int *fine)
{
	int err = errno;

	if (result >= 0) {
		count(&shared->made[op]);
		return true;
	}
	for (; *fine; fine++) {
		if (err == *fine) {
			count(&shared->refused[op]);
			return false;
		}
	}
	bad(op, err);
	return false;
}

#define FINE(...)	((const int []){ __VA_ARGS__, 0 })
#define NOTHING_FINE	((const int []){ 0 })

struct policy {
	unsigned int mode, flags;	/* the latter an index of mode_flags */
	struct nodes nodes;
	bool empty;
};

static struct nodes some_nodes(void)
{
	struct nodes nodes = {};
	int i;

	nodes_add(&nodes, node[roll(nr_nodes)]);
	for (i = roll(3); i; i--)
		nodes_add(&nodes, node[roll(nr_nodes)]);
	if (hot_node >= 0) {
		nodes_add(&nodes, node[0]);
		if (roll(2))
			nodes_add(&nodes, hot_node);
	}
	return nodes;
}

static struct policy some_policy(void)
{
	struct policy pol = { .mode = roll(NR_MODES) };

	pol.empty = pol.mode == MPOL_DEFAULT || pol.mode == MPOL_LOCAL ||
		    (pol.mode == MPOL_PREFERRED && !roll(8));
	if (pol.empty)
		return pol;
	pol.nodes = some_nodes();
	/* Balancing is for two of the modes only. */
	pol.flags = roll(pol.mode == MPOL_BIND ||
			 pol.mode == MPOL_PREFERRED_MANY ? NR_FLAGS : 3);
	return pol;
}

static void set_policy(void)
{
	struct policy pol = some_policy();
	long err = syscall(__NR_set_mempolicy,
			   pol.mode | mode_flags[pol.flags].flags,
			   pol.empty ? NULL : pol.nodes.mask,
			   pol.empty ? 0 : MAX_NODES + 1);

	if (did(OP_set_mempolicy, err, FINE(EINVAL)))
		count(&shared->set[pol.mode][pol.flags]);
}

/* A part of a mapping, in pages that are touched one by one */
static char *some_range(char *from, size_t size, size_t max, size_t *len)
{
	size_t pages = size / page, first = roll(pages);

	*len = 1 + roll(max);
	if (*len > pages - first)
		*len = pages - first;
	*len *= page;
	return from + first * page;
}

static void touch(char *at, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += page)
		__atomic_store_n(at + i, 1, __ATOMIC_RELAXED);
}

static void bind_range(enum op op, char *at, size_t len, unsigned int how)
{
	struct policy pol = some_policy();
	long err;

	if (how && op == OP_mbind)
		op = OP_mbind_move;
	err = syscall(__NR_mbind, at, len,
		      pol.mode | mode_flags[pol.flags].flags,
		      pol.empty ? NULL : pol.nodes.mask,
		      pol.empty ? 0 : MAX_NODES + 1, how);
	/* EIO: not all of the pages could be moved, or lie as demanded */
	if (did(op, err, FINE(EINVAL, EIO)))
		count(&shared->mbind[pol.mode][pol.flags]);
}

static unsigned int some_move(void)
{
	static const unsigned int how[] = {
		MPOL_MF_MOVE, MPOL_MF_MOVE | MPOL_MF_STRICT, MPOL_MF_MOVE_ALL,
	};

	/* Slow, as all CPUs have to hand in their pages */
	return roll(6) ? 0 : how[roll(ARRAY_SIZE(how))];
}

/* One node of those that the policy has, as otherwise it would be no home */
static void set_home_node(char *at, size_t len)
{
	int home = node[roll(nr_nodes)];
	struct nodes nodes = some_nodes();
	long err;

	nodes_add(&nodes, home);
	err = syscall(__NR_mbind, at, len,
		      roll(2) ? MPOL_BIND : MPOL_PREFERRED_MANY, nodes.mask,
		      MAX_NODES + 1, 0);
	if (err)
		return;
	/*
	 * EOPNOTSUPP, ENOENT: another thread has replaced the policy, or the
	 * mapping, at this moment
	 */
	err = syscall(__NR_set_mempolicy_home_node, at, len, home, 0);
	did(OP_home_node, err, FINE(EOPNOTSUPP, ENOENT, EINVAL));
}

static void get_policy(void)
{
	char *at = arena + roll(ARENA_SIZE / page) * page;
	struct nodes nodes;
	int mode;

	switch (roll(4)) {
	case 0:
		did(OP_get_task, syscall(__NR_get_mempolicy, &mode, nodes.mask,
					 MAX_NODES + 1, NULL, 0), NOTHING_FINE);
		break;
	case 1:
		if (roll(2))
			at = shmem + roll(SHMEM_PAGES) * page;
		did(OP_get_addr, syscall(__NR_get_mempolicy, &mode, nodes.mask,
					 MAX_NODES + 1, at, MPOL_F_ADDR),
		    NOTHING_FINE);
		break;
	case 2:
		/* Faults the page in */
		did(OP_get_node, syscall(__NR_get_mempolicy, &mode, NULL, 0, at,
					 MPOL_F_ADDR | MPOL_F_NODE),
		    NOTHING_FINE);
		break;
	case 3:
		nodes = some_nodes();
		if (syscall(__NR_set_mempolicy, roll(2) ? MPOL_INTERLEAVE :
			    MPOL_WEIGHTED_INTERLEAVE, nodes.mask,
			    MAX_NODES + 1))
			break;
		did(OP_get_next, syscall(__NR_get_mempolicy, &mode, NULL, 0,
					 NULL, MPOL_F_NODE), NOTHING_FINE);
		break;
	}
}

/* Ours, or another's that was to end by itself */
static void reap(enum op op, pid_t pid)
{
	int status;

	if (pid < 0) {
		bad(op, errno);
		return;
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR) {
			bad(op, errno);
			return;
		}
	}
	/* A program that cannot be started, or its memory be had, is killed. */
	if (status && fail)
		count(&shared->refused[op]);
	else if (status)
		bad(op, status);
	else
		count(&shared->made[op]);
}

static void fork_child(void)
{
	unsigned int n = roll(1 << 20);
	pid_t pid = fork();
	size_t len;
	char *at;

	if (!pid) {
		roll_from(n);
		at = some_range(arena, ARENA_SIZE, CHILD_PAGES, &len);
		touch(at, len);
		if (roll(2))
			set_policy();
		if (roll(2))
			bind_range(OP_mbind, at, len, some_move());
		touch(at, len);
		_exit(0);
	}
	reap(OP_fork, pid);
}

static void exec_child(void)
{
	static const struct {
		enum op op;
		const char *arg;
	} kind[] = {
		{ OP_exec, "exit" },
		{ OP_exec_thread, "exec" },
		{ OP_exit_leader, "leader" },
	};
	unsigned int which = roll(ARRAY_SIZE(kind));
	pid_t pid = fork();

	if (!pid) {
		execl("/proc/self/exe", "storm", kind[which].arg, NULL);
		_exit(127);
	}
	reap(kind[which].op, pid);
}

static void *short_thread(void *arg)
{
	size_t len;
	char *at;

	roll_from((uintptr_t)arg);
	fail_me(fail);
	set_policy();
	at = some_range(arena, ARENA_SIZE, CHILD_PAGES, &len);
	touch(at, len);
	if (roll(2))
		set_policy();
	fail_me(false);
	return NULL;
}

static void start_thread(void)
{
	pthread_t thread;
	pthread_attr_t attr;
	int err;

	/* The kernel does not tell if it cannot write that a thread began or ended. */
	fail_me(false);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&thread, &attr, short_thread,
			     (void *)(uintptr_t)roll(1 << 20));
	pthread_attr_destroy(&attr);
	if (!err)
		err = pthread_join(thread, NULL);
	fail_me(fail);
	if (err)
		bad(OP_thread, err);
	else
		count(&shared->made[OP_thread]);
}

static void read_maps(void)
{
	char path[64], buf[4096];
	ssize_t len;

	if (roll(4))
		snprintf(path, sizeof(path), "/proc/%d/numa_maps",
			 shared->worker[roll(NR_WORKERS)]);
	else
		strcpy(path, "/proc/thread-self/numa_maps");
	len = read_text(path, buf, sizeof(buf));
	errno = -len;
	/* Workers do not end all at the same time. */
	did(OP_numa_maps, len, FINE(ENOENT, ESRCH));
}

/* Replaces a part of what other threads use, in one step */
static void map_fixed(void)
{
	size_t len;
	char *at = some_range(arena, ARENA_SIZE, 64, &len);

	at = mmap(at, len, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	did(OP_map_fixed, at == MAP_FAILED ? -1 : 0, NOTHING_FINE);
	/* Often as a whole, so that there is room for a huge page again */
	if (!roll(16))
		mmap(arena, ARENA_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void remap(void)
{
	size_t len = SCRATCH_PAGES * page;
	char *at, *moved;

	at = mmap(NULL, len, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		bad(OP_remap, errno);
		return;
	}
	bind_range(OP_mbind, at, len / 2, 0);
	touch(at, len);
	moved = mremap(at, len / 2, len, MREMAP_MAYMOVE);
	/* One mapping only is moved at once: what follows may be cut off. */
	if (did(OP_remap, moved == MAP_FAILED ? -1 : 0, NOTHING_FINE)) {
		touch(moved, len);
		bind_range(OP_mbind, moved + len / 4, len / 4, some_move());
		did(OP_unmap, munmap(moved, len), NOTHING_FINE);
		if (moved == at)
			return;
	}
	did(OP_unmap, munmap(at + len / 2, len / 2), NOTHING_FINE);
}

static void use_shmem(void)
{
	size_t len;
	char *at = some_range(shmem, SHMEM_PAGES * page, 32, &len);

	bind_range(OP_shmem, at, len, some_move());
	touch(at, len);
	if (roll(2))
		madvise(at, len, MADV_REMOVE);
	if (roll(4))
		return;

	len = SCRATCH_PAGES * page;
	at = mmap(NULL, len, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) {
		bad(OP_shmem_anon, errno);
		return;
	}
	bind_range(OP_shmem_anon, at, len, 0);
	bind_range(OP_shmem_anon, at + len / 4, len / 2, 0);
	touch(at, len);
	munmap(at, len);
}

/*
 * By one thread only, one page at a time: there are so many that every node has
 * one for it, whatever the policy and the mems.
 */
static void use_hugetlb(void)
{
	int share = roll(2) ? MAP_SHARED : MAP_PRIVATE;
	char *at = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
			share | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	/* Counts what the mems and the policy have, at different moments */
	if (at == MAP_FAILED) {
		did(OP_hugetlb, -1, FINE(ENOMEM));
		return;
	}
	/* A child's copy would need a page that nobody has reserved. */
	madvise(at, HUGE_SIZE, MADV_DONTFORK);
	bind_range(OP_hugetlb, at, HUGE_SIZE, 0);
	at[0] = 1;
	bind_range(OP_hugetlb, at, HUGE_SIZE, some_move());
	at[page] = 1;
	munmap(at, HUGE_SIZE);
}

static void fault(void)
{
	size_t len;
	char *at = some_range(arena, ARENA_SIZE, 128, &len);

	touch(at, len);
	count(&shared->made[OP_fault]);
	madvise(at, len, MADV_DONTNEED);
}

/* The kernel's own pages: allocated under the policy of the task */
static void use_pipe(void)
{
	ssize_t len = write(own_pipe[1], pipe_buf, PIPE_BYTES);

	if (!did(OP_pipe, len, NOTHING_FINE))
		return;
	while (len > 0) {
		ssize_t part = read(own_pipe[0], pipe_buf, len);

		if (part <= 0) {
			bad(OP_pipe, part ? errno : 0);
			return;
		}
		len -= part;
	}
}

#ifdef FUTEX2_MPOL
static void use_futex(void)
{
	static const unsigned int flags[] = {
		FUTEX2_MPOL, FUTEX2_NUMA, FUTEX2_NUMA | FUTEX2_MPOL,
	};
	unsigned int words = FUTEX_PAGES * page / FUTEX_STRIDE;
	unsigned int flag = flags[roll(ARRAY_SIZE(flags))];
	uint32_t *word = (void *)(futexes + roll(words) * FUTEX_STRIDE);
	enum op op = flag & FUTEX2_MPOL ? OP_futex_mpol : OP_futex_numa;
	struct timespec until;
	long err;

	if (!roll(2))
		set_home_node(futexes, roll(2) ? page : FUTEX_PAGES * page);
	else if (!roll(4))
		bind_range(OP_mbind, futexes + page, page, some_move());

	/* Only where this is "no node" the policy is asked. */
	__atomic_store_n(word + 1, FUTEX_NO_NODE, __ATOMIC_RELAXED);
	if (roll(2))
		flag |= FUTEX2_PRIVATE;
	if (roll(2)) {
		err = syscall(__NR_futex_wake, word, ~0U, 1,
			      FUTEX2_SIZE_U32 | flag);
		if (did(OP_futex_wake, err, NOTHING_FINE))
			count(&shared->made[op]);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += roll(300) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	err = syscall(__NR_futex_wait, word, 0UL, ~0U, FUTEX2_SIZE_U32 | flag,
		      &until, CLOCK_MONOTONIC);
	if (err && errno == ETIMEDOUT)
		err = 0;
	if (did(OP_futex_wait, err, FINE(EINTR)))
		count(&shared->made[op]);
}
#endif

static void do_something(bool first)
{
	size_t len;
	char *at;

	switch (roll(20)) {
	case 0: case 1: case 2:
		at = some_range(arena, ARENA_SIZE, 64, &len);
		bind_range(OP_mbind, at, len, some_move());
		break;
	case 3:
		/* All of it: the VMAs merge, and a huge page may have it */
		bind_range(OP_mbind, arena, ARENA_SIZE, some_move());
		break;
	case 4: case 5:
		set_policy();
		break;
	case 6:
		at = some_range(arena, ARENA_SIZE, 64, &len);
		set_home_node(at, len);
		break;
	case 7:
		get_policy();
		break;
	case 8:
		fork_child();
		break;
	case 9:
		if (!roll(2))
			exec_child();
		break;
	case 10:
		start_thread();
		break;
	case 11:
		if (!roll(2))
			read_maps();
		break;
	case 12:
		/* Leaves a hole, to be hit by the others, if it fails. */
		if (!fail)
			map_fixed();
		break;
	case 13:
		remap();
		break;
	case 14:
		use_shmem();
		break;
	case 15:
		if (first && have_hugetlb)
			use_hugetlb();
		break;
	case 16:
		use_pipe();
		break;
#ifdef FUTEX2_MPOL
	case 17:
		use_futex();
		break;
#endif
	default:
		fault();
		break;
	}
}

static void *worker_thread(void *arg)
{
	unsigned int n = (uintptr_t)arg;

	roll_from(n);
	pipe_buf = malloc(PIPE_BYTES);
	if (!pipe_buf || pipe(own_pipe)) {
		bad(OP_pipe, errno);
		return NULL;
	}
	fail_me(fail);
	while (!stopped())
		do_something(!n);
	fail_me(false);
	close(own_pipe[0]);
	close(own_pipe[1]);
	free(pipe_buf);
	return NULL;
}

/* Where it cannot grow, the process is killed. */
static void grow_stack(void)
{
	volatile char room[STACK_BYTES];
	size_t i;

	for (i = 0; i < sizeof(room); i += page)
		room[i] = 1;
}

static int worker(unsigned int n)
{
	pthread_t thread[NR_THREADS];
	char *room;
	int i;

	/* On the boundary of a huge page */
	room = mmap(NULL, ARENA_SIZE + HUGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	futexes = mmap(NULL, FUTEX_PAGES * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED || futexes == MAP_FAILED)
		return 1;
	arena = (char *)(((uintptr_t)room + HUGE_SIZE - 1) & -HUGE_SIZE);

	grow_stack();
	for (i = 1; i < NR_THREADS; i++) {
		if (pthread_create(&thread[i], NULL, worker_thread,
				   (void *)(uintptr_t)(n * NR_THREADS + i)))
			return 1;
	}
	worker_thread((void *)(uintptr_t)(n * NR_THREADS));
	for (i = 1; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}

/* Neighbours, one, or all; a big node is always among them. */
static void some_mems(char *mems)
{
	int first, last, i;

	for (;;) {
		bool fine = false;

		first = roll(nr_nodes);
		last = first + roll(4);
		if (last >= nr_nodes)
			last = nr_nodes - 1;
		for (i = first; i <= last; i++)
			fine |= big[i];
		if (fine)
			break;
	}
	for (i = first; i <= last; i++)
		mems += sprintf(mems, "%s%d", i > first ? "," : "", node[i]);
	if (hot_node >= 0) {
		mems += sprintf(mems, ",%d", node[0]);
		if (roll(2))
			sprintf(mems, ",%d", hot_node);
	}
}

static void write_mems(void)
{
	char mems[64];
	int which = roll(2);

	some_mems(mems);
	errno = -cpuset_write(&cs, which, "cpuset.mems", mems);
	/* EINVAL: on v1 for a node whose memory is offline */
	did(OP_mems, errno ? -1 : 0, hot_node < 0 ? NOTHING_FINE : FINE(EINVAL));
	/* v2 always does.  That is slow: not for long */
	if (cs.version == 1 && !roll(8))
		cpuset_write(&cs, which, "cpuset.memory_migrate",
			     roll(8) ? "0" : "1");
}

static void move_one(void)
{
	bool thread = cs.version == 1 && roll(2);
	const char *file = thread ? "tasks" : "cgroup.procs";
	char path[256], list[8192], pid[16], *at;
	int from = roll(2), lines = 0;

	snprintf(path, sizeof(path), "%s/%s", cs.cgroup[from], file);
	if (read_text(path, list, sizeof(list)) <= 0)
		return;
	for (at = list; *at; at++)
		lines += *at == '\n';
	if (!lines)
		return;
	lines = roll(lines);
	for (at = list; lines; at++)
		lines -= *at == '\n';
	snprintf(pid, sizeof(pid), "%d", atoi(at));
	errno = -cpuset_write(&cs, !from, file, pid);
	/* ESRCH: it has ended meanwhile */
	did(thread ? OP_move_thread : OP_move, errno ? -1 : 0, FINE(ESRCH));
}

/* Can the kernel choose the weights? */
static bool has_auto_weights(void)
{
	return !access(WEIGHTS "auto", F_OK);
}

static void write_weight(void)
{
	char path[128];
	int err;

	if (!has_auto_weights() || roll(8)) {
		snprintf(path, sizeof(path), WEIGHTS "node%d",
			 node[roll(nr_nodes)]);
		err = write_number(path, 1 + roll(9));
		errno = -err;
		did(OP_weight, err, NOTHING_FINE);
		return;
	}
	/* ENODEV: nothing is known of the bandwidths that "auto" goes by */
	write_text(WEIGHTS "auto", "1");
	err = write_text(WEIGHTS "auto", "0");
	errno = -err;
	did(OP_auto_off, err, NOTHING_FINE);
}

/* They are all the same where nothing is known of bandwidths. */
static void reset_weights(void)
{
	char path[128];
	int i;

	for (i = 0; i < nr_nodes; i++) {
		snprintf(path, sizeof(path), WEIGHTS "node%d", node[i]);
		write_number(path, 1);
	}
}

/* All of the node's memory goes, then all comes back. */
static void plug_memory(void)
{
	static bool off;
	static glob_t blocks;
	char path[128];
	size_t i;
	int err;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/memory[0-9]*/state", hot_node);
	if (!blocks.gl_pathc && glob(path, 0, NULL, &blocks)) {
		bad(OP_offline, ENOENT);
		return;
	}
	off = !off;
	for (i = 0; i < blocks.gl_pathc; i++) {
		enum op op = off ? OP_offline : OP_online;

		do {
			err = write_text(blocks.gl_pathv[i],
					 off ? "offline" : "online_movable");
			errno = -err;
			/* EBUSY: a page could not be moved away; EINVAL: it is so */
			did(op, err, FINE(EBUSY, EAGAIN, EINVAL, EINTR));
		} while (err == -EBUSY && !stopped());
	}
}

static int writer(void (*write_one)(void), unsigned int n)
{
	roll_from(n);
	while (!stopped()) {
		write_one();
		sched_yield();
	}
	return 0;
}

/* What the workers execute: lives a short while under inherited policies */
static void *last_thread(void *arg)
{
	const char *then = arg;
	size_t len = CHILD_PAGES * page;
	char *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct nodes nodes = {};

	if (at == MAP_FAILED)
		_exit(1);
	/* What has no node in common with the mems is refused. */
	nodes_add(&nodes, 0);
	syscall(__NR_mbind, at, len / 2, MPOL_PREFERRED, nodes.mask,
		MAX_NODES + 1, 0);
	touch(at, len);
	syscall(__NR_set_mempolicy, MPOL_PREFERRED, nodes.mask, MAX_NODES + 1);
	if (then)
		execl("/proc/self/exe", "storm", then, NULL);
	_exit(then ? 127 : 0);
}

static int executed(const char *what)
{
	pthread_t thread;

	page = sysconf(_SC_PAGESIZE);
	if (!strcmp(what, "exit"))
		last_thread(NULL);
	if (pthread_create(&thread, NULL, last_thread,
			   !strcmp(what, "exec") ? "exit" : NULL))
		return 1;
	/* The other thread becomes the leader, or does without one. */
	if (!strcmp(what, "leader"))
		pthread_exit(NULL);
	for (;;)
		pause();
}

static char *huge_path(int which)
{
	static char path[128];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages",
		 which);
	return path;
}

static void reserve_hugetlb(int pages)
{
	int i;

	have_hugetlb = pages > 0;
	for (i = 0; i < nr_nodes; i++) {
		if (write_number(huge_path(node[i]), pages) ||
		    read_number(huge_path(node[i])) != pages)
			have_hugetlb = false;
	}
}

static pid_t start(unsigned int n)
{
	static void (* const write_one[])(void) = {
		write_mems, move_one, write_weight, plug_memory,
	};
	char pid[16];
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n >= NR_WORKERS)
		_exit(writer(write_one[n - NR_WORKERS], 1000 + n));
	shared->worker[n] = getpid();
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (cpuset_write(&cs, n % 2, "cgroup.procs", pid))
		_exit(1);
	_exit(worker(n));
}

#define MAX_PROCESSES	(NR_WORKERS + 4)
/* The last is for hotplug. */
#define NR_PROCESSES	(MAX_PROCESSES - (hot_node < 0))

/* Can it be made here?  Where allocations fail, some may never succeed. */
static bool op_due(enum op op)
{
	switch (op) {
	case OP_hugetlb:
		return have_hugetlb;
	case OP_move_thread:
		return cs.version == 1;
	case OP_auto_off:
		return has_auto_weights();
	case OP_offline:
	case OP_online:
		return hot_node >= 0;
	case OP_map_fixed:
		return !fail;
	default:
		return !fail || !shared->refused[op];
	}
}

static bool policy_due(unsigned int mode, unsigned int flags)
{
	return !flags || (mode != MPOL_DEFAULT && mode != MPOL_LOCAL &&
			  (flags < 3 || mode == MPOL_BIND ||
			   mode == MPOL_PREFERRED_MANY));
}

/* How many of the things that are due were never done; names them if asked to */
static int never_made(bool tell)
{
	size_t i, j;
	int missing = 0;

	for (i = 0; i < NR_OPS; i++) {
		if (!op_due(i) || shared->made[i])
			continue;
		missing++;
		if (tell)
			ksft_print_msg("never made: %s\n", op_name[i]);
	}
	for (i = 0; i < NR_MODES; i++) {
		for (j = 0; j < NR_FLAGS; j++) {
			if (!policy_due(i, j) ||
			    (shared->mbind[i][j] && shared->set[i][j]))
				continue;
			missing++;
			if (tell)
				ksft_print_msg("never set by both: %s/%s\n",
					       mode_name[i], mode_flags[j].name);
		}
	}
	if (fail && !injected(fail)) {
		missing++;
		if (tell)
			ksft_print_msg("never injected: %s\n", fail);
	}
	return missing;
}

/* 0 if everything was made, and went as it has to */
static int report(void)
{
	unsigned long made = 0;
	size_t i, j;

	for (i = 0; i < NR_OPS; i++) {
		ksft_print_msg("storm: %s=%lu (%lu refused)%s\n", op_name[i],
			       shared->made[i], shared->refused[i],
			       op_due(i) ? "" : " (not to be had here)");
		made += shared->made[i];
	}
	for (i = 0; i < NR_MODES; i++) {
		for (j = 0; j < NR_FLAGS; j++) {
			if (policy_due(i, j))
				ksft_print_msg("policy: %s/%s: mbind %lu, set_mempolicy %lu\n",
					       mode_name[i], mode_flags[j].name,
					       shared->mbind[i][j],
					       shared->set[i][j]);
		}
	}
	ksft_print_msg("operations=%lu\n", made);
	if (fail)
		ksft_print_msg("%s: injected=%ld\n", fail, injected(fail));
	if (shared->bad)
		ksft_print_msg("%lu unexpected failures, the first of %s: %d (%s)\n",
			       shared->bad, op_name[shared->bad_op],
			       shared->bad_value, strerror(shared->bad_value));
	return never_made(true) + (shared->bad > 0);
}

static void stop_all(double *give_up)
{
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	*give_up = now() + REAP_SECONDS;
}

/*
 * Stops them when the time is up and everything was made; a slow machine gets up to
 * LONGEST times as long.  Whoever ends before takes the others with it.  0 if all
 * was well
 */
static int wait_for_all(pid_t *pid, double seconds)
{
	double stop = now() + seconds, latest = now() + LONGEST * seconds;
	double give_up = 0;
	int left = NR_PROCESSES, failed = 0, i, status;
	bool killed = false;

	while (left) {
		pid_t ended = waitpid(-1, &status, WNOHANG);

		if (!give_up && now() > stop && (now() > latest || !never_made(false)))
			stop_all(&give_up);
		if (!ended && give_up && now() > give_up && !killed) {
			for (i = 0; i < NR_PROCESSES; i++) {
				char path[64], buf[256] = "?";

				if (!pid[i])
					continue;
				snprintf(path, sizeof(path), "/proc/%d/wchan",
					 pid[i]);
				read_text(path, buf, sizeof(buf));
				ksft_print_msg("process %d does not end, in %s\n",
					       i, buf);
				kill(pid[i], SIGKILL);
				failed++;
			}
			killed = true;
			give_up += 10;
		}
		if (!ended && give_up && now() > give_up)
			return failed;
		if (!ended) {
			nap(20);
			continue;
		}
		if (ended < 0) {
			ksft_perror("waitpid");
			return failed + 1;
		}
		for (i = 0; i < NR_PROCESSES && pid[i] != ended; i++)
			;
		if (i == NR_PROCESSES) {
			ksft_print_msg("an orphan was left, status=%d\n",
				       status);
			failed++;
			continue;
		}
		pid[i] = 0;
		left--;
		if (!killed && (status || !stopped())) {
			ksft_print_msg("%s %d ended too early or failed: signal=%d status=%d\n",
				       i < NR_WORKERS ? "worker" : "writer", i,
				       WIFSIGNALED(status) ? WTERMSIG(status) : 0,
				       WEXITSTATUS(status));
			failed++;
			stop_all(&give_up);
		}
	}
	/* No process of any of them is left. */
	if (waitpid(-1, &status, WNOHANG) != -1 || errno != ECHILD) {
		ksft_print_msg("there is a process that no worker has reaped\n");
		failed++;
	}
	return failed;
}

static const char * const slabs[] = { "numa_policy", "shared_policy_node" };
static const char * const fail_caches[] = {
	"numa_policy", "shared_policy_node", "vm_area_struct", "maple_node", NULL,
};

int main(int argc, char **argv)
{
	long seconds = env_number("SECONDS", 20);
	const char *mode = getenv("MODE"), *why = NULL;
	struct slab before[ARRAY_SIZE(slabs)], after;
	int failed = 0, memfd, i;
	pid_t pid[MAX_PROCESSES];
	char name[64], mems[64];

	if (argc > 1)
		return executed(argv[1]);

	fail = getenv("FAIL");
	/*
	 * Where its area cannot be written to for want of a page, rseq is entitled to
	 * kill; glibc is told by a variable that it reads at start only.
	 */
	if (fail && !getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (!mode)
		mode = "v1";
	seed = env_number("SEED", time(NULL) ^ getpid());
	hot_node = env_number("HOTPLUG", -1);
	page = sysconf(_SC_PAGESIZE);
	nr_nodes = find_nodes(node, big, MAX_NODES);
	for (i = 0; i < nr_nodes && !big[i]; i++)
		;
	if (nr_nodes < 2 || i == nr_nodes)
		ksft_exit_skip("needs two nodes with memory, one of them of %ld MB\n",
			       BIG_KB >> 10);
	why = cpusets_make(&cs, strcmp(mode, "v2") ? 1 : 2);
	if (!why && fail)
		why = inject_faults(fail, FAIL_PERCENT, fail_caches);
	if (why)
		ksft_exit_skip("%s\n", why);
	ksft_set_plan(2);
	ksft_print_msg("MODE=%s SECONDS=%ld SEED=%ld nodes=%d\n", mode, seconds,
		       seed, nr_nodes);

	/* Orphans are to be found. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	for (i = 0; i < (int)ARRAY_SIZE(slabs) && !why; i++)
		why = slab_settle(slabs[i], 0, BEFORE_SECONDS, &before[i]);

	reserve_hugetlb(HUGE_PER_NODE);
	memfd = memfd_create("storm", 0);
	if (memfd < 0 || ftruncate(memfd, SHMEM_PAGES * page))
		ksft_exit_fail_perror("memfd");
	shmem = mmap(NULL, SHMEM_PAGES * page, PROT_READ | PROT_WRITE,
		     MAP_SHARED, memfd, 0);
	if (shmem == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	roll_from(0);
	for (i = 0; i < 2; i++) {
		some_mems(mems);
		if (cpuset_write(&cs, i, "cpuset.mems", mems))
			ksft_exit_fail_msg("cannot write cpuset.mems\n");
	}

	for (i = 0; i < NR_PROCESSES; i++) {
		pid[i] = start(i);
		if (pid[i] < 0)
			ksft_exit_fail_perror("fork");
	}
	failed += wait_for_all(pid, seconds);
	failed += report();
	reset_weights();

	munmap(shmem, SHMEM_PAGES * page);
	close(memfd);
	i = cpusets_remove(&cs);
	if (i) {
		ksft_print_msg("cannot remove the cpusets: %s\n", strerror(-i));
		failed++;
	}
	snprintf(name, sizeof(name), "storm.%s", mode);
	ksft_test_result(!failed, "%s\n", name);

	reserve_hugetlb(0);
	failed = 0;
	for (i = 0; i < (int)ARRAY_SIZE(slabs) && !why; i++) {
		why = slab_settle(slabs[i], before[i].active + SLACK,
				  SETTLE_SECONDS, &after);
		ksft_print_msg("objects of %s: before=%ld after=%ld total=%ld\n",
			       slabs[i], before[i].active, after.active,
			       after.total);
		if (after.active > before[i].active + SLACK)
			failed++;
	}
	strcat(name, ".leak");
	if (why)
		ksft_test_result_code(KSFT_SKIP, name, "%s", why);
	else
		ksft_test_result(!failed, "%s\n", name);
	ksft_finished();
}
