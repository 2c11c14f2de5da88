/*
 * target MODE N [EXPECT]: makes N system calls of one kind and prints the nanoseconds that each took.
 *
 * The clock is the target's own, around its own loop, so a supervisor in C and one in Python are
 * measured by the same watch. WARM_UP calls come first and are not counted: the first of them waits
 * until the supervisor is up. EXPECT is what every call must give, a value or a negated errno; with
 * anything else the figure would be that of calls nobody answered, so the exit status is 1.
 *
 * MODE: getppid, uname, open, openclose; or wait, which says "ready", makes no further call and ends with its
 * standard input. Linked statically: where every open is refused a dynamic program never gets to main.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 100
#define ANYTHING LONG_MIN

static const char PATH[] = "/etc/hostname";
static struct utsname names;

static long call_getppid(void) { return syscall(SYS_getppid); }

static long call_uname(void) { return syscall(SYS_uname, &names); }

/* As libc's open() does it. An fd is given back at once, or an unsupervised run would use up all. */
static long call_open(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, PATH, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd;
}

/* An open that has to work. */
static long call_openclose(void)
{
	long fd = call_open();

	return fd < 0 ? fd : 0;
}

static const struct mode {
	const char *name;
	long (*call)(void);
} modes[] = {
	{"getppid", call_getppid},
	{"uname", call_uname},
	{"open", call_open},
	{"openclose", call_openclose},
};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t); /* the vDSO's: no filter sees it */
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Returns how many of the answers were not the expected one. */
static long repeat(const struct mode *mode, long times, long expect)
{
	long wrong = 0;

	for (long i = 0; i < times; i++) {
		long got = mode->call();

		if (got < 0)
			got = -errno;
		wrong += expect != ANYTHING && got != expect;
	}
	return wrong;
}

static int measure(const struct mode *mode, long times, long expect)
{
	long wrong = repeat(mode, WARM_UP, expect);
	double begin = now_ns();

	wrong += repeat(mode, times, expect);
	double each = (now_ns() - begin) / times;

	if (wrong) {
		fprintf(stderr, "target: %ld of %ld calls of %s did not give %ld\n", wrong, times + WARM_UP,
			mode->name, expect);
		return 1;
	}
	printf("%.1f\n", each);
	return 0;
}

static int wait_for_end(void)
{
	char byte;

	if (write(1, "ready\n", 6) != 6)
		return 1;
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "wait"))
		return wait_for_end();

	long times = argc > 2 ? atol(argv[2]) : 0;
	long expect = argc > 3 ? atol(argv[3]) : ANYTHING;

	for (size_t i = 0; times > 0 && i < sizeof modes / sizeof *modes; i++)
		if (!strcmp(argv[1], modes[i].name))
			return measure(&modes[i], times, expect);
	fprintf(stderr, "usage: target getppid|uname|open|openclose N [EXPECT] | target wait\n");
	return 2;
}
