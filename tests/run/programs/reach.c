/* What a target can do to the helpers that do its calls: they are descendants of notifyd, our parent,
 * and not of ours.
 *
 * ARGV[1]: "user" as we are, or "namespace" in a user namespace of our own, with all powers there.
 * ARGV[2]: "look" at memory, descriptors and the like, or "disturb" too: signals, limits.
 * Prints "seen" and whether there was any, then each thing that worked. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pid_t notifyd, helper;
static char path[128];

static const char *of(const char *name)
{
	snprintf(path, sizeof path, "/proc/%d/%s", helper, name);
	return path;
}

static pid_t parent_of(pid_t pid)
{
	char text[512], *end;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	text[got > 0 ? got : 0] = 0;
	end = strrchr(text, ')');
	return end ? atoi(end + 4) : 0;
}

static int is_helper(pid_t pid)
{
	for (pid_t up = pid; up > 1; up = parent_of(up)) {
		if (up == getpid())
			return 0;
		if (up == notifyd)
			return pid != notifyd;
	}
	return 0;
}

static void say(const char *what, long got)
{
	if (got >= 0)
		printf("%s\n", what);
}

static void look(void)
{
	char text[4096];
	const char *files[] = {"mem", "environ", "maps", "smaps", "auxv", "pagemap", "syscall", "stack",
			       "fd/0", "fd/1", "fd/3", "fdinfo/3", "io", "personality", "fd", "map_files",
			       "cwd/.", "root/."};
	const char *links[] = {"fd/0", "fd/3", "cwd", "root", "exe", "ns/mnt", "ns/user"};
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		int fd = open(of(files[i]), O_RDONLY);
		if (fd < 0)
			continue;
		ssize_t got = strstr("fd map_files cwd/. root/.", files[i])
				      ? syscall(SYS_getdents64, fd, text, sizeof text)
				      : read(fd, text, sizeof text);
		/* An open that gives nothing away is harmless, as those of "smaps" can be. */
		if (got > 0)
			printf("read %s\n", files[i]);
		close(fd);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		if (readlink(of(links[i]), text, sizeof text) > 0)
			printf("readlink %s\n", links[i]);
	say("write mem", open(of("mem"), O_RDWR));
	say("write clear_refs", open(of("clear_refs"), O_WRONLY));
	say("write oom_score_adj", open(of("oom_score_adj"), O_WRONLY));
}

static void seize(void)
{
	char here[8];
	struct iovec ours = {here, sizeof here}, theirs = {(void *)&path, sizeof here};
	say("process_vm_readv", process_vm_readv(helper, &ours, 1, &theirs, 1, 0));
	say("process_vm_writev", process_vm_writev(helper, &ours, 1, &theirs, 1, 0));
	/* They may exist at an address that means nothing there: that is as bad. */
	if (errno == EFAULT)
		printf("process_vm passed\n");
	say("ptrace seize", ptrace(PTRACE_SEIZE, helper, 0, 0));
	say("ptrace attach", ptrace(PTRACE_ATTACH, helper, 0, 0));
	say("kcmp", syscall(SYS_kcmp, getpid(), helper, 2, 0, 0));
	int pidfd = syscall(SYS_pidfd_open, helper, 0);
	for (int fd = 0; pidfd >= 0 && fd < 16; fd++)
		say("pidfd_getfd", syscall(SYS_pidfd_getfd, pidfd, fd, 0));
	say("setns", setns(pidfd, CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWNET));
	if (pidfd >= 0 && syscall(SYS_pidfd_getfd, pidfd, 3, 0) < 0 && errno == EBADF)
		printf("pidfd_getfd passed\n");
	close(pidfd);
}

static void disturb(void)
{
	int signals[] = {0, SIGTERM, SIGSTKFLT, SIGSTOP, SIGKILL}; /* SIGCONT is free in a session */
	struct rlimit none = {0, 0};
	cpu_set_t cores;
	CPU_ZERO(&cores);
	CPU_SET(0, &cores);
	int pidfd = syscall(SYS_pidfd_open, helper, 0);
	say("sched_setaffinity", sched_setaffinity(helper, sizeof cores, &cores));
	say("setpriority", setpriority(PRIO_PROCESS, helper, 19));
	say("prlimit", prlimit(helper, RLIMIT_NOFILE, &none, 0));
	say("setpgid", setpgid(helper, getpgrp()));
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		say("kill", kill(helper, signals[i]));
		say("tgkill", syscall(SYS_tgkill, helper, helper, signals[i]));
		say("pidfd_send_signal", syscall(SYS_pidfd_send_signal, pidfd, signals[i], 0, 0));
	}
	close(pidfd);
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		exit(3);
	close(fd);
}

static void to_own_namespace(void)
{
	char users[64], groups[64];
	snprintf(users, sizeof users, "0 %d 1", getuid());
	snprintf(groups, sizeof groups, "0 %d 1", getgid());
	if (unshare(CLONE_NEWUSER))
		exit(2);
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", users);
	put("/proc/self/gid_map", groups);
}

int main(int argc, char **argv)
{
	int seen = 0, disturbing = strcmp(argv[2], "look");
	struct dirent *entry;
	notifyd = getppid();
	if (!strcmp(argv[1], "namespace"))
		to_own_namespace();
	if (mkdir("first", 0755))
		return 4;
	DIR *all = opendir("/proc");
	while ((entry = readdir(all))) {
		helper = atoi(entry->d_name);
		if (!isdigit(entry->d_name[0]) || !is_helper(helper))
			continue;
		seen++;
		look();
		seize();
		if (disturbing)
			disturb();
	}
	printf("seen %d\n", seen >= 2);
	printf("again %d\n", mkdir("second", 0755));
	return 7;
}
