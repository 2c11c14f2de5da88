/* Mounts what is another file system depending on who mounts it, in a pid and a cgroup namespace of
 * its own, below the folder ARGV[1]; prints what came of it and what can be seen there. */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *what, int got)
{
	printf("%s %s\n", what, got < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static int processes(const char *place)
{
	DIR *list = opendir(place);
	int count = 0;
	for (struct dirent *one; list && (one = readdir(list));)
		count += one->d_name[0] >= '0' && one->d_name[0] <= '9';
	return count;
}

int main(int argc, char **argv)
{
	char options[100];
	if (chdir(argv[1]) || unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		err(1, "no namespaces");
	mkdir("proc", 0755), mkdir("cgroup", 0755), mkdir("fuse", 0755);
	if (fork())
		return wait(NULL) < 0;
	tell("proc", mount("proc", "proc", "proc", 0, NULL));
	printf("processes of others %s\n", processes("proc") > 1 ? "yes" : "no");
	tell("cgroup2", mount("none", "cgroup", "cgroup2", 0, NULL));
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 open("/dev/fuse", O_RDWR));
	tell("fuse", mount("none", "fuse", "fuse", 0, options));
	tell("a part of fuse", mount("none", "fuse", "fuse.part", MS_MGC_VAL, options));
	return 0;
}
