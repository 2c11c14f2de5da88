/* Executes in many ways. ARGV: the way, and what it needs. What is executed is mostly this program
 * again, with "told": it prints its arguments and environment. The same lines come natively. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *self, *env[] = {"ONE=1", "TWO=two words", "", NULL};
static int count;

static int at(int fd, const char *path, char **argv, char **envp, int flags)
{
	return syscall(SYS_execveat, fd, path, argv, envp, flags);
}

/* Without what the compiler knows of execve: that its pointers are good. */
static int run(const char *path, char **argv, char **envp) { return syscall(SYS_execve, path, argv, envp); }

static int told(char **argv)
{
	for (; *argv; argv++)
		printf("[%s]", *argv);
	for (char **one = environ; *one; one++)
		printf("{%s}", *one);
	puts("");
	return 7;
}

/* Run `way` in a child; say how it ended. */
static int in_child(const char *name, void (*way)(void *), void *more)
{
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		way(more);
		printf("%s: %s\n", name, strerrorname_np(errno));
		fflush(stdout);
		_exit(1);
	}
	waitpid(child, &status, 0);
	if (status != 0x700 && status != 0x100)
		printf("%s: status %x\n", name, status);
	return status;
}

static char *words[] = {"told", "a b", "", "c", NULL};

static void plain(void *path) { execve(path, words, env); }
static void no_words(void *path) { run(path, NULL, NULL); }
static void empty(void *path) { execve(path, (char *[]){NULL}, (char *[]){NULL}); }
static void by_fd(void *path) { at(open(path, O_RDONLY | O_CLOEXEC), "", words, env, AT_EMPTY_PATH); }
static void by_kept_fd(void *path) { at(dup2(open(path, O_RDONLY), 70), "", words, env, AT_EMPTY_PATH); }
static void by_path_fd(void *path) { at(open(path, O_PATH), "", words, env, AT_EMPTY_PATH); }
static void by_dir(void *name) { at(dup2(open(".", O_PATH | O_DIRECTORY), 71), name, words, env, 0); }
static void by_proc(void *path)
{
	char name[64];
	sprintf(name, "/proc/self/fd/%d", open(path, O_RDONLY));
	execve(name, words, env);
}
static void *execs(void *path) { plain(path); return NULL; }
static void in_thread(void *path)
{
	pthread_t thread;
	pthread_create(&thread, NULL, execs, path);
	pthread_join(thread, NULL);
}
static void after_leader(void *path)
{
	pthread_t thread;
	pthread_create(&thread, NULL, execs, path);
	pthread_exit(NULL);
}
static pthread_barrier_t all;
static void *together(void *path) { pthread_barrier_wait(&all); plain(path); pause(); return NULL; }
static void in_threads(void *path)
{
	pthread_t thread;
	pthread_barrier_init(&all, NULL, count);
	for (int n = 1; n < count; n++)
		pthread_create(&thread, NULL, together, path);
	together(path);
}
static void vforks(void *path)
{
	int status = 0;
	pid_t child = vfork();
	if (!child) {
		plain(path);
		_exit(1);
	}
	waitpid(child, &status, 0);
	_exit(WEXITSTATUS(status));
}
static void checks(void *path)
{
	errno = 0;
	at(AT_FDCWD, path, words, env, 0x10000);
}

/* "kinds SCRIPT DIRECTORY-RELATIVE-SCRIPT": every way, with this program and with scripts of it. */
static int kinds(char **argv)
{
	struct { const char *name; void (*way)(void *); } ways[] = {
		{"plain", plain}, {"no words", no_words}, {"empty", empty}, {"by fd", by_fd},
		{"by kept fd", by_kept_fd}, {"by path fd", by_path_fd}, {"by proc", by_proc},
		{"thread", in_thread}, {"after leader", after_leader}, {"vfork", vforks},
		{"checks", checks}, {NULL, NULL}};
	for (; *argv; argv++)
		for (int n = 0; ways[n].name; n++) {
			printf("%s %s\n", ways[n].name, *argv);
			in_child(ways[n].name, ways[n].way, *argv);
		}
	puts("by dir");
	in_child("by dir", by_dir, "program");
	in_child("by dir", by_dir, "script");
	return 7;
}

