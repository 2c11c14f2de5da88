/* Numbers at the edges of C's types, in the structures that system calls read from memory: what each
   call says, one line a call. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint64_t edges[] = {
	(uint64_t)-1, 0x7fffffff, 0x80000000, 0xffffff9c, 0xffffffff, 1ull << 32, 1ull << 62,
	(1ull << 63) - 1, 1ull << 63, 0, 1, 15, 16, 17, 127, 128, 129, 1023, 1024, 1025, 131073,
};
#define EDGES (sizeof edges / sizeof *edges)
static struct sockaddr_in there;
static int in, out;

static void say(const char *what, uint64_t edge, long result)
{
	static char text[1 << 18];
	long got = 0;
	int error = errno;
	while (recv(in, text, sizeof text, MSG_DONTWAIT) >= 0)
		got++;
	if (result < 0)
		printf("%s %llx %s got %ld\n", what, (long long)edge, strerrorname_np(error), got);
	else
		printf("%s %llx %ld got %ld\n", what, (long long)edge, result, got);
}

static void put(void *where, int size, uint64_t edge)
{
	memcpy(where, &edge, size);
}

static void messages(void)
{
	static char text[] = "hello", control[CMSG_SPACE(4)];
	static struct iovec none[1024];
	for (unsigned i = 0; i < EDGES * 5; i++) {
		uint64_t edge = edges[i / 5];
		struct iovec piece = {text, 5};
		struct msghdr header = {&there, sizeof there, &piece, 1, NULL, 0, 0};
		struct cmsghdr *first = (void *)control;
		const char *what;
		*first = (struct cmsghdr){CMSG_LEN(4), SOL_IP, IP_TTL};
		*(int *)CMSG_DATA(first) = 7;
		switch (i % 5) {
		case 0: what = "namelen", put(&header.msg_namelen, 4, edge); break;
		case 1: what = "iovlen", put(&header.msg_iovlen, 8, edge); header.msg_iov = none; break;
		case 2: what = "iov_len", put(&piece.iov_len, 8, edge); break;
		case 3: what = "flags", put(&header.msg_flags, 4, edge); break;
		default:
			what = "cmsg_len", put(&first->cmsg_len, sizeof first->cmsg_len, edge);
			header.msg_control = control, header.msg_controllen = sizeof control;
		}
		if (i % 5 == 2 && edge > 5 && edge < 1 << 20)
			continue; /* what is behind the text would be sent */
		say(what, edge, syscall(SYS_sendmsg, out, &header, 0));
	}
	for (unsigned i = 0; i < EDGES; i++) {
		struct iovec piece = {text, 5};
		struct msghdr header = {&there, sizeof there, &piece, 1, NULL, edges[i], 0};
		say("controllen", edges[i], syscall(SYS_sendmsg, out, &header, 0));
	}
}

/* Of several messages, those before the one that cannot be read are sent. */
static void several(char *end)
{
	struct iovec piece = {"hello", 5};
	struct mmsghdr *all = (struct mmsghdr *)end - 3;
	for (int bad = 0; bad < 4; bad++) {
		for (int i = 0; i < 3; i++)
			all[i].msg_hdr = (struct msghdr){&there, sizeof there, &piece, 1, NULL, 0, 0};
		if (bad < 3)
			all[bad].msg_hdr.msg_name = end;
		for (int count = 0; count < 5; count++)
			say("several", bad * 16 + count, syscall(SYS_sendmmsg, out, all, count, 0));
		if (bad < 3) {
			all[bad].msg_hdr.msg_name = &there;
			all[bad].msg_hdr.msg_namelen = -1;
			say("several, a length", bad, syscall(SYS_sendmmsg, out, all, 3, 0));
		}
	}
	say("several, endless", 0, syscall(SYS_sendmmsg, out, all, -1, 0));
}

static void files(void)
{
	for (unsigned i = 0; i < EDGES * 5; i++) {
		uint64_t edge = edges[i / 5];
		struct open_how how = {O_RDWR, 0, 0};
		int64_t times[4] = {1, 2, 3, 4};
		long result;
		const char *what;
		switch (i % 5) {
		case 0: what = "how.flags", how.flags = edge; break;
		case 1: what = "how.mode", how.mode = edge; break;
		case 2: what = "how.mode of a new one", how = (struct open_how){O_CREAT, edge, 0}; break;
		case 3: what = "how.resolve", how.resolve = edge; break;
		default: what = "nanoseconds", times[1] = edge;
		}
		if (i % 5 == 3 && edge & 0x10)
			continue; /* RESOLVE_IN_ROOT is refused where a rule looks at the path */
		if (i % 5 == 4)
			result = syscall(SYS_utimensat, AT_FDCWD, "file", times, 0);
		else
			result = syscall(SYS_openat2, AT_FDCWD, i % 5 == 2 ? "new" : "file", &how, sizeof how);
		say(what, edge, result < 0 ? result : 0);
		if (i % 5 != 4 && result >= 0)
			close(result);
		syscall(SYS_unlink, "new");
	}
}

int main(void)
{
	socklen_t size = sizeof there;
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + 4096, 4096);
	close(open("file", O_CREAT | O_RDWR, 0644));
	in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	there.sin_family = AF_INET, there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(in, (void *)&there, sizeof there) || getsockname(in, (void *)&there, &size))
		return 1;
	messages();
	several(pages + 4096);
	files();
	return 7;
}
