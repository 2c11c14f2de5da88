/* Opens /dev/tty: with the terminal that this process has, or has not, then in a session without one,
 * then in a session with another one. Prints what each open gave: the device, or the error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *opened(void)
{
	int fd = open("/dev/tty", O_RDWR);
	if (fd < 0)
		return strerror(errno);
	/* Both are one terminal's: its session is ours, or it would not say which one it is. */
	int session = 0;
	const char *what = ioctl(fd, TIOCGSID, &session) || session != getsid(0) ? "another's" : "ours";
	close(fd);
	return what;
}

int main(void)
{
	printf("at first: %s\n", opened());
	fflush(stdout);
	if (!fork()) {
		int master = posix_openpt(O_RDWR | O_NOCTTY);
		if (setsid() < 0 || grantpt(master) || unlockpt(master))
			_exit(1);
		printf("alone: %s\n", opened());
		int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
		printf("made: %s\n", ioctl(slave, TIOCSCTTY, 0) ? strerror(errno) : opened());
		fflush(stdout);
		_exit(0);
	}
	wait(0);
	return 7;
}
