/* Asks uname(2), which a rule answers oddly, then proves with sysinfo(2) that calls are answered. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void)
{
	struct utsname name;
	long got = syscall(SYS_uname, &name);
	printf("%ld %s\n", got, got < 0 ? strerrorname_np(errno) : "ok");
	printf("%ld\n", syscall(SYS_sysinfo, &name));
	return 7;
}