/* "errors": what cannot be executed, in a directory that the test has made. */
static char *loop_words[] = {"told", (char *)1, NULL};
static char big[200000];
static char *big_words[] = {"told", big, NULL};
static char *huge_words[100];
static void bad_argv(void *path) { run(path, (char **)1, env); }
static void bad_word(void *path) { execve(path, loop_words, env); }
static void bad_envp(void *path) { run(path, words, (char **)1); }
static void bad_path(void *path) { (void)path; run((char *)1, words, env); }
static void big_word(void *path) { memset(big, 'x', sizeof big - 1); execve(path, big_words, env); }
static void huge(void *path)
{
	memset(big, 'x', 100000);
	for (int n = 0; n < 99; n++)
		huge_words[n] = big;
	execve(path, huge_words, env);
}
static void link_itself(void *path) { at(AT_FDCWD, path, words, env, AT_SYMLINK_NOFOLLOW); }
static void bad_flags(void *path) { at(AT_FDCWD, path, words, env, 0x40); }
static void bad_fd(void *path) { (void)path; at(99, "program", words, env, 0); }
static void no_empty(void *path) { at(open(path, O_RDONLY), "", words, env, 0); }
static void file_fd(void *path) { at(open(path, O_RDONLY), "program", words, env, 0); }
static void busy(void *path) { if (open(path, O_WRONLY) >= 0) plain(path); }
static int errors(void)
{
	char *names[] = {"missing", "", "directory", "fifo", "/dev/null", "plain", "text", "program/x",
		"loop", "orphan", "script-of-directory", "deep6", "empty", "locked/program", "socket", NULL};
	for (char **name = names; *name; name++)
		in_child(*name, plain, *name);
	char name[5000];
	memset(name, 'n', sizeof name - 1);
	in_child("long", plain, name);
	in_child("bad argv", bad_argv, "program");
	in_child("bad word", bad_word, "program");
	in_child("bad envp", bad_envp, "program");
	in_child("bad path", bad_path, NULL);
	in_child("big word", big_word, "program");
	in_child("huge", huge, "program");
	in_child("link itself", link_itself, "link");
	in_child("bad flags", bad_flags, "program");
	in_child("bad fd", bad_fd, NULL);
	in_child("no empty", no_empty, "program");
	in_child("file fd", file_fd, "program");
	in_child("script by closed fd", by_fd, "script");
	in_child("busy", busy, "copy");
	in_child("deep5", plain, "deep5");
	return 7;
}

/* "traced": a child that asked its parent to trace it. */
static int traced(void)
{
	int status;
	pid_t child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execve(self, words, env);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	printf("%s\n", WIFEXITED(status) ? strerrorname_np(WEXITSTATUS(status)) : "stopped");
	kill(child, SIGKILL);
	return 7;
}

/* "tracing": a debugger takes a program that runs already, and follows its system calls. */
static int tracing(void)
{
	int status, stops = 0, pipes[2];
	char byte;
	if (pipe(pipes))
		return 1;
	pid_t child = fork();
	if (!child) {
		dup2(pipes[1], 50);
		execve(self, (char *[]){"exec", "ready", NULL}, env);
		_exit(1);
	}
	if (read(pipes[0], &byte, 1) != 1 || ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACESYSGOOD))
		return 2;
	ptrace(PTRACE_INTERRUPT, child, 0, 0);
	while (waitpid(child, &status, 0) == child && !WIFEXITED(status)) {
		stops++;
		if (stops == 1)
			kill(child, SIGUSR1); /* ends its pause */
		ptrace(PTRACE_SYSCALL, child, 0, status >> 8 == SIGUSR1 ? SIGUSR1 : 0);
	}
	printf("%s %d\n", stops > 3 ? "followed" : "not followed", WEXITSTATUS(status));
	return 7;
}

