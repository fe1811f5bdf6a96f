/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of the guest share: files, nodes, cpusets, the numbers of
 * objects in slab caches, and allocations that fail on demand.  They run as root
 * in a guest of their own, and so do not put back what they change of the machine,
 * cgroups excepted: these would hold on to memory.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_NODES	1024
#define LONG_BITS	(8 * sizeof(long))
#define MASK_LONGS	(MAX_NODES / LONG_BITS)
/* What a policy may bind to: a node that the programs cannot fill */
#define USABLE_KB	(48L << 10)
/* What a cpuset has to have */
#define BIG_KB		(128L << 10)
#define SETTLE_SECONDS	60
#define BEFORE_SECONDS	1	/* for what was freed by others */

struct nodes {
	unsigned long mask[MASK_LONGS];
};

static inline void nodes_add(struct nodes *nodes, int node)
{
	nodes->mask[node / LONG_BITS] |= 1UL << node % LONG_BITS;
}

static inline long env_number(const char *name, long otherwise)
{
	const char *env = getenv(name);

	return env && *env ? atol(env) : otherwise;
}

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void nap(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* 0, or what went wrong as a negative errno */
static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static inline int write_number(const char *path, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	return write_text(path, text);
}

/* How much was read, of which @size - 1 are kept, or a negative errno */
static inline ssize_t read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len, all = 0;
	char rest[4096];

	if (fd < 0)
		return -errno;
	while (all < (ssize_t)size - 1 &&
	       (len = read(fd, buf + all, size - 1 - all)) > 0)
		all += len;
	buf[all] = '\0';
	while ((len = read(fd, rest, sizeof(rest))) > 0)
		all += len;
	if (len < 0 && !all)
		all = -errno;
	close(fd);
	return all;
}

static inline long read_number(const char *path)
{
	char buf[64];

	return read_text(path, buf, sizeof(buf)) <= 0 ? -1 : atol(buf);
}

static inline long node_kb(int node)
{
	char path[128], buf[4096], *at;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo",
		 node);
	if (read_text(path, buf, sizeof(buf)) <= 0)
		return -1;
	at = strstr(buf, "MemTotal:");
	return at ? atol(at + strlen("MemTotal:")) : -1;
}

/*
 * The nodes that are worth using, at most @max.  ZONE_MOVABLE does not count:
 * kernel allocations under a policy would have nowhere to go.
 */
static inline int find_nodes(int *node, bool *big, int max)
{
	char buf[4096], *at = buf;
	int found = 0, one, last, len;

	if (read_text("/sys/devices/system/node/has_normal_memory", buf,
		      sizeof(buf)) <= 0)
		return 0;
	for (; sscanf(at, "%d%n", &one, &len) == 1; at++) {
		at += len;
		last = one;
		if (sscanf(at, "-%d%n", &last, &len) == 1)
			at += len;
		for (; one <= last && found < max; one++) {
			long kb = node_kb(one);

			/* What the kernel reserved early is not in MemTotal. */
			if (kb < USABLE_KB * 7 / 8)
				continue;
			big[found] = kb >= BIG_KB * 7 / 8;
			node[found++] = one;
		}
	}
	return found;
}

struct cpusets {
	int version;
	bool mounted;
	char root[64];
	char cgroup[2][128];
};

static inline int cpuset_write(const struct cpusets *cs, int which,
			       const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", cs->cgroup[which], file);
	return write_text(path, text);
}

/* NULL, or why there are no cpusets */
static inline const char *cpusets_make(struct cpusets *cs, int version)
{
	static char why[256];
	char path[256], cpus[4096];
	int i, err;

	cs->version = version;
	if (version == 1) {
		strcpy(cs->root, "/tmp/cpuset.XXXXXX");
		if (!mkdtemp(cs->root) ||
		    mount("cgroup", cs->root, "cgroup", 0, "cpuset")) {
			snprintf(why, sizeof(why), "no cgroup v1 cpuset: %s",
				 strerror(errno));
			return why;
		}
		cs->mounted = true;
	} else {
		strcpy(cs->root, "/sys/fs/cgroup");
		snprintf(path, sizeof(path), "%s/cgroup.subtree_control",
			 cs->root);
		err = write_text(path, "+cpuset");
		if (err) {
			snprintf(why, sizeof(why), "no cgroup v2 cpuset: %s",
				 strerror(-err));
			return why;
		}
	}
	snprintf(path, sizeof(path), "%s/%s", cs->root,
		 version == 1 ? "cpuset.cpus" : "cpuset.cpus.effective");
	if (read_text(path, cpus, sizeof(cpus)) <= 0)
		return "the root cpuset has no cpus";
	for (i = 0; i < 2; i++) {
		snprintf(cs->cgroup[i], sizeof(cs->cgroup[i]), "%s/guest%d",
			 cs->root, i);
		if (mkdir(cs->cgroup[i], 0755) && errno != EEXIST)
			return "cannot create a cgroup";
		if (version == 1 && cpuset_write(cs, i, "cpuset.cpus", cpus))
			return "cannot write cpuset.cpus";
	}
	return NULL;
}

