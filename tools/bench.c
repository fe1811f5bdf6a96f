// SPDX-License-Identifier: GPL-2.0
/*
 * What memory policies cost: counts instructions in the guest.
 *
 * The guest runs with "-icount shift=0": its time stamp counter counts the
 * instructions of its one processor, whatever else the host does.  What is
 * printed is counts as they are, as NAME=NUMBER in the diagnostic lines of
 * KTAP; scripts/bench.sh makes the differences and the quotients of them.
 *
 * Everything without a cpuset comes first.  The first cpuset below the root
 * switches on a static key in the allocator.
 *
 *	bench			in the guest, as root, 4 nodes
 *	bench native		anywhere: the time that a reference count takes
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ul
#define NODES		4
#define ALL_NODES	0xful

/*
 * Faults are counted by rounds, in which an interleaving policy comes by each
 * node once.  Most rounds cost the same; the median is one that the timer, and
 * what is done for many pages at once, had no part in.
 */
#define ROUND		NODES
#define ROUNDS		256
#define REPEAT		15
#define REPEAT_LATER	5

/* A fork does not cost the same as the last one: slabs are refilled in between. */
#define FORKS		24

/* As many VMAs, and as many again */
#define VMAS		1000

/*
 * How long to wait for what RCU puts off, in instructions: 20 ticks at HZ=100,
 * some grace periods.  A turn of the waiting loop is BUSY times around.
 */
#define PUT_OFF		200000000ul
#define BUSY		2000

/* The node that is used up, and more than it has */
#define OOM_NODE	3
#define OOM_BYTES	(512ul << 20)

#define CPUSETS		"/tmp/cpuset"

static const struct policy {
	const char *name;
	int mode;
} policies[] = {
	{ "bind", MPOL_BIND },
	{ "bind_static", MPOL_BIND | MPOL_F_STATIC_NODES },
	{ "bind_relative", MPOL_BIND | MPOL_F_RELATIVE_NODES },
	{ "preferred", MPOL_PREFERRED },
	{ "preferred_many", MPOL_PREFERRED_MANY },
	{ "interleave", MPOL_INTERLEAVE },
	{ "weighted_interleave", MPOL_WEIGHTED_INTERLEAVE },
	{ "local", MPOL_LOCAL },
};

/* VMAs without policy, with policies by one mbind() or by an mbind() for each */
enum how { NONE, ONE, OWN, HOWS };
static const char * const hows[] = { "none", "one", "own" };

static int mems_fd;

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *fmt, ...)
{
	va_list args;

	printf("# ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf(": %s\n", strerror(errno));
	exit(1);
}

static void report(const char *scope, const char *name, uint64_t count)
{
	printf("# %s%s=%llu\n", scope, name, (unsigned long long)count);
}

static inline uint64_t instructions(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *counts, int n)
{
	qsort(counts, n, sizeof(*counts), compare);
	return counts[n / 2];
}

/* Of what also has things in it that come once a second or so */
static uint64_t least(uint64_t *counts, int n)
{
	qsort(counts, n, sizeof(*counts), compare);
	return counts[0];
}

/*
 * Let the kernel finish what it puts off, and begin behind a tick of the timer.
 * While the guest sleeps its time flies.  Not in step with what the kernel does
 * once a second.
 */
static void settle(void)
{
	static int times;
	struct timespec now, next;

	usleep(300000 + times++ % 7 * 50000);
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	do {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &next);
	} while (now.tv_nsec == next.tv_nsec);
}

/* What the kernel did while this waited, the ticks among it */
static uint64_t count_put_off(void)
{
	uint64_t start = instructions(), last = start, now, turn = -1, turns = 0;

	do {
		unsigned long busy = BUSY;

		asm volatile("1: dec %0\n\tjnz 1b" : "+r" (busy));
		now = instructions();
		if (now - last < turn)
			turn = now - last;
		last = now;
		turns++;
	} while (now - start < PUT_OFF);
	return now - start - turns * turn;
}

