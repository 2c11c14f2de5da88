/* ARGV[1] mount namespaces with ARGV[2] processes each, all at once; in each namespace "here" is a file
 * system of its own. Every process makes a directory there by a performed call, which nobody but its
 * own namespace sees. Prints how many got a wrong answer. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for_all(void)
{
	int wrong = 0, status;
	while (wait(&status) > 0)
		wrong += WIFEXITED(status) ? WEXITSTATUS(status) : 255;
	return wrong;
}

static int one(int number)
{
	char name[32], copy[32];
	snprintf(name, sizeof name, "here/d%d", number);
	/* The same name in every namespace: it is there already if the wrong one was reached. */
	snprintf(copy, sizeof copy, "here/common%d", number);
	int bad = mkdir(name, 0700) || access(name, F_OK) || mkdir(copy, 0700);
	struct stat found, root;
	return bad || stat(name, &found) || stat("here", &root) || found.st_dev != root.st_dev;
}

static int namespace(int processes)
{
	struct stat before, after;
	if (stat("here", &before) || unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) ||
	    mount("here", "here", "tmpfs", 0, "mode=0755") || stat("here", &after))
		return 100;
	if (before.st_dev == after.st_dev)
		return 101;
	for (int i = 0; i < processes; i++)
		if (!fork())
			_exit(one(i));
	return wait_for_all();
}

int main(int argc, char **argv)
{
	for (int i = 0; i < atoi(argv[1]); i++)
		if (!fork())
			_exit(namespace(atoi(argv[2])) ? 1 : 0);
	printf("wrong %d\n", wait_for_all());
	return 7;
}
