/*
 * neighbours quiet getppid|open N: makes a call every two milliseconds, N times, and prints the median
 * and the 99th percentile of the nanoseconds that it took.
 * neighbours KIND FOLDER: makes calls of one kind without a pause, until it is killed. KIND is busy
 * (what is answered from registers), or a way to keep a supervisor long with each call:
 *
 *   paths   a path of as many components as fit, from where a magic link leads
 *   late    opens a FIFO whose other end comes some milliseconds later, in eight threads
 *   async   a call that a task decides, in eight threads
 *   groups  changes its supplementary groups before each call, so that nothing known of it holds
 *   reads   an execve with a long list of long arguments, of a program that is not there
 *   killed  opens a FIFO that nobody writes to, in a process that is killed in the middle
 *   execs   executes a program that has to be verified
 *
 * To be linked statically: nothing but the calls that are meant is to be trapped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE 2000 /* microseconds */
#define THREADS 8
#define GROUPS 4000 /* more make /proc/PID/status longer than notifyd reads */

static char fifo[4096], path[4096];

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t); /* the vDSO's: no filter sees it */
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void look(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int quiet(const char *call, long times)
{
	double *took = calloc(times, sizeof *took);

	for (long i = -20; i < times; i++) {
		double begin = now_ns();

		if (!strcmp(call, "open"))
			look("/etc/hostname");
		else if (syscall(SYS_getppid) != 42)
			return 1;
		if (i >= 0)
			took[i] = now_ns() - begin;
		usleep(PAUSE);
	}
	qsort(took, times, sizeof *took, by_size);
	printf("%.0f %.0f\n", took[times / 2], took[times * 99 / 100]);
	return 0;
}

static void busy(void) { syscall(SYS_getppid); }
static void paths(void) { look(path); }
static void late(void) { look(fifo); }
static void async(void) { syscall(SYS_getpgid, 0); }

static void groups(void)
{
	static gid_t list[GROUPS];
	static gid_t base = 100000;

	for (int i = 0; i < GROUPS; i++)
		list[i] = base + i;
	base++;
	setgroups(GROUPS, list);
	look("/etc/hostname");
}

static void reads(void)
{
	static char text[2000], *words[1000];

	memset(text, 'x', sizeof text - 1);
	for (int i = 0; i < 999; i++)
		words[i] = text;
	execv("/nowhere/to/be/found", words);
}

static void killed(void)
{
	pid_t pid = fork();

	if (!pid) {
		look(fifo);
		_exit(0);
	}
	usleep(3000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void execs(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static const struct kind {
	const char *name;
	void (*call)(void);
	int threads;
} kinds[] = {
	{"busy", busy, 1},   {"paths", paths, 1}, {"late", late, THREADS}, {"async", async, THREADS},
	{"groups", groups, 1}, {"reads", reads, 1}, {"killed", killed, 1},     {"execs", execs, 1},
};

static void *without_end(void *call)
{
	for (;;)
		((void (*)(void))call)();
	return NULL;
}

/* What reads the FIFO of `late` waits for this. */
static void *writer(void *unused)
{
	(void)unused;
	for (;;) {
		usleep(5000);
		int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static int neighbour(const struct kind *kind, const char *folder)
{
	pthread_t thread;
	size_t used = snprintf(path, sizeof path, "/proc/self/cwd");

	snprintf(fifo, sizeof fifo, "fifo-%d", getpid());
	if (chdir(folder) || mkfifo(fifo, 0600) || (mkdir("d", 0700) && errno != EEXIST))
		return 1;
	while (used + 6 < sizeof path)
		used += snprintf(path + used, sizeof path - used, "/d/..");
	if (kind->call == late)
		pthread_create(&thread, NULL, writer, NULL);
	for (int i = 1; i < kind->threads; i++)
		pthread_create(&thread, NULL, without_end, (void *)kind->call);
	puts("ready");
	fflush(stdout);
	without_end((void *)kind->call);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "quiet"))
		return quiet(argv[2], atol(argv[3]));
	for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(argv[1], kinds[i].name))
			return neighbour(&kinds[i], argv[2]);
	fprintf(stderr, "usage: neighbours quiet getppid|open N | neighbours KIND FOLDER\n");
	return 2;
}