static int try_mbind(void *start, size_t len, int mode)
{
	unsigned long nodes = ALL_NODES;
	int which = mode & ~MPOL_MODE_FLAGS;
	bool none = which == MPOL_DEFAULT || which == MPOL_LOCAL;

	return syscall(SYS_mbind, start, len, mode, none ? NULL : &nodes,
		       none ? 0 : NODES + 1, 0);
}

static void set_vma_policy(void *start, size_t len, int mode)
{
	if (try_mbind(start, len, mode))
		give_up("mbind");
}

static int set_task_policy(int mode)
{
	unsigned long nodes = ALL_NODES;
	int which = mode & ~MPOL_MODE_FLAGS;
	bool none = which == MPOL_DEFAULT || which == MPOL_LOCAL;

	return syscall(SYS_set_mempolicy, mode, none ? NULL : &nodes,
		       none ? 0 : NODES + 1);
}

/* Pages that are not VMAs with their neighbours, because of those at the ends */
static char *map_pages(int pages)
{
	char *area = mmap(NULL, (pages + 2) * PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		give_up("mmap");
	area += PAGE;
	if (mprotect(area, pages * PAGE, PROT_READ | PROT_WRITE))
		give_up("mprotect");
	if (madvise(area, pages * PAGE, MADV_NOHUGEPAGE) && errno != EINVAL)
		give_up("madvise");
	return area;
}

static void unmap_pages(char *area, int pages)
{
	munmap(area - PAGE, (pages + 2) * PAGE);
}

/* VMAs of one page each, side by side: every other one is read only */
static char *map_vmas(int vmas)
{
	char *area = map_pages(vmas);
	int i;

	for (i = 0; i < vmas; i += 2)
		if (mprotect(area + i * PAGE, PAGE, PROT_READ))
			give_up("mprotect of VMA %d", i);
	return area;
}

static void set_vma_policies(char *area, int vmas, enum how how)
{
	int i;

	if (how == ONE)
		set_vma_policy(area, vmas * PAGE, MPOL_BIND);
	for (i = 0; how == OWN && i < vmas; i++)
		set_vma_policy(area + i * PAGE, PAGE, MPOL_BIND);
}

/* Write faults of a round on pages that are not there */
static uint64_t count_faults(int vma_mode)
{
	static uint64_t counts[ROUNDS];
	char *area = map_pages(ROUNDS * ROUND), *page = area;
	uint64_t start;
	int pass, i, j;

	if (vma_mode != MPOL_DEFAULT &&
	    try_mbind(area, ROUNDS * ROUND * PAGE, vma_mode)) {
		unmap_pages(area, ROUNDS * ROUND);
		return 0;
	}
	/* The first pass is for the page tables and the lists of free pages. */
	for (pass = 0; pass < 2; pass++) {
		madvise(area, ROUNDS * ROUND * PAGE, MADV_DONTNEED);
		page = area;
		for (i = 0; i < ROUNDS; i++) {
			start = instructions();
			for (j = 0; j < ROUND; j++, page += PAGE)
				*(volatile char *)page = 1;
			counts[i] = instructions() - start;
		}
	}
	unmap_pages(area, ROUNDS * ROUND);
	return median(counts, ROUNDS);
}

static void bench_faults(void)
{
	size_t i;
	uint64_t count;

	report("", "default", count_faults(MPOL_DEFAULT));
	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		count = count_faults(policies[i].mode);
		if (count)
			report("vma_", policies[i].name, count);
	}
	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		if (set_task_policy(policies[i].mode))
			continue;
		report("task_", policies[i].name, count_faults(MPOL_DEFAULT));
		set_task_policy(MPOL_DEFAULT);
	}
}

/* Pages that the kernel allocates for itself: those of a pipe */
static uint64_t count_pipe(void)
{
	static uint64_t counts[ROUNDS / ROUND];
	static char buffer[ROUNDS * PAGE];
	int ends[2], i, j, pass;
	uint64_t start;

	if (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, ROUNDS * PAGE) < 0)
		give_up("pipe");
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < ROUNDS / ROUND; i++) {
			start = instructions();
			for (j = 0; j < ROUND; j++)
				if (write(ends[1], buffer, PAGE) != PAGE)
					give_up("write to a pipe");
			counts[i] = instructions() - start;
		}
		if (read(ends[0], buffer, sizeof(buffer)) != sizeof(buffer))
			give_up("read from a pipe");
	}
	close(ends[0]);
	close(ends[1]);
	return median(counts, ROUNDS / ROUND);
}

