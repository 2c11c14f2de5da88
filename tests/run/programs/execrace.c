/* Attacks a rule that allows one program, or one argument: while execve is decided, what it means
 * changes. ARGV: tries, "all" or "first" (stop at the first success), the way.
 * Children try until they execute or are killed; a second process flips as fast as it can, and what
 * is forbidden is there most of the time. Prints: tries, refused, executed, killed, forbidden. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct { char path[64], word[16]; atomic_int tries, refused; } *page;
static const char *way;
static long offset;

static int is(const char *name) { return !strcmp(way, name); }
static void swap(const char *one, const char *other)
{
	syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */);
}

static void set(int evil)
{
	if (is("memory") || is("script"))
		memcpy(page->path, evil ? "evil" : "safe", 4);
	else if (is("argv"))
		memcpy(page->word, evil ? "evil" : "good", 4);
	else if (is("content")) {
		int fd = open("safe/n", O_WRONLY);
		if (fd >= 0 && pwrite(fd, evil ? "e" : "g", 1, offset) == 1)
			close(fd);
	} else if (is("link"))
		swap("link", "other");
	else if (is("replace"))
		swap("safe/n", "evil/n");
	else if (is("parent"))
		rename(evil ? "safe/d" : "evil/d", evil ? "evil/d" : "safe/d");
}

static void flip(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1);
	for (unsigned n = 0;; n++) {
		set(1);
		/* Without a rest it takes the core that the call is decided on. */
		nanosleep(&(struct timespec){0, n % 7 * (is("link") || is("parent") ? 60000 : 10000)}, NULL);
		set(0);
		for (volatile int wait = n % 3000; wait > 0; wait--)
			;
		if (n % 64 == 0) /* long enough for a call or two to be what they seem */
			nanosleep(&(struct timespec){0, 3000000}, NULL);
	}
}

static void attempt(int most)
{
	static char *env[] = {NULL};
	char *argv[] = {"victim", page->word, NULL};
	while (atomic_fetch_add(&page->tries, 1) < most) {
		execve(page->path, argv, env);
		if (errno == EACCES)
			page->refused++;
	}
	_exit(9);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 1;
	int most = atoi(argv[1]), first = !strcmp(argv[2], "first"), status;
	int executed = 0, killed = 0, forbidden = 0;
	way = argv[3];
	offset = argc > 4 ? atol(argv[4]) : 0;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	strcpy(page->word, is("argv") ? "good" : "-");
	strcpy(page->path, is("link") ? "link" : is("parent") ? "../n" : is("script") ? "safe/s" : "safe/n");
	pid_t flipper = fork();
	if (!flipper)
		flip();
	if (is("parent")) {
		int fd = open("safe/d", O_PATH);
		while (fd < 0)
			fd = open("safe/d", O_PATH);
		if (fchdir(fd))
			return 2;
	}
	while (page->tries < most && !(first && forbidden)) {
		pid_t child = fork();
		if (!child)
			attempt(most);
		waitpid(child, &status, 0);
		executed += WIFEXITED(status) && !WEXITSTATUS(status);
		killed += WIFSIGNALED(status);
		forbidden += !rmdir("began");
	}
	kill(flipper, SIGKILL);
	printf("%d %d %d %d %d\n", page->tries, page->refused, executed, killed, forbidden);
	return 7;
}
