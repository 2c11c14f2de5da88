/* Calls that are performed, in places and at moments where that is hard. ARGV[1] says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char room[512];

static int pulse(void)
{
	long got = syscall(SYS_sysinfo, room);
	printf("pulse %ld\n", got);
	fflush(stdout);
	return got == 4711 ? 7 : 99;
}

static struct sockaddr_un at(const char *path)
{
	struct sockaddr_un where = {AF_UNIX, ""};
	strncpy(where.sun_path, path, sizeof where.sun_path - 1);
	return where;
}

#define TO(a) (struct sockaddr *)&(a), sizeof(a)

/* A socket that listens and has no room left: the next connect waits for ever. */
static int full(const char *path)
{
	struct sockaddr_un where = at(path);
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(server, TO(where)) || listen(server, 0))
		exit(1);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	while (!connect(client, TO(where)))
		client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	return server;
}

static int waits(char **argv)
{
	(void)argv;
	struct sockaddr_un where = at("full");
	full("full");
	pid_t child = fork();
	if (!child) {
		connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(where));
		_exit(0);
	}
	int wrong = 0;
	for (int i = 0; i < 200; i++) {
		wrong += syscall(SYS_sysinfo, room) != 4711;
		usleep(500);
	}
	printf("wrong %d\n", wrong);
	kill(child, SIGKILL);
	int status;
	waitpid(child, &status, 0);
	printf("signal %d\n", WTERMSIG(status));
	return pulse();
}

/* Nothing but that call. */
static int blocked(char **argv)
{
	(void)argv;
	struct sockaddr_un where = at("full");
	full("full");
	printf("up\n");
	fflush(stdout);
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(where)) != 0;
}

static volatile int *came; /* shared with whoever is forked */

static void handler(int number) { *came = number; }

/* A signal after one second, and room for the connect one second after its handler ran. */
static int signalled(int flags, long timeout)
{
	struct sockaddr_un where = at("full");
	int server = full("full"), client = socket(AF_UNIX, SOCK_STREAM, 0);
	struct timeval limit = {.tv_sec = timeout};
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags};
	/* The first may come before the call that it shall end: then there are more. */
	struct itimerval when = {{0, flags && !timeout ? 0 : 500000}, {1, 0}};
	sigaction(SIGALRM, &act, 0);
	came = mmap(0, sizeof *came, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child = fork();
	if (!child) {
		while (!*came)
			usleep(1000);
		sleep(1);
		while (accept(server, 0, 0) >= 0)
			;
	}
	setitimer(ITIMER_REAL, &when, 0);
	int got = connect(client, TO(where));
	int error = errno;
	struct itimerval never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &never, 0);
	printf("%d %s\n", got, got ? strerrorname_np(error) : "ok");
	kill(child, SIGKILL);
	return pulse();
}

static int interrupted(char **argv)
{
	(void)argv;
	return signalled(0, 0);
}

static int restarted(char **argv)
{
	(void)argv;
	return signalled(SA_RESTART, 0);
}

static int limited(char **argv)
{
	(void)argv;
	return signalled(SA_RESTART, 60);
}

static int rooted(char **argv)
{
	(void)argv;
	struct sockaddr_un where = at("/here"), rel = at("there"), out = at("../../out");
	umask(077);
	mkdir("jail", 0755);
	mkdir("jail/deep", 0755);
	if (chroot("jail") || chdir("/deep"))
		return 1;
	printf("bind %d\n", bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(where)));
	printf("relative %d\n", bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(rel)));
	printf("above %d\n", bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(out)));
	struct stat made;
	printf("%d", stat("/here", &made));
	printf(" %o %d %d\n", made.st_mode, stat("/deep/there", &made), stat("/out", &made));
	return pulse();
}

static int results[2];

/* A thread that does not share its descriptors: the same number is another socket. */
static void *own_files(void *unused)
{
	struct sockaddr_un mine = at("mine");
	unshare(CLONE_FILES);
	int number = (int)(long)unused;
	dup2(socket(AF_UNIX, SOCK_STREAM, 0), number);
	results[0] = bind(number, TO(mine));
	struct sockaddr_un name;
	socklen_t size = sizeof name;
	memset(&name, 0, sizeof name);
	getsockname(number, (void *)&name, &size);
	results[1] = strcmp(name.sun_path, "mine");
	return 0;
}

static int files(char **argv)
{
	(void)argv;
	struct sockaddr_un name;
	socklen_t size = sizeof name;
	int number = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t thread;
	pthread_create(&thread, 0, own_files, (void *)(long)number);
	pthread_join(thread, 0);
	memset(&name, 0, sizeof name);
	getsockname(number, (void *)&name, &size);
	printf("%d %d %s\n", results[0], results[1], name.sun_path[0] ? "mixed up" : "untouched");
	return pulse();
}

/* What the supervisor has open (its rule says so) must not grow with what happened. */
static int grows(char **argv)
{
	(void)argv;
	struct sockaddr_un where = at("full");
	full("full");
	long before = syscall(SYS_uname, room);
	for (int i = 0; i < 60; i++) {
		pid_t child = fork();
		if (!child) {
			connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(where));
			_exit(0);
		}
		usleep(3000);
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
		close(987);
		connect(-1, TO(where));
		connect(0, TO(where));
	}
	/* Targets that are gone are noticed twenty times a second. */
	long after = 0;
	for (int i = 0; i < 1000 && (after = syscall(SYS_uname, room)) > before + 4; i++)
		usleep(20000);
	printf("%s\n", after <= before + 4 ? "steady" : "grew");
	if (after > before + 4)
		printf("%ld %ld\n", before, after);
	return pulse();
}

/* More at once than notifyd has descriptors for. */
static int throng(char **argv)
{
	struct sockaddr_un where = at("full");
	full("full");
	int many = atoi(argv[2]), refused = 0, status;
	pid_t made[1000];
	for (int i = 0; i < many; i++) {
		made[i] = fork();
		if (!made[i]) {
			connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(where));
			_exit(errno == EPERM ? 1 : 2);
		}
	}
	/* Those that are refused end by themselves; at least one is. */
	refused += waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 1;
	printf("refused %d\n", refused);
	int good = pulse();
	for (int i = 0; i < many; i++)
		kill(made[i], SIGKILL);
	while (wait(0) > 0)
		;
	return good;
}

static pthread_barrier_t together;

static void *one_of_many(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&together);
	return (void *)(syscall(SYS_uname, room) - 12);
}

static int crowd(char **argv)
{
	int many = atoi(argv[2]);
	pthread_t made[1000];
	long wrong = 0;
	pthread_barrier_init(&together, 0, many);
	for (int i = 0; i < many; i++)
		wrong += pthread_create(&made[i], 0, one_of_many, 0) != 0;
	for (int i = 0; i < many; i++) {
		void *got;
		pthread_join(made[i], &got);
		wrong += got != 0;
	}
	printf("wrong %ld\n", wrong);
	return pulse();
}

static const struct {
	const char *name;
	int (*run)(char **);
} MODES[] = {{"waits", waits},   {"interrupted", interrupted}, {"restarted", restarted}, {"limited", limited}, {"rooted", rooted},
	     {"files", files},   {"grows", grows},             {"crowd", crowd}, {"throng", throng}, {"blocked", blocked}};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof MODES / sizeof *MODES; i++)
		if (argc > 1 && !strcmp(argv[1], MODES[i].name))
			return MODES[i].run(argv);
	return 2;
}
