/* Opens files by every kind of path; prints what fstat and the file say. ARGV[1]: a folder. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char told[256];

static void see(const char *what, int fd)
{
	ssize_t size = fd < 0 ? -1 : read(fd, told, sizeof told - 1);
	const char *error = fd < 0 ? strerrorname_np(errno) : size < 0 ? strerrorname_np(errno) : "ok";
	told[size > 0 ? size : 0] = 0;
	told[strcspn(told, "\n")] = 0;
	printf("%s: %s %.40s\n", what, error, told);
	fflush(stdout);
	if (fd > 2)
		close(fd);
}

static void *from_thread(void *unused)
{
	see("thread-self", open("/proc/thread-self/comm", O_RDONLY));
	return unused;
}

int main(int argc, char **argv)
{
	char *top = argv[1], path[4096];
	if (chdir(top))
		return 1;
	mkdir("sub", 0755);
	int fd = open("sub/file", O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (write(fd, "inside\n", 7) != 7)
		return 1;
	close(fd);
	(void)!symlink("sub/file", "link");
	(void)!symlink("loop", "loop");
	(void)!symlink("sub", "way");
	(void)!symlink("/", "sub/up");
	int dir = open("sub", O_RDONLY | O_DIRECTORY);

	see("relative", open("sub/file", O_RDONLY));
	see("dots", open("sub/../sub/./file", O_RDONLY));
	see("link", open("link", O_RDONLY));
	see("link not followed", open("link", O_RDONLY | O_NOFOLLOW));
	see("way", open("way/file", O_RDONLY));
	see("loop", open("loop", O_RDONLY));
	see("dirfd", openat(dir, "file", O_RDONLY));
	see("dirfd up", openat(dir, "../link", O_RDONLY));
	see("dirfd absolute", openat(987, "/dev/null", O_RDONLY));
	see("bad dirfd", openat(987, "file", O_RDONLY));
	see("dirfd is a file", openat(open("link", O_RDONLY), "x", O_RDONLY));
	see("below a file", open("sub/file/x", O_RDONLY));
	see("slash behind a file", open("sub/file/", O_RDONLY));
	see("missing", open("none/../sub/file", O_RDONLY));
	see("above all", open("/../../../dev/null", O_RDONLY));
	see("proc self", open("/proc/self/comm", O_RDONLY));
	snprintf(path, sizeof path, "/proc/%d/comm", getpid());
	see("proc pid", open(path, O_RDONLY));
	see("proc cwd", open("/proc/self/cwd/sub/file", O_RDONLY));
	see("proc root", open("/proc/self/root/dev/null", O_RDONLY));
	snprintf(path, sizeof path, "/proc/self/fd/%d/file", dir);
	see("proc fd", open(path, O_RDONLY));
	pthread_t thread;
	pthread_create(&thread, 0, from_thread, 0);
	pthread_join(thread, 0);

	if (!chdir("sub/up") && !chdir(top) && !mkdir("gone", 0755) && !chdir("gone"))
		rmdir("../gone");
	see("deleted cwd", open("x", O_RDONLY));
	see("deleted cwd up", open("../link", O_RDONLY));
	if (chdir(top))
		return 1;
	if (!chroot("sub")) {
		see("chroot", open("/file", O_RDONLY));
		see("chroot above", open("/../../../file", O_RDONLY));
		see("chroot link", open("/up/up/file", O_RDONLY));
		see("outside by cwd", open("link", O_RDONLY));
		see("outside by dirfd", openat(dir, "../link", O_RDONLY));
	}
	return 7;
}
