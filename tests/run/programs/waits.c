/* Opens that wait: for the other end of a FIFO, for the holder of a lease. ARGV[1] says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 50

static volatile int *came; /* shared with whoever is forked */

static void *reader(void *at)
{
	char name[16], byte = 0;
	snprintf(name, sizeof name, "f%ld", (long)at);
	int fd = open(name, O_RDONLY);
	long good = fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'x';
	close(fd);
	return (void *)good;
}

static void *writer(void *at)
{
	char name[16];
	snprintf(name, sizeof name, "f%ld", (long)at);
	int fd = open(name, O_WRONLY);
	long good = fd >= 0 && write(fd, "x", 1) == 1;
	close(fd);
	return (void *)good;
}

static long joined(pthread_t *threads, int count)
{
	long good = 0;
	for (int i = 0; i < count; i++) {
		void *one;
		pthread_join(threads[i], &one);
		good += (long)one;
	}
	return good;
}

/* Readers and writers of as many FIFOs, in any order. */
static void meet(void)
{
	pthread_t threads[2 * MANY];
	for (long i = 0; i < MANY; i++) {
		char name[16];
		snprintf(name, sizeof name, "f%ld", i);
		mkfifo(name, 0644);
		pthread_create(&threads[2 * i], 0, i % 2 ? reader : writer, (void *)i);
	}
	for (long i = 0; i < MANY; i++)
		pthread_create(&threads[2 * i + 1], 0, i % 2 ? writer : reader, (void *)i);
	printf("met %ld\n", joined(threads, 2 * MANY));
}

/* Other calls, of those that are done inline and of those that are not. */
static int others(int count)
{
	int good = 0;
	for (int i = 0; i < count; i++) {
		int there = open("/etc/passwd", O_RDONLY), made = open("made", O_RDWR | O_CREAT, 0644);
		good += there >= 0 && made >= 0;
		close(there), close(made);
	}
	return good;
}

/* A hundred readers wait for a writer; when it comes all of them go on. */
static void crowd(void)
{
	pthread_t threads[2 * MANY];
	mkfifo("f0", 0644);
	for (int i = 0; i < 2 * MANY; i++)
		pthread_create(&threads[i], 0, reader, 0);
	printf("meanwhile %d\n", others(200));
	int fd = open("f0", O_RDWR);
	for (int i = 0; i < 2 * MANY; i++)
		if (write(fd, "x", 1) != 1)
			exit(1);
	printf("met %ld\n", joined(threads, 2 * MANY));
}

static void handler(int number) { *came = number; }

/* FLAGS: those of the handler. With SA_RESTART the call begins again, and a writer ends it. */
static void signalled(int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	/* Without it the call waits for ever if the first signal comes before it: there are more. */
	struct itimerval when = {{0, flags ? 0 : 500000}, {1, 0}};
	sigaction(SIGALRM, &action, 0);
	mkfifo("f0", 0644);
	pid_t child = fork();
	if (!child) {
		setitimer(ITIMER_REAL, &when, 0);
		int fd = open("f0", O_RDONLY);
		printf("%s %s\n", fd < 0 ? strerror(errno) : "opened", *came ? "handled" : "without");
		exit(0);
	}
	if (flags) {
		while (!*came)
			usleep(1000);
		usleep(500000); /* mostly it waits again by then */
		if (open("f0", O_RDWR) < 0) /* and stays open, for a reader that comes later */
			exit(1);
	}
	waitpid(child, 0, 0);
}

/* A reader is stopped while it waits, and goes on. */
static void stopped(void)
{
	int status;
	mkfifo("f0", 0644);
	pid_t child = fork();
	if (!child) {
		int fd = open("f0", O_RDONLY);
		printf("%s\n", fd < 0 ? strerror(errno) : "opened");
		exit(0);
	}
	usleep(500000); /* mostly it waits by then; it has to stop in any case */
	kill(child, SIGSTOP);
	waitpid(child, &status, WUNTRACED);
	printf("%s\n", WIFSTOPPED(status) ? "stopped" : "ended");
	fflush(stdout);
	kill(child, SIGCONT);
	close(open("f0", O_WRONLY));
	waitpid(child, 0, 0);
}

/* Sits on a lease, and gives it up only when it is told to. */
static void holder(int told, int ready)
{
	char byte;
	int fd = open("leased", O_RDWR | O_CREAT, 0644);
	signal(SIGIO, SIG_IGN);
	int got = fcntl(fd, F_SETLEASE, F_WRLCK);
	if (write(ready, got ? "n" : "y", 1) != 1 || read(told, &byte, 1) < 0)
		exit(1);
	fcntl(fd, F_SETLEASE, F_UNLCK);
	exit(0);
}

static void *opens_leased(void *unused)
{
	int fd = open("leased", O_RDONLY);
	*came = 1;
	return (void *)(long)(fd >= 0);
}

static void lease(void)
{
	int told[2], ready[2];
	char byte;
	pthread_t thread;
	if (pipe(told) || pipe(ready))
		exit(1);
	pid_t child = fork();
	if (!child)
		holder(told[0], ready[1]);
	if (read(ready[0], &byte, 1) != 1 || byte != 'y')
		exit(2);
	int fd = open("leased", O_RDONLY | O_NONBLOCK);
	printf("nonblocking %s\n", fd < 0 ? strerror(errno) : "opened");
	pthread_create(&thread, 0, opens_leased, 0);
	printf("meanwhile %d", others(100));
	printf(" %s\n", *came ? "ended" : "waits");
	if (write(told[1], "!", 1) != 1)
		exit(3);
	printf("opened %ld\n", joined(&thread, 1));
	waitpid(child, 0, 0);
}

/* Children are killed at any moment of their opens; sysinfo(2) is answered with a count of things. */
static void killed(int flags, const char *name)
{
	static char room[512];
	long before = 0, after = 0;
	mkfifo("f0", 0644);
	for (int i = 0; i < 300; i++) {
		if (i == 50)
			before = syscall(SYS_sysinfo, room);
		pid_t child = fork();
		if (!child)
			for (;;)
				close(open(name, flags, 0644));
		usleep(i * 37 % 3000);
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
	}
	/* Helpers without work are kept for some seconds. */
	for (int i = 0; i < 750 && (after = syscall(SYS_sysinfo, room)) > before; i++)
		usleep(20000);
	printf("%s\n", after > before ? "grows" : "steady");
	if (after > before)
		printf("from %ld to %ld\n", before, after);
}

int main(int argc, char **argv)
{
	const char *what = argv[1];
	came = mmap(0, sizeof *came, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!strcmp(what, "meet"))
		meet();
	else if (!strcmp(what, "crowd"))
		crowd();
	else if (!strcmp(what, "signalled"))
		signalled(0);
	else if (!strcmp(what, "restarted"))
		signalled(SA_RESTART);
	else if (!strcmp(what, "stopped"))
		stopped();
	else if (!strcmp(what, "lease"))
		lease();
	else if (!strcmp(what, "killed-plain"))
		killed(O_RDONLY, "/etc/passwd");
	else if (!strcmp(what, "killed-made"))
		killed(O_RDWR | O_CREAT, "made");
	else
		killed(O_RDONLY, "f0");
	return 7;
}
