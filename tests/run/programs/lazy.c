/* A pointer into a page that nobody ever fills (userfaultfd): looking at it waits for ever.
 *
 * One process passes it to openat(2), connect(2) or execve(2); another one's calls must go on. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char room[512], byte;
	int ready[2];
	if (pipe(ready))
		return 1;
	pid_t child = fork();
	if (!child) {
		int faults = strcmp(argv[1], "device")
				     ? syscall(SYS_userfaultfd, O_CLOEXEC)
				     : ioctl(open("/dev/userfaultfd", O_RDWR), USERFAULTFD_IOC_NEW, O_CLOEXEC);
		struct uffdio_api api = {.api = UFFD_API};
		ioctl(faults, UFFDIO_API, &api);
		char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct uffdio_register range = {{(unsigned long)page, 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
		if (ioctl(faults, UFFDIO_REGISTER, &range))
			_exit(1);
		int s = socket(AF_INET, SOCK_STREAM, 0);
		if (write(ready[1], "!", 1) != 1)
			_exit(1);
		if (!strcmp(argv[1], "open") || !strcmp(argv[1], "device"))
			syscall(SYS_openat, AT_FDCWD, page, O_RDONLY);
		else if (!strcmp(argv[1], "connect"))
			connect(s, (void *)page, 16);
		else
			syscall(SYS_execve, "/bin/true", page, 0);
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1)
		return 1;
	long got = 0;
	for (int i = 0; i < 100; i++) {
		got = syscall(SYS_sysinfo, room);
		if (got != 4711)
			break;
		usleep(2000);
	}
	printf("%ld %s\n", got, waitpid(child, 0, WNOHANG) ? "ended" : "waits");
	fflush(stdout);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	return 7;
}
