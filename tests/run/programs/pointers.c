/* Calls with pointers that no honest program passes; prints what each returned. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *what, long got)
{
	printf("%s %d %s\n", what, got < 0 ? -1 : 0, got < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
	if (got > 2)
		close((int)got);
}

#define OPEN(what, p) tell(what, syscall(SYS_openat, AT_FDCWD, (p), O_RDONLY))

int main(void)
{
	char *map = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *end = map + 2 * 4096; /* the first byte that is not there */
	munmap(end, 4096);
	mprotect(end + 4096, 4096, PROT_NONE);

	OPEN("null", 0);
	OPEN("low", 0x1000);
	OPEN("unmapped", end);
	OPEN("none", end + 4096);
	OPEN("kernel", 0xffffffff81000000ul);
	OPEN("hole", 0x8000000000000000ul);
	OPEN("top", ~0ul);

	memset(map, 'a', 2 * 4096);
	OPEN("endless", map);
	OPEN("cut", end - 100);
	OPEN("cut at one", end - 1);
	memcpy(end - 10, "/dev/null", 10);
	OPEN("to the last byte", end - 10);
	memcpy(map + 4096 - 5, "/dev/null", 10);
	OPEN("over a page", map + 4096 - 5);
	map[0] = 0;
	OPEN("empty", map);
	memset(map, '/', 4096);
	memcpy(map + 4095 - 9, "/dev/null", 10);
	OPEN("4095", map);
	memcpy(map + 4096 - 9, "/dev/null", 10);
	OPEN("4096", map);

	char *good[] = {"true", 0};
	tell("exec null", syscall(SYS_execve, 0, good, 0));
	tell("exec argv", syscall(SYS_execve, "/bin/true", (void *)0x10, 0));
	char **last = (char **)(end - 16);
	last[0] = last[1] = "x";
	tell("exec argv without end", syscall(SYS_execve, "/bin/true", last, 0));
	last[0] = (char *)8;
	last[1] = 0;
	tell("exec bad string", syscall(SYS_execve, "/bin/true", last, 0));
	tell("exec nowhere", syscall(SYS_execve, "/nowhere", good, 0));
	memset(map, 0, 4096);
	last[0] = memset(map, 'y', 200);
	tell("exec nowhere with argument", syscall(SYS_execve, "/nowhere", last, 0));

	int s = socket(AF_INET, SOCK_STREAM, 0);
	tell("connect null", connect(s, 0, 16));
	tell("connect unmapped", connect(s, (void *)end, 16));
	tell("connect over the end", connect(s, (void *)(end - 8), 16));
	tell("connect kernel", connect(s, (void *)0xffffffff81000000ul, 16));
	return 7;
}
