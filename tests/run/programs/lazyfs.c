/* A file system in user space that never answers what it is asked about "slow", nor any read.
 *
 * ARGV[1] "path": openat(2) of a path that is never looked up. "map": of a pointer into a mapped file
 * whose page never comes. Another process's calls must go on meanwhile. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int device;

static void reply(unsigned long unique, int error, const void *data, size_t size)
{
	char out[1024];
	struct fuse_out_header head = {sizeof head + size, -error, unique};
	memcpy(out, &head, sizeof head);
	memcpy(out + sizeof head, data, size);
	if (write(device, out, head.len) < 0 && errno != ENOENT)
		exit(1);
}

static struct fuse_attr attributes(unsigned long node)
{
	struct fuse_attr attr = {.ino = node, .mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0755};
	attr.nlink = 1;
	attr.size = node == 1 ? 0 : 4096;
	return attr;
}

static void serve(void)
{
	static char in[1 << 17];
	for (;;) {
		if (read(device, in, sizeof in) < 0)
			exit(0);
		struct fuse_in_header *head = (void *)in;
		struct fuse_init_out ready = {.major = 7, .minor = 31, .max_write = 4096};
		struct fuse_entry_out entry = {.nodeid = 2, .attr = attributes(2)};
		struct fuse_attr_out attr = {.attr_valid = 100, .attr = attributes(head->nodeid)};
		struct fuse_open_out opened = {0};
		switch (head->opcode) {
		case FUSE_INIT:
			reply(head->unique, 0, &ready, sizeof ready);
			break;
		case FUSE_LOOKUP:
			if (strcmp((char *)(head + 1), "slow"))
				reply(head->unique, 0, &entry, sizeof entry);
			break;
		case FUSE_GETATTR:
			reply(head->unique, 0, &attr, sizeof attr);
			break;
		case FUSE_OPEN:
		case FUSE_OPENDIR:
			reply(head->unique, 0, &opened, sizeof opened);
			break;
		case FUSE_READ:
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			break;
		default:
			reply(head->unique, ENOSYS, 0, 0);
		}
	}
}

int main(int argc, char **argv)
{
	char room[512], options[128], byte;
	int ready[2];
	device = open("/dev/fuse", O_RDWR);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mkdir("lazy", 0755) ||
	    mount("lazy", "lazy", "fuse", 0, options) || pipe(ready))
		return 1;
	pid_t server = fork();
	if (!server)
		serve();
	pid_t child = fork();
	if (!child) {
		const char *path = "lazy/slow";
		close(device); /* the last one who has it ends the file system */
		if (!strcmp(argv[1], "map")) {
			int file = open("lazy/file", O_RDONLY);
			path = mmap(0, 4096, PROT_READ, MAP_PRIVATE, file, 0);
		}
		if (write(ready[1], "!", 1) != 1)
			_exit(1);
		syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
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
	kill(server, SIGKILL);
	close(device);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	return 7;
}
