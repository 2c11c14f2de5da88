/* A file system in user space that is one user's alone: FUSE without allow_other.

   ownfs UID FOLDER COMMAND...: mount it, run the command, and exit as that does. It has `file`, `dir`
   and `link`, which leads to `file`; `slow…` is never looked up before `go` is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOT = 1, FILE_NODE, DIR_NODE, LINK_NODE };
static int device;
static unsigned long waits; /* who asked for what is slow */
static const mode_t modes[] = {0, S_IFDIR | 0777, S_IFREG | 0777, S_IFDIR | 0777, S_IFLNK | 0777};

static void reply(unsigned long unique, int error, const void *data, size_t size)
{
	char out[1024];
	struct fuse_out_header head = {sizeof head + size, -error, unique};
	memcpy(out, &head, sizeof head);
	if (size)
		memcpy(out + sizeof head, data, size);
	if (write(device, out, head.len) < 0 && errno != ENOENT)
		exit(1);
}

static struct fuse_attr attributes(unsigned long node)
{
	return (struct fuse_attr){.ino = node, .mode = modes[node], .nlink = 1, .size = 5};
}

static unsigned long found(const char *name)
{
	if (!strcmp(name, "dir"))
		return DIR_NODE;
	return !strcmp(name, "link") ? LINK_NODE : !strcmp(name, "file") || !strcmp(name, "go") ? FILE_NODE : 0;
}

static void answer(struct fuse_in_header *head)
{
	const char *name = (char *)(head + 1);
	struct fuse_init_out ready = {.major = 7, .minor = 31, .max_write = 4096,
				      .flags = FUSE_PARALLEL_DIROPS};

	struct fuse_attr_out attr = {.attr = attributes(head->nodeid)};
	struct fuse_open_out opened = {0};
	struct fuse_entry_out entry = {0};
	switch (head->opcode) {
	case FUSE_INIT: reply(head->unique, 0, &ready, sizeof ready); return;
	case FUSE_LOOKUP:
		if (!strncmp(name, "slow", 4)) {
			waits = head->unique;
			return;
		}
		if (!strcmp(name, "go") && waits)
			reply(waits, ENOENT, NULL, 0), waits = 0;
		entry.nodeid = found(name);
		if (!entry.nodeid) {
			reply(head->unique, ENOENT, NULL, 0);
			return;
		}
		entry.attr = attributes(entry.nodeid);
		reply(head->unique, 0, &entry, sizeof entry);
		return;
	case FUSE_GETATTR:
	case FUSE_SETATTR: reply(head->unique, 0, &attr, sizeof attr); return;
	case FUSE_READLINK: reply(head->unique, 0, "file", 4); return;
	case FUSE_OPEN:
	case FUSE_OPENDIR: reply(head->unique, 0, &opened, sizeof opened); return;
	case FUSE_READ: reply(head->unique, 0, "hello", 5); return;
	case FUSE_READDIR:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR: reply(head->unique, 0, NULL, 0); return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: return;
	}
	reply(head->unique, ENOSYS, NULL, 0);
}

int main(int count, char **words)
{
	static char in[1 << 18], options[100];
	int status;
	pid_t server;
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof options, "fd=%d,rootmode=40777,user_id=%s,group_id=%s", device,
		 words[1], words[1]);
	if (mount("own", words[2], "fuse", 0, options))
		return perror("mount"), 1;
	server = fork();
	while (!server) {
		if (read(device, in, sizeof in) < 0 && errno != ENOENT)
			return 0;
		answer((void *)in);
	}
	close(device);
	if (!fork()) {
		execvp(words[3], words + 3);
		return 127;
	}
	while (wait(&status) == server)
		;
	umount2(words[2], MNT_DETACH);
	(void)count;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