static void bench_pipe(void)
{
	size_t i;

	report("", "default", count_pipe());
	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		if (set_task_policy(policies[i].mode))
			continue;
		report("task_", policies[i].name, count_pipe());
		set_task_policy(MPOL_DEFAULT);
	}
}

/* From the fork to the end of the child */
static uint64_t count_fork(int times)
{
	uint64_t start;
	pid_t pid;
	int i;

	settle();
	start = instructions();
	for (i = 0; i < times; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		if (waitpid(pid, NULL, 0) != pid)
			give_up("fork");
	}
	return (instructions() - start) / times;
}

/*
 * In turns, here and below, so that what one leaves behind in the slabs is the
 * same for the others.
 */
static void bench_fork(void)
{
	uint64_t plain[REPEAT], task[REPEAT], vmas[HOWS][REPEAT];
	enum how how;
	int i;

	for (i = 0; i < REPEAT; i++) {
		plain[i] = count_fork(FORKS);
		set_task_policy(MPOL_BIND);
		task[i] = count_fork(FORKS);
		set_task_policy(MPOL_DEFAULT);
		for (how = NONE; how < HOWS; how++) {
			char *area = map_vmas(VMAS);

			set_vma_policies(area, VMAS, how);
			count_fork(1);
			vmas[how][i] = count_fork(1);
			unmap_pages(area, VMAS);
		}
	}
	report("", "plain", median(plain, REPEAT));
	report("", "task_bind", median(task, REPEAT));
	for (how = NONE; how < HOWS; how++)
		report("vmas_", hows[how], median(vmas[how], REPEAT));
}

/* mbind() on a page of three, the pages having that policy before */
static uint64_t count_mbind(int before, int page, int pages, int mode)
{
	uint64_t counts[4 * REPEAT], start;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		char *area = map_pages(3);

		set_vma_policy(area, 3 * PAGE, before);
		start = instructions();
		set_vma_policy(area + page * PAGE, pages * PAGE, mode);
		counts[i] = instructions() - start;
		unmap_pages(area, 3);
	}
	return median(counts, ARRAY_SIZE(counts));
}

/* One mbind() on many VMAs, and their end; each with what comes later */
static void bench_many(void)
{
	uint64_t many[REPEAT], now[HOWS][REPEAT], later[HOWS][REPEAT_LATER];
	uint64_t start;
	enum how how;
	int i;

	for (i = 0; i < REPEAT; i++) {
		for (how = NONE; how < HOWS; how++) {
			char *area = map_vmas(VMAS);

			settle();
			start = instructions();
			set_vma_policies(area, VMAS, how);
			if (how == ONE)
				many[i] = instructions() - start;
			settle();
			start = instructions();
			unmap_pages(area, VMAS);
			now[how][i] = instructions() - start;
			if (i < REPEAT_LATER)
				later[how][i] = count_put_off();
		}
	}
	report("", "many", median(many, REPEAT));
	for (how = NONE; how < HOWS; how++) {
		report("unmap_", hows[how], median(now[how], REPEAT));
		report("unmap_later_", hows[how], least(later[how], REPEAT_LATER));
	}
}

static void bench_mbind(void)
{
	uint64_t counts[REPEAT], start;
	int i;

	for (i = 0; i < REPEAT; i++) {
		start = instructions();
		set_task_policy(MPOL_BIND);
		counts[i] = instructions() - start;
		set_task_policy(MPOL_DEFAULT);
	}
	report("", "task", median(counts, REPEAT));
	report("", "whole", count_mbind(MPOL_DEFAULT, 0, 3, MPOL_BIND));
	report("", "split", count_mbind(MPOL_DEFAULT, 1, 1, MPOL_BIND));
	report("", "resplit", count_mbind(MPOL_INTERLEAVE, 1, 1, MPOL_BIND));
	bench_many();
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		give_up("%s", path);
	close(fd);
}

