/*
 * costs N FOLDER: makes each call on files and sockets N times below FOLDER and prints a line for each:
 * its name and the median nanoseconds. What has to be there first, or away again, is not in the figure.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static struct stat status;
static struct statfs room;
static struct sockaddr_un there = {AF_UNIX, "listens"}, made = {AF_UNIX, "new"}, hears = {AF_UNIX, "hears"};
static struct sockaddr_in port, any = {AF_INET}; /* one of ours that hears, and one to be chosen */
static char text[256], *self;
static int fd = -1, datagram, packet, connected, ear;

#define TO(a) (struct sockaddr *)&(a), sizeof(a)

static void away(void)
{
	if (fd >= 0)
		close(fd);
	fd = -1;
	unlink("new");
	rmdir("new");
}

static void file(void) { fd = open("new", O_CREAT | O_RDWR, 0644); }
static void stream(void) { fd = socket(AF_UNIX, SOCK_STREAM, 0); }
static void udp(void) { fd = socket(AF_INET, SOCK_DGRAM, 0); }
static void tcp(void) { fd = socket(AF_INET, SOCK_STREAM, 0); }

static int call_open(void) { return (fd = open("old", O_RDONLY)); }
static int call_create(void) { return (fd = open("new", O_CREAT | O_RDWR, 0644)); }
static int call_stat(void) { return lstat("old", &status); }
static int call_access(void) { return access("old", R_OK); }
static int call_readlink(void) { return readlink("link", text, sizeof text); }
static int call_statfs(void) { return statfs("old", &room); }
static int call_getxattr(void) { return getxattr("old", "user.there", text, sizeof text); }
static int call_setxattr(void) { return setxattr("old", "user.there", "value", 5, 0); }
static int call_mkdir(void) { return mkdir("new", 0755); }
static int call_mknod(void) { return mkfifo("new", 0644); }
static int call_symlink(void) { return symlink("old", "new"); }
static int call_link(void) { return link("old", "new"); }
static int call_rename(void) { return rename("new", "newer"); }
static int call_unlink(void) { return unlink("new"); }
static int call_chmod(void) { return chmod("old", 0644); }
static int call_chown(void) { return chown("old", -1, -1); }
static int call_truncate(void) { return truncate("old", 10); }
static int call_utime(void) { return utimensat(AT_FDCWD, "old", 0, 0); }
static int call_connect(void) { return connect(fd, TO(there)); }
static int call_bind(void) { return bind(fd, TO(made)); }
static int call_sendto(void) { return sendto(datagram, "x", 1, MSG_DONTWAIT, TO(hears)); }

static int call_connect_udp(void) { return connect(fd, TO(port)); }
static int call_bind_inet(void) { return bind(fd, TO(any)); }
static int call_sendto_udp(void) { return sendto(packet, "x", 1, 0, TO(port)); }

static int message(int to, void *name, int size)
{
	struct iovec piece = {"x", 1};
	struct msghdr header = {.msg_name = name, .msg_namelen = size, .msg_iov = &piece, .msg_iovlen = 1};
	return sendmsg(to, &header, 0);
}

static int call_sendmsg_udp(void) { return message(packet, &port, sizeof port); }
static int call_sendmsg_tcp(void) { return message(connected, 0, 0); }
static int call_sendmsg(void) { return message(datagram, &hears, sizeof hears); }

static int call_exec(void)
{
	int result;
	pid_t child = vfork();
	if (!child) {
		execl(self, self, (char *)0);
		_exit(9);
	}
	return waitpid(child, &result, 0) == child && !result ? 0 : -1;
}

static void heard(void)
{
	static int other = -1;
	if (other < 0) {
		other = socket(AF_UNIX, SOCK_DGRAM, 0);
		bind(other, TO(hears));
	}
	while (recv(other, text, sizeof text, MSG_DONTWAIT) > 0)
		;
}

