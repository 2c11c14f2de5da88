/* Looks for a way out of a root directory through what /proc tells of other processes.
 *
 * ARGV[1]: a folder that becomes the root, with a /proc of its own. ARGV[2]: a socket outside that
 * listens, ARGV[3]: a file outside. Prints what was reached, and in the end how many it looked at. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fd_count = 16;

static void look(const char *path, int flags)
{
	char byte;
	struct stat found;
	int fd = open(path, flags | O_RDONLY | O_NONBLOCK, 0600);
	if (fd >= 0 && !fstat(fd, &found) && (S_ISDIR(found.st_mode) || read(fd, &byte, 1) > 0))
		printf("reached %s\n", path);
	if (fd >= 0)
		close(fd);
}

static void look_into(const char *process, const char *file)
{
	char path[4096];
	snprintf(path, sizeof path, "/proc/%s/root%s", process, file);
	look(path, 0);
	snprintf(path, sizeof path, "/proc/%s/cwd/../../..%s", process, file);
	look(path, 0);
	snprintf(path, sizeof path, "/proc/%s/task/%s/maps", process, process);
	look(path, 0);
	for (int fd = 0; fd < fd_count; fd++) {
		snprintf(path, sizeof path, "/proc/%s/fd/%d/../../..%s", process, fd, file);
		look(path, 0);
	}
	snprintf(path, sizeof path, "/proc/%s", process);
	if (chdir(path))
		return;
	look("maps", 0);
	look("maps", O_CREAT);
	look("fd", 0);
	chdir("/");
}

static void connect_by(const char *process, const char *socket_path)
{
	struct sockaddr_un at = {AF_UNIX, ""};
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	int size = snprintf(at.sun_path, sizeof at.sun_path, "/proc/%s/root%s", process, socket_path);
	if (size >= (int)sizeof at.sun_path)
		errx(1, "too long: %s", socket_path);
	if (!connect(client, (void *)&at, sizeof at))
		printf("connected %s\n", at.sun_path);
	close(client);
}

int main(int argc, char **argv)
{
	int count = 0;
	/* A user without other processes on this machine: those may be looked into. */
	uid_t user = 100000 + getpid();
	if (chdir(argv[1]) || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mkdir("proc", 0755) || mount("proc", "proc", "proc", 0, NULL) ||
	    chroot(".") || setresgid(user, user, user) || setresuid(user, user, user))
		err(1, "no root of its own");
	for (int round = 0; round < 2; round++) {
		DIR *all = opendir("/proc");
		for (struct dirent *one; (one = readdir(all));)
			if (isdigit(one->d_name[0]) && atoi(one->d_name) != getpid()) {
				look_into(one->d_name, argv[3]);
				connect_by(one->d_name, argv[2]);
				count++;
			}
		closedir(all);
	}
	printf("looked at %s\n", count > 4 ? "many" : "none");
	return 0;
}
