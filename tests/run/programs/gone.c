/* Is what a process had to itself gone when it has been waited for?    gone KIND COUNT [DEVICE]
 * Prints in how many of COUNT trials it was not, and the longest time that it took then, in ms. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *kind, *device;
static int ready[2], go[2], watch = -1;

static int is(const char *name) { return !strcmp(kind, name); }

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void use(const char *folder) /* calls that are performed, the last thing it does */
{
	char path[64];
	snprintf(path, sizeof path, "%s/made", folder);
	if (mkdir(path, 0755) && !device) /* a device has it from the last time */
		err(1, "mkdir");
	snprintf(path, sizeof path, "%s/file", folder);
	int fd = open(path, O_CREAT | O_RDWR, 0644);
	if (fd < 0 || close(fd))
		err(1, "open");
	close(open("/etc/passwd", O_RDONLY));
}

static void meet(void) /* tell the parent, and wait for it */
{
	char c = '.';
	if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
		err(1, "meet");
}

static void put(const char *path, const char *format, int id)
{
	FILE *file = fopen(path, "r+");
	if (!file || fprintf(file, format, id) < 0 || fclose(file))
		err(1, "%s", path);
}

static void move(int flags)
{
	int uid = geteuid(), gid = getegid();
	if (unshare(flags | CLONE_NEWNS))
		err(1, "unshare");
	if (flags & CLONE_NEWUSER) {
		put("/proc/self/setgroups", "deny", 0);
		put("/proc/self/uid_map", "0 %d 1", uid);
		put("/proc/self/gid_map", "0 %d 1", gid);
	}
	if (mount(0, "/", 0, MS_REC | MS_PRIVATE, 0))
		err(1, "mount");
	if (mount(device, "there", device ? "ext4" : "tmpfs", 0, 0))
		err(1, "mount");
}

static void *alone(void *unused)
{
	if (unshare(CLONE_FS))
		err(1, "unshare");
	move(0);
	use("there");
	return unused;
}

static void in_thread(void)
{
	pthread_t thread;
	if (pthread_create(&thread, 0, alone, 0) || pthread_join(thread, 0))
		errx(1, "thread");
}

static void child(void)
{
	if (is("chroot")) {
		if (chroot("there"))
			err(1, "chroot");
		meet();
		use("");
	} else if (is("thread")) {
		meet();
		in_thread();
	} else if (is("pids")) {
		move(CLONE_NEWPID);
		meet();
		pid_t pid = fork();
		if (!pid) {
			use("there");
			_exit(0);
		}
		waitpid(pid, 0, 0);
	} else {
		move(is("user") ? CLONE_NEWUSER : is("all") ? CLONE_NEWUTS | CLONE_NEWIPC : 0);
		if (is("killed") && mkfifo("there/fifo", 0644))
			err(1, "mkfifo");
		meet();
		if (is("killed"))
			open("there/fifo", O_RDONLY);
		use("there");
	}
	_exit(0);
}

static int gone(void)
{
	if (is("chroot"))
		return !umount2("there", 0);
	if (device) {
		int fd = open(device, O_RDWR | O_EXCL);
		return fd >= 0 && !close(fd);
	}
	struct pollfd poller = {watch, POLLIN, 0};
	return poll(&poller, 1, 0) == 1; /* IN_UNMOUNT: the file system is no more */
}

static double trial(void)
{
	char c = '.', path[64];
	if (is("chroot") && mount(0, "there", "tmpfs", 0, 0))
		err(1, "mount");
	pid_t pid = fork();
	if (!pid)
		child();
	if (read(ready[0], &c, 1) != 1)
		err(1, "read");
	if (!device && !is("chroot") && !is("thread")) {
		watch = inotify_init1(IN_CLOEXEC);
		snprintf(path, sizeof path, "/proc/%d/cwd/there", pid);
		if (inotify_add_watch(watch, path, IN_UNMOUNT) < 0)
			err(1, "%s", path);
	}
	if (write(go[1], &c, 1) != 1)
		err(1, "write");
	if (is("killed")) {
		usleep(20000); /* it waits for the FIFO by then, or will be killed before: both are good */
		kill(pid, SIGKILL);
	}
	int status;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status))
		errx(1, "the child failed");
	double begun = now(), took = 0;
	for (int first = 1; !gone(); first = 0) {
		took = now() - begun;
		if (took > 20000)
			errx(1, "still there");
		if (!first)
			sched_yield();
	}
	if (watch >= 0)
		close(watch);
	watch = -1;
	return took;
}

int main(int argc, char **argv)
{
	kind = argv[1];
	device = argc > 3 ? argv[3] : 0;
	if (pipe(ready) || pipe(go))
		err(1, "pipe");
	int late = 0;
	double worst = 0;
	for (int i = atoi(argv[2]); i; i--) {
		double took = trial();
		late += took > 0;
		worst = took > worst ? took : worst;
	}
	printf("%d %.1f\n", late, worst);
	return 7;
}