static void set_mems(const char *mems)
{
	if (pwrite(mems_fd, mems, strlen(mems), 0) < 0)
		give_up("cpuset.mems");
}

/* cgroup v1: no write of the mems moves pages */
static void enter_cpuset(void)
{
	mkdir(CPUSETS, 0755);
	if (mount("cgroup", CPUSETS, "cgroup", 0, "cpuset"))
		give_up("mount " CPUSETS);
	if (mkdir(CPUSETS "/bench", 0755))
		give_up("mkdir " CPUSETS "/bench");
	write_file(CPUSETS "/bench/cpuset.cpus", "0");
	mems_fd = open(CPUSETS "/bench/cpuset.mems", O_WRONLY);
	set_mems("0-3");
	write_file(CPUSETS "/bench/tasks", "0");
}

static void count_updates(const char *scope, const char *scope_later,
			  int vmas, enum how how)
{
	uint64_t now[REPEAT], later[REPEAT_LATER], start;
	char *area = map_vmas(vmas);
	int i;

	set_mems("0-3");
	set_vma_policies(area, vmas, how);
	set_mems("1-2");
	for (i = 0; i < REPEAT; i++) {
		settle();
		start = instructions();
		set_mems(i % 2 ? "1-2" : "0-1");
		now[i] = instructions() - start;
		if (scope_later && i < REPEAT_LATER)
			later[i] = count_put_off();
	}
	report(scope, hows[how], median(now, REPEAT));
	if (scope_later)
		report(scope_later, hows[how], least(later, REPEAT_LATER));
	unmap_pages(area, vmas);
	set_mems("0-3");
}

static void bench_update(enum how from, enum how to)
{
	enum how how;

	for (how = from; how < to; how++) {
		count_updates("vmas_", "later_", VMAS, how);
		count_updates("more_", NULL, 2 * VMAS, how);
	}
}

/*
 * The objects in use of the caches that are about policies, without those that
 * are in a processor's stock or wait for RCU: shrinking a cache gives back the
 * stock and hands to RCU what waits.
 */
static void read_slab(const char *when)
{
	unsigned long long objects, size, all_objects, all_bytes;
	char line[512], name[64], path[128];
	FILE *file;
	int i;

	for (i = 0; i < 4; i++) {
		all_objects = 0;
		all_bytes = 0;
		file = fopen("/proc/slabinfo", "r");
		if (!file)
			give_up("/proc/slabinfo");
		while (fgets(line, sizeof(line), file)) {
			if (sscanf(line, "%63s %llu %*u %llu", name, &objects,
				   &size) != 3)
				continue;
			if (strcmp(name, "numa_policy") &&
			    !strstr(name, "mpol") && !strstr(name, "mempolicy"))
				continue;
			all_objects += objects;
			all_bytes += objects * size;
			snprintf(path, sizeof(path),
				 "/sys/kernel/slab/%s/shrink", name);
			write_file(path, "1");
		}
		fclose(file);
		sleep(6);
	}
	report("objects_", when, all_objects);
	report("bytes_", when, all_bytes);
}

static void bench_slab(void)
{
	char *area = map_vmas(VMAS);
	int ends[2];
	pid_t pid;

	set_vma_policies(area, VMAS, ONE);
	read_slab("mbind");
	if (pipe(ends))
		give_up("pipe");
	pid = fork();
	if (!pid) {
		close(ends[1]);
		_exit(read(ends[0], ends, 1));
	}
	close(ends[0]);
	read_slab("fork");
	set_mems("0-1");
	read_slab("update");
	close(ends[1]);
	waitpid(pid, NULL, 0);
	unmap_pages(area, VMAS);
	set_mems("0-3");
	read_slab("end");
}

/*
 * A process that is bound to a node needs more than that has.  How long does it
 * take until it is killed, from the last page that it got?  The report does not
 * go to the console, or this would be about the serial port.
 */
