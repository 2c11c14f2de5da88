/* Targets that go away, stop, fork and signal while their calls are decided. ARGV[1] says how. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static struct utsname name;

static void slow(void) { syscall(SYS_uname, &name); }

static int pulse(void)
{
	long got = syscall(SYS_sysinfo, &name);
	printf("pulse %ld\n", got);
	fflush(stdout);
	return got == 4711 ? 7 : 99;
}

static void *slow_thread(void *unused)
{
	slow();
	return unused;
}

/* The rule writes a byte to descriptor 9's FIFO path when it was asked: argv[2]. */
static void asked(const char *fifo)
{
	char byte;
	int at = open(fifo, O_RDONLY);
	if (read(at, &byte, 1) != 1)
		exit(98);
	close(at);
}

static int killed(char **argv)
{
	pid_t child = fork();
	if (!child) {
		slow();
		_exit(0);
	}
	asked(argv[2]);
	kill(child, SIGKILL);
	int status;
	waitpid(child, &status, 0);
	printf("signal %d\n", WTERMSIG(status));
	return pulse();
}

/* A thread waits for its answer when another ends the whole process. */
static int group(char **argv)
{
	pid_t child = fork();
	if (!child) {
		pthread_t thread;
		pthread_create(&thread, 0, slow_thread, 0);
		asked(argv[2]);
		_exit(5);
	}
	int status;
	waitpid(child, &status, 0);
	printf("exit %d\n", WEXITSTATUS(status));
	return pulse();
}

/* A thread waits for its answer when another executes a new program. */
static int exec(char **argv)
{
	pid_t child = fork();
	if (!child) {
		pthread_t thread;
		pthread_create(&thread, 0, slow_thread, 0);
		asked(argv[2]);
		execl("/bin/sh", "sh", "-c", "exit 6", NULL);
		_exit(1);
	}
	int status;
	waitpid(child, &status, 0);
	printf("exit %d\n", WEXITSTATUS(status));
	return pulse();
}

static atomic_long seen;
static void count(int number)
{
	(void)number;
	seen++;
}

/* Signals with a handler, as fast as a timer gives them, while calls are made. */
static int signals(char **argv)
{
	struct sigaction act = {.sa_handler = count, .sa_flags = atoi(argv[2]) ? SA_RESTART : 0};
	sigaction(SIGALRM, &act, 0);
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, 0);
	long wrong = 0, got;
	for (long i = 0; i < 5000; i++) {
		/* Before it is received a call can be interrupted: seccomp_unotify(2). */
		while ((got = syscall(SYS_sysinfo, &name)) < 0 && errno == EINTR && !atoi(argv[2]))
			;
		wrong += got != 4711;
	}
	setitimer(ITIMER_REAL, &never, 0);
	printf("wrong %ld %s\n", wrong, seen > 10 ? "signalled" : "quiet");
	return pulse();
}

/* One process calls, another stops and continues it all the while. */
static int stops(char **argv)
{
	(void)argv;
	pid_t child = fork();
	if (!child) {
		long wrong = 0;
		for (long i = 0; i < 3000; i++)
			wrong += syscall(SYS_sysinfo, &name) != 4711;
		_exit(wrong ? 1 : 0);
	}
	int status, rounds = 0;
	pid_t ended = 0;
	/* For a while: some schedulers hardly ever let it come to a call otherwise. */
	for (; rounds < 200000 && !(ended = waitpid(child, &status, WNOHANG)); rounds++) {
		kill(child, SIGSTOP);
		kill(child, SIGCONT);
		if (rounds % 16 == 0)
			sched_yield();
	}
	if (!ended)
		waitpid(child, &status, 0);
	printf("status %d %s\n", status, rounds > 10 ? "often" : "hardly");
	return pulse();
}

static int forks(char **argv)
{
	int width = atoi(argv[2]), wrong = 0;
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < width; i++)
			if (!fork())
				_exit(syscall(SYS_sysinfo, &name) == 4711 ? 0 : 1);
		int status;
		while (wait(&status) > 0)
			wrong += status != 0;
	}
	printf("wrong %d\n", wrong);
	return pulse();
}

/* Children that are killed at any moment of their calls. */
static int kills(char **argv)
{
	(void)argv;
	for (int i = 0; i < 300; i++) {
		pid_t child = fork();
		if (!child)
			for (;;)
				syscall(SYS_sysinfo, &name);
		usleep(i % 7 * 150);
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
	}
	printf("done\n");
	return pulse();
}

/* The same with threads, so that the listener gets no event at all. */
static void *call_for_ever(void *unused)
{
	for (;;)
		syscall(SYS_sysinfo, &name);
	return unused;
}

static int leaves(char **argv)
{
	(void)argv;
	for (int i = 0; i < 100; i++) {
		pid_t child = fork();
		if (!child) {
			pthread_t thread;
			for (int t = 0; t < 4; t++)
				pthread_create(&thread, 0, call_for_ever, 0);
			usleep(i % 5 * 200);
			_exit(0);
		}
		waitpid(child, 0, 0);
	}
	printf("done\n");
	return pulse();
}

static int undumpable(char **argv)
{
	(void)argv;
	prctl(PR_SET_DUMPABLE, 0);
	int got = open("/dev/null", O_RDONLY);
	printf("open %d %s\n", got < 0 ? -1 : 0, got < 0 ? strerrorname_np(errno) : "ok");
	return pulse();
}

/* The rule kills; what it guarded never happens. */
static int dies(char **argv)
{
	pid_t child = fork();
	if (!child) {
		pthread_t thread;
		pthread_create(&thread, 0, (void *(*)(void *))pause, 0);
		int made = open(argv[2], O_CREAT | O_WRONLY, 0600);
		_exit(made < 0 ? 1 : 2);
	}
	int status;
	waitpid(child, &status, 0);
	printf("signal %d exit %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0, WEXITSTATUS(status));
	printf("made %d\n", access(argv[2], F_OK) == 0);
	return pulse();
}

static const struct {
	const char *name;
	int (*run)(char **);
} MODES[] = {{"killed", killed},   {"group", group},   {"exec", exec},   {"signals", signals},
	     {"stops", stops},     {"forks", forks},   {"kills", kills}, {"leaves", leaves},
	     {"undumpable", undumpable}, {"dies", dies}};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
		if (argc > 1 && !strcmp(argv[1], MODES[i].name))
			return MODES[i].run(argv);
	return 2;
}