/* "shell LINE": what a shell executes, with a small environment. */
static int shell(char **argv)
{
	int status;
	pid_t child = fork();
	if (!child)
		execle("/bin/dash", "dash", "-c", argv[2], NULL, (char *[]){"A=b", NULL});
	return waitpid(child, &status, 0) == child ? WEXITSTATUS(status) : 1;
}

static void nothing(int number) { (void)number; }
static int ready(void)
{
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGUSR1, nothing);
	if (write(50, "x", 1) != 1)
		return 1;
	sigsuspend(&before);
	return 5;
}

/* "storm N": a child executes itself N times under a storm of signals, stops among them. */
static int again(char **argv)
{
	int left = atoi(argv[2]);
	signal(SIGUSR1, nothing);
	char number[16], *more[] = {"exec", "again", number, NULL};
	if (!left)
		return 7;
	sprintf(number, "%d", left - 1);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL); /* else the default action would end it */
	execve(self, more, env);
	return errno;
}
static int storm(char **argv)
{
	int status;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid_t child = fork();
	if (!child) {
		char *more[] = {"exec", "again", argv[2], NULL};
		execve(self, more, env);
		_exit(1);
	}
	for (int n = 0;; n++) {
		kill(child, n % 5 == 3 ? SIGSTOP : n % 5 == 4 ? SIGCONT : n % 2 ? SIGUSR1 : SIGURG);
		usleep(n % 200);
		if (n % 5 == 4 && waitpid(child, &status, WNOHANG) == child)
			break;
	}
	printf("%x\n", status);
	return 7;
}

/* "threads N ROUNDS": N threads of one process execute at once; one of them wins. */
static int threads(char **argv)
{
	count = atoi(argv[2]);
	int wrong = 0;
	for (int n = atoi(argv[3]); n > 0; n--)
		wrong += in_child("threads", in_threads, self) != 0x700;
	printf("wrong %d\n", wrong);
	return 7;
}

/* "parallel N": N children execute at once. "killed N": each is killed on its way. */
static int parallel(char **argv, int kills)
{
	int wrong = 0, status;
	for (int n = atoi(argv[2]); n > 0; n--) {
		pid_t child = fork();
		if (!child) {
			execve(self, (char *[]){"exec", kills ? "sleep" : "quiet", NULL}, env);
			_exit(1);
		}
		if (kills) {
			usleep(n * 37 % 3000);
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			wrong += status != SIGKILL;
		}
	}
	while (!kills && wait(&status) > 0)
		wrong += status != 0x300;
	printf("wrong %d\n", wrong);
	return 7;
}

/* "ids PROGRAM": a set-user-ID program says who it is. */
static int ids(char **argv)
{
	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return 1;
	execve(argv[2], (char *[]){"exec", "who", NULL}, env);
	return errno;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	self = "/proc/self/exe";
	char *way = argc > 1 ? argv[1] : "";
	if (argc < 2 || !strcmp(argv[0], "told") || strcmp(argv[0], "exec"))
		if (argc < 2 || strcmp(way, "way"))
			return told(argv);
	if (!strcmp(way, "way")) {
		argv++, argc--;
		way = argc > 1 ? argv[1] : "";
	}
	if (!strcmp(way, "kinds")) return kinds(argv + 2);
	if (!strcmp(way, "errors")) return errors();
	if (!strcmp(way, "traced")) return traced();
	if (!strcmp(way, "shell")) return shell(argv);
	if (!strcmp(way, "tracing")) return tracing();
	if (!strcmp(way, "ready")) return ready();
	if (!strcmp(way, "again")) return again(argv);
	if (!strcmp(way, "storm")) return storm(argv);
	if (!strcmp(way, "threads")) return threads(argv);
	if (!strcmp(way, "parallel")) return parallel(argv, 0);
	if (!strcmp(way, "killed")) return parallel(argv, 1);
	if (!strcmp(way, "ids")) return ids(argv);
	if (!strcmp(way, "who")) return printf("%d %d\n", getuid(), geteuid()), 7;
	if (!strcmp(way, "sleep")) return sleep(100);
	if (!strcmp(way, "quiet")) return 3;
	return 1;
}
