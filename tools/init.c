// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test guest.
 *
 * Runs the programs that are named on the kernel command line behind "--",
 * separated by "+", and writes their results as nested KTAP to the second
 * serial port.  The console is left to the kernel, so that neither can spoil
 * the other.  Whatever ends the guest early leaves a plan that is not fulfilled.
 *
 *	... NODES=online=0-3:has_memory=0,2-3 UPDATES=100 -- /prog -v variant + /prog2
 *
 * NODES, set by the topology, is checked first: a guest that is not the one
 * that was asked for proves nothing.  Every other NAME=value before "--" is
 * part of the programs' environment.
 *
 * At the end the kernel looks for leaked memory, if it can.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define RESULTS	"/dev/ttyS1"
#define DISK	"/dev/vda"
#define NODE_DIR "/sys/devices/system/node/"

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

static FILE *results;

static void __attribute__((noreturn)) power_off(void)
{
	if (results) {
		fflush(results);
		tcdrain(fileno(results));
	}
	sync();
	reboot(RB_POWER_OFF);
	/* Only init's end, which is a panic, is left. */
	_exit(1);
}

static void __attribute__((noreturn, format(printf, 1, 2)))
give_up(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "init: ");
	vfprintf(stderr, fmt, args);
	fprintf(stderr, ": %s\n", strerror(errno));
	va_end(args);
	power_off();
}

static void mount_one(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL))
		give_up("mount %s", dir);
}

static void open_results(void)
{
	struct termios raw;

	results = fopen(RESULTS, "w");
	if (!results)
		give_up("open " RESULTS);
	if (!tcgetattr(fileno(results), &raw)) {
		cfmakeraw(&raw);
		tcsetattr(fileno(results), TCSANOW, &raw);
	}
	setlinebuf(results);
}

/* Compare the machine with one "file=list" of NODES, lists as in 0-2,5 */
static int check_node_list(const char *name, const char *want)
{
	char path[128], have[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), NODE_DIR "%s", name);
	file = fopen(path, "r");
	if (!file || (!fgets(have, sizeof(have), file) && ferror(file))) {
		fprintf(results, "# %s: %s\n", path, strerror(errno));
		if (file)
			fclose(file);
		return -1;
	}
	fclose(file);
	have[strcspn(have, "\n")] = '\0';
	if (!strcmp(have, want))
		return 0;
	fprintf(results, "# %s is \"%s\", should be \"%s\"\n", name, have, want);
	return -1;
}

/* The first test: NODES names files of NODE_DIR and what they have to say */
static void check_topology(int number)
{
	char *nodes = getenv("NODES"), *item;
	int err = nodes ? 0 : -1;

	for (item = strtok(nodes, ":"); item; item = strtok(NULL, ":")) {
		char *want = strchr(item, '=');

		if (!want) {
			err = -1;
			continue;
		}
		*want++ = '\0';
		if (check_node_list(item, want))
			err = -1;
	}
	fprintf(results, "%sok %d topology\n", err ? "not " : "", number);
}

/* Copies what the program prints, one level deeper, and tells how it ended */
static void run_program(int number, char **argv)
{
	bool skipped;
	char line[4096];
	int out[2], status;
	FILE *from;
	pid_t pid;

	if (pipe(out))
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (!pid) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		execv(argv[0], argv);
		printf("# %s: %s\n", argv[0], strerror(errno));
		exit(127);
	}
	close(out[1]);
	from = fdopen(out[0], "r");
	while (from && fgets(line, sizeof(line), from))
		fprintf(results, "  %s%s", line,
			strchr(line, '\n') ? "" : "\n");
	if (from)
		fclose(from);

	/* Orphans of the program may be reaped before it. */
	while (waitpid(pid, &status, 0) != pid)
		;
	if (WIFSIGNALED(status))
		fprintf(results, "# %s: killed by signal %d\n", argv[0],
			WTERMSIG(status));
	/* 4 is kselftest's "skipped" */
	skipped = WIFEXITED(status) && WEXITSTATUS(status) == 4;
	fprintf(results, "%sok %d %s%s\n", status && !skipped ? "not " : "", number,
		argv[0], skipped ? " # SKIP all of it" : "");
}

/*
 * The kernel tells on the console how many objects nothing refers to; what they are
 * goes there as well.  An object has to be found unreferenced twice, with another
 * checksum the first time.
 */
static void find_leaks(void)
{
	int i, fd;

	for (i = 0; i < 3; i++) {
		fd = open(KMEMLEAK, O_WRONLY);
		if (fd < 0)
			return;
		/* For what waits to be freed by RCU */
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		if (write(fd, "scan", 4) != 4)
			give_up("write " KMEMLEAK);
		close(fd);
	}
	if (system("cat " KMEMLEAK))
		give_up("read " KMEMLEAK);
}

/* On the console's own port: /dev/console cannot be a controlling terminal */
static void run_shell(char *shell)
{
	pid_t pid;

	setenv("PS1", "guest# ", 1);
	setenv("HOME", "/", 1);
	pid = fork();
	if (!pid) {
		int tty = open("/dev/ttyS0", O_RDWR);

		dup2(tty, STDIN_FILENO);
		dup2(tty, STDOUT_FILENO);
		dup2(tty, STDERR_FILENO);
		execl("/bin/setsid", "setsid", "-c", shell, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) != pid)
		;
}

int main(int argc, char **argv)
{
	int first, last, number = 1;

	mount_one("devtmpfs", "/dev");
	mount_one("proc", "/proc");
	mount_one("sysfs", "/sys");
	mount_one("tmpfs", "/tmp");
	mount_one("cgroup2", "/sys/fs/cgroup");
	/* Not in every kernel */
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	setenv("PATH", "/bin:/", 1);
	if (!access(DISK, F_OK) &&
	    system("mkswap " DISK " >/dev/null && swapon " DISK))
		give_up("swap on " DISK);

	if (argc == 2 && !strcmp(argv[1], "/bin/sh")) {
		run_shell(argv[1]);
		power_off();
	}

	open_results();
	for (first = 1; first < argc; first = last + 1) {
		for (last = first; last < argc && strcmp(argv[last], "+"); last++)
			;
		number++;
	}
	fprintf(results, "KTAP version 1\n1..%d\n", number);
	check_topology(1);
	for (first = 1, number = 2; first < argc; first = last + 1, number++) {
		for (last = first; last < argc && strcmp(argv[last], "+"); last++)
			;
		if (last < argc)
			argv[last] = NULL;
		run_program(number, argv + first);
	}
	find_leaks();
	power_off();
}