static void heard_udp(void)
{
	while (recv(ear, text, sizeof text, MSG_DONTWAIT) > 0)
		;
}

static void renamed(void)
{
	unlink("newer");
	away();
}

static const struct cost {
	const char *name;
	void (*before)(void);
	int (*call)(void);
	void (*after)(void);
} costs[] = {
	{"open", 0, call_open, away},
	{"open O_CREAT", 0, call_create, away},
	{"stat", 0, call_stat, 0},
	{"access", 0, call_access, 0},
	{"readlink", 0, call_readlink, 0},
	{"statfs", 0, call_statfs, 0},
	{"setxattr", 0, call_setxattr, 0},
	{"getxattr", 0, call_getxattr, 0},
	{"mkdir", 0, call_mkdir, away},
	{"mknod", 0, call_mknod, away},
	{"symlink", 0, call_symlink, away},
	{"link", 0, call_link, away},
	{"rename", file, call_rename, renamed},
	{"unlink", file, call_unlink, away},
	{"chmod", 0, call_chmod, 0},
	{"chown", 0, call_chown, 0},
	{"truncate", 0, call_truncate, 0},
	{"utime", 0, call_utime, 0},
	{"connect", stream, call_connect, away},
	{"bind", stream, call_bind, away},
	{"sendto", heard, call_sendto, 0},
	{"sendmsg", heard, call_sendmsg, 0},
	{"connect UDP", udp, call_connect_udp, away},
	{"bind UDP", udp, call_bind_inet, away},
	{"bind TCP", tcp, call_bind_inet, away},
	{"sendto UDP", heard_udp, call_sendto_udp, 0},
	{"sendmsg UDP", heard_udp, call_sendmsg_udp, 0},
	{"sendmsg TCP", 0, call_sendmsg_tcp, 0},
	{"fork, exec, wait", 0, call_exec, 0},
};

static int by_size(const void *one, const void *other)
{
	long a = *(const long *)one, b = *(const long *)other;
	return (a > b) - (a < b);
}

static long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static long median(const struct cost *cost, long *took, int times)
{
	for (int at = -3; at < times; at++) { /* the first ones make helpers and fill caches */
		if (cost->before)
			cost->before();
		long begun = now();
		int result = cost->call();
		long ended = now();
		if (result < 0) {
			perror(cost->name);
			exit(1);
		}
		if (at >= 0)
			took[at] = ended - begun;
		if (cost->after)
			cost->after();
	}
	qsort(took, times, sizeof *took, by_size);
	return took[times / 2];
}

/* A stream that somebody always accepts from. */
static pid_t listening(void)
{
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(server, TO(there));
	listen(server, 64);
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			close(accept(server, 0, 0));
	}
	close(server);
	return child;
}

/* A port that hears, and a connection over which somebody reads. */
static void inet(void)
{
	socklen_t size = sizeof port;
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in there;
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ear = socket(AF_INET, SOCK_DGRAM, 0);
	packet = socket(AF_INET, SOCK_DGRAM, 0);
	connected = socket(AF_INET, SOCK_STREAM, 0);
	bind(ear, TO(any));
	getsockname(ear, (struct sockaddr *)&port, &size);
	bind(server, TO(any));
	listen(server, 1);
	getsockname(server, (struct sockaddr *)&there, &size);
	connect(connected, TO(there));
	accept(server, 0, 0);
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return 0; /* what is executed */
	self = argv[0];
	int times = atoi(argv[1]);
	long *took = malloc(times * sizeof *took);
	if (times < 1 || argc != 3 || chdir(argv[2]))
		return 2;
	close(open("old", O_CREAT | O_WRONLY, 0644));
	symlink("old", "link");
	datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
	inet();
	pid_t child = listening();
	for (unsigned at = 0; at < sizeof costs / sizeof *costs; at++)
		printf("%s:%ld\n", costs[at].name, median(&costs[at], took, times));
	kill(child, 9);
	return 0;
}