static void bench_oom(void)
{
	uint64_t *last, start, end;
	int status;
	pid_t pid;

	write_file("/proc/sys/kernel/printk", "1");
	last = mmap(NULL, sizeof(*last), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (last == MAP_FAILED)
		give_up("mmap");
	settle();
	start = instructions();
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (!pid) {
		unsigned long nodes = 1ul << OOM_NODE;
		char *p = mmap(NULL, OOM_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		size_t at;

		write_file("/proc/self/oom_score_adj", "1000");
		if (p == MAP_FAILED ||
		    syscall(__NR_mbind, p, OOM_BYTES, MPOL_BIND, &nodes,
			    8 * sizeof(nodes), 0))
			give_up("mbind");
		for (at = 0; at < OOM_BYTES; at += PAGE) {
			p[at] = 1;
			*last = instructions();
		}
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		give_up("the OOM killer did not kill");
	end = instructions();
	report("", "all", end - start);
	report("", "last", end - *last);
	munmap(last, sizeof(*last));
}

/*
 * A reference count as the kernel's refcount_t and atomic_t do it: taken if it
 * is not zero, put with a test.  The time is the host's, and varies.
 */
#define PAIRS	20000000l
#define TRIES	5

static struct {
	_Alignas(128) atomic_int count;
	_Alignas(128) atomic_int ready;
} shared;

static inline void get_and_put(atomic_int *count)
{
	int old = atomic_load_explicit(count, memory_order_relaxed);

	while (old && !atomic_compare_exchange_weak(count, &old, old + 1))
		;
	if (atomic_fetch_sub(count, 1) == 1)
		abort();
}

static void *native_thread(void *counting)
{
	long i;

	atomic_fetch_sub(&shared.ready, 1);
	while (atomic_load(&shared.ready))
		;
	for (i = 0; !counting && i < PAIRS; i++)
		*(volatile int *)&shared.count;
	for (i = 0; counting && i < PAIRS; i++)
		get_and_put(&shared.count);
	return NULL;
}

/* Picoseconds a pair takes each of the threads */
static void time_native(const char *what, void *counting, int threads)
{
	uint64_t times[TRIES];
	struct timespec a, b;
	pthread_t other;
	int i;

	for (i = 0; i < TRIES; i++) {
		atomic_store(&shared.count, 1);
		atomic_store(&shared.ready, threads);
		if (threads > 1 &&
		    pthread_create(&other, NULL, native_thread, counting))
			give_up("pthread_create");
		clock_gettime(CLOCK_MONOTONIC, &a);
		native_thread(counting);
		if (threads > 1)
			pthread_join(other, NULL);
		clock_gettime(CLOCK_MONOTONIC, &b);
		times[i] = ((b.tv_sec - a.tv_sec) * 1000000000ll +
			    b.tv_nsec - a.tv_nsec) * 1000 / PAIRS;
	}
	printf("%-56s %6.1f ns\n", what, median(times, TRIES) / 1000.0);
}

static int native(void)
{
	time_native("reading, no reference taken", NULL, 1);
	time_native("getting and putting a reference", &shared, 1);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		time_native("... by two threads, the same object", &shared, 2);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "native"))
		return native();

	setlinebuf(stdout);
	if (argc < 2) {
		printf("KTAP version 1\n1..10\n");
		bench_faults();
		printf("ok 1 faults_off\n");
		bench_pipe();
		printf("ok 2 pipe_off\n");
		/* For an address space that never had a policy */
		execl("/proc/self/exe", argv[0], "on", NULL);
		give_up("exec");
	}

	enter_cpuset();
	count_updates("no_vmas_", NULL, 0, NONE);
	bench_update(NONE, NONE + 1);
	printf("ok 3 update_none\n");
	bench_faults();
	printf("ok 4 faults_on\n");
	bench_pipe();
	printf("ok 5 pipe_on\n");
	bench_fork();
	printf("ok 6 fork\n");
	bench_mbind();
	printf("ok 7 mbind\n");
	bench_update(NONE + 1, HOWS);
	printf("ok 8 update\n");
	bench_slab();
	printf("ok 9 slab\n");
	bench_oom();
	printf("ok 10 oom\n");
	return 0;
}