/* A task stays in its cgroup for a while after it was reaped. */
static inline int cpusets_remove(struct cpusets *cs)
{
	double end = now() + SETTLE_SECONDS;
	int i, err = 0;

	for (i = 0; i < 2; i++) {
		if (!cs->cgroup[i][0])
			continue;
		while ((err = rmdir(cs->cgroup[i]) ? errno : 0) == EBUSY &&
		       now() < end)
			nap(10);
		if (err)
			return -err;
	}
	if (cs->mounted && umount(cs->root))
		return -errno;
	if (cs->mounted)
		rmdir(cs->root);
	return 0;
}

struct slab {
	long active, total;
};

/*
 * Counts the objects of a slab cache; NULL, or why they cannot be counted.
 *
 * Free objects that the cache keeps at hand for a CPU, and those that KASAN has
 * in quarantine, count as active.  Shrinking gives them back.
 */
static inline const char *slab_count(const char *name, struct slab *slab)
{
	static char why[192];
	char line[512], cache[128];
	FILE *file;

	snprintf(line, sizeof(line), "/sys/kernel/slab/%s/shrink", name);
	write_text(line, "1");

	file = fopen("/proc/slabinfo", "r");
	if (!file)
		return "there is no /proc/slabinfo: needs CONFIG_SLUB_DEBUG";
	snprintf(why, sizeof(why),
		 "there is no %s in /proc/slabinfo: needs slab_nomerge, or CONFIG_SLAB_MERGE_DEFAULT=n", name);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%127s %ld %ld", cache, &slab->active,
			   &slab->total) == 3 && !strcmp(cache, name)) {
			fclose(file);
			return NULL;
		}
	}
	fclose(file);
	return why;
}

/*
 * Counts when everything that was freed has gone: waits for a grace period, and
 * then until there are at most @want objects, for @seconds.  What waits for a
 * grace period is freed some time after it, in batches.
 */
static inline const char *slab_settle(const char *name, long want,
				      long seconds, struct slab *slab)
{
	double end = now() + seconds;
	const char *why;

	for (;;) {
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		why = slab_count(name, slab);
		if (why || slab->active <= want || now() > end)
			return why;
		nap(50);
	}
}

#define FAULTS		"/sys/kernel/debug/%s/"
#define MANY_FAULTS	1000000000L

/* "times" counts down with every allocation that was made to fail. */
static inline void reset_injected(const char *kind)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "times", kind);
	write_number(path, MANY_FAULTS);
}

static inline long injected(const char *kind)
{
	char path[128];

	snprintf(path, sizeof(path), FAULTS "times", kind);
	return MANY_FAULTS - read_number(path);
}

/*
 * Has @percent of the allocations fail of threads that call fail_me(), large or
 * small, whether they may sleep or not; of failslab, those from the @caches, up to
 * NULL.  Returns NULL, or why it cannot be.
 */
static inline const char *inject_faults(const char *kind, int percent,
					const char * const *caches)
{
	static char why[192];
	char number[16], path[128];
	const struct {
		const char *file, *value;
	} setting[] = {
		{ "probability", number },
		{ "interval", "1" },
		{ "space", "0" },
		{ "verbose", "0" },
		{ "task-filter", "Y" },
		{ "ignore-gfp-wait", "N" },
		/* Of the following, each kind has its own. */
		{ "cache-filter", "Y" },
		{ "ignore-gfp-highmem", "N" },
		{ "min-order", "0" },
	};
	size_t i;
	int err;

	for (; *caches; caches++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/failslab", *caches);
		/* Refused if it was merged with others */
		if (write_text(path, "1")) {
			snprintf(why, sizeof(why),
				 "cannot write %s: needs slab_nomerge, CONFIG_FAILSLAB",
				 path);
			return why;
		}
	}
	snprintf(number, sizeof(number), "%d", percent);
	for (i = 0; i < sizeof(setting) / sizeof(setting[0]); i++) {
		snprintf(path, sizeof(path), FAULTS "%s", kind, setting[i].file);
		err = write_text(path, setting[i].value);
		if (err && (err != -ENOENT || !i)) {
			snprintf(why, sizeof(why),
				 "cannot write %s: needs CONFIG_FAULT_INJECTION_DEBUG_FS",
				 path);
			return why;
		}
	}
	reset_injected(kind);
	return NULL;
}

static inline void fail_me(bool fail)
{
	write_text("/proc/thread-self/make-it-fail", fail ? "1" : "0");
}

#endif
