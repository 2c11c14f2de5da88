/* An ordinary call, ARGV[1] times: prints what sysinfo(2) returned, exits with 7. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sysinfo info;
	for (int left = argc > 1 ? atoi(argv[1]) : 1; left; left--) {
		long got = syscall(SYS_sysinfo, &info);
		printf("%ld %s\n", got, got < 0 ? strerrorname_np(errno) : "ok");
		fflush(stdout);
	}
	return 7;
}
