/* The probe: makes the system calls of a table, each case in a process and a stage of its own.

   probe CASES BASE: case n of CASES, a line, is done in BASE/n/in. A line is steps with ';' between.
   A step is a system call's number and its arguments; with '!' before it, it is made in a way that
   the rules let go on, and is part of what the case starts from. It may end in
     =K  keep the result as $K    :fd  tell what the result is    :same  repeat it with '!' and
     compare what it wrote
   Other steps:
     full         no descriptor is left
     group N...   these are the supplementary groups
     got $K       receive what came to that socket, and print it
   Arguments:
     i12 a number    $K a result    u a pointer to nothing    sTEXT a string, %XX is a byte
     e a string without an end    xN a name of N bytes    dN:TEXT TEXT in a path of N bytes
     bTEXT bytes    o...,oN where the kernel writes    aTEXT,qPORT,pK,z  addresses, and their size
     mADDRESS,TEXT,$K  a msghdr; several with '||' between are a vector of mmsghdr
   In a text '@' is the stage.
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/stat.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAGIC 0x6e6f7469 /* in the last register: see everything.py */
#define TRIES 20
#define PAGE 4096
#define LARGE (1 << 17)

static char stage[256], *hole;
static long kept[10];
static socklen_t address_size;

struct out {
	char kind[16];
	char *where;
	long size;
} outs[4];
static int out_count;

static void put(const char *text, long size)
{
	char pid[16];
	int length = snprintf(pid, sizeof pid, "%d", getpid()), whole = strlen(stage);
	for (long i = 0; i < size; i++)
		if (size - i >= whole && !memcmp(text + i, stage, whole))
			putchar('@'), i += whole - 1;
		else if (size - i >= length && !memcmp(text + i, pid, length) &&
			 !isdigit(i + length < size ? text[i + length] : 0))
			printf("PID"), i += length - 1;
		else if (text[i] == '#' && i + 1 < size && isdigit(text[i + 1])) {
			printf("#N"); /* the inode of a file without a name */
			while (i + 1 < size && isdigit(text[i + 1]))
				i++;
		} else if (text[i] == '[' && i + 1 < size && isdigit(text[i + 1])) {
			printf("[N"); /* the inode of a socket or pipe */
			while (i + 1 < size && isdigit(text[i + 1]))
				i++;
		} else if (text[i] > ' ' && text[i] < 127 && text[i] != '%')
			putchar(text[i]);
		else
			printf("%%%02X", (unsigned char)text[i]);
}

/* -- arguments */

static char *room(long size)
{
	return calloc(1, size + 1);
}

static long unescape(char *to, const char *text)
{
	char *at = to;
	for (; *text; text++)
		if (*text == '@')
			at = stpcpy(at, stage);
		else if (*text == '%') {
			sscanf(text + 1, "%2hhx", (unsigned char *)at++);
			text += 2;
		} else
			*at++ = *text;
	*at = 0;
	return at - to;
}

static char *string(const char *text)
{
	char *found = room(strlen(text) + strlen(stage) * 4);
	unescape(found, text);
	return found;
}

static char *padded(const char *text)
{
	char *tail, *inner;
	long size = strtol(text, &tail, 10), rest;
	char *found = room(size);
	inner = string(tail + 1);
	rest = size - strlen(inner);
	for (long i = 0; i < rest; i++)
		found[i] = i % 2 || (i == rest - 1) ? '/' : '.';
	if (*inner == '/')
		memset(found, '/', rest);
	memcpy(found + rest, inner, strlen(inner));
	return found;
}

static void *address(const char *text)
{
	struct sockaddr_storage *all = (void *)room(256);
	struct sockaddr_in *inet = (void *)all;
	struct sockaddr_un *local = (void *)all;
	if (*text == 'a') {
		char path[512];
		long size = unescape(path, text + 1);
		local->sun_family = AF_UNIX;
		memcpy(local->sun_path, path, size > 200 ? 200 : size);
		address_size = offsetof(struct sockaddr_un, sun_path) + size + (*path != 0);
		return all;
	}
	inet->sin_family = AF_INET;
	inet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	inet->sin_port = htons(atoi(text + 1));
	address_size = sizeof *inet;
	if (*text == 'p') { /* where that socket is */
		socklen_t size = sizeof *inet;
		getsockname(kept[text[1] - '0'], (void *)inet, &size);
	}
	return all;
}

static void message(struct msghdr *header, char *text)
{
	char *data = strchr(text, ',') + 1, *fd = strchr(data, ',') + 1;
	struct iovec *piece = (void *)room(sizeof *piece);
	data[-1] = fd[-1] = 0;
	piece->iov_base = room(strlen(data) + 1);
	piece->iov_len = unescape(piece->iov_base, data);
	header->msg_iov = piece;
	header->msg_iovlen = 1;
	if (*text != '-') {
		header->msg_name = address(text);
		header->msg_namelen = address_size;
	}
	if (*fd != '-') {
		int sent = *fd == '$' ? kept[fd[1] - '0'] : atoi(fd);
		header->msg_control = room(CMSG_SPACE(4));
		header->msg_controllen = CMSG_SPACE(4);
		*CMSG_FIRSTHDR(header) = (struct cmsghdr){CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(header)), &sent, 4);
	}
}

static void *messages(char *text)
{
	struct mmsghdr *all = (void *)room(8 * sizeof *all);
	for (int i = 0; text; i++) {
		char *next = strstr(text, "||");
		if (next)
			*next = 0, next += 2;
		message(&all[i].msg_hdr, text);
		text = next;
	}
	outs[out_count++] = (struct out){"mmsg", (void *)all, 2};
	return all;
}

static char *out(const char *kind)
{
	struct out *one = &outs[out_count++];
	snprintf(one->kind, sizeof one->kind, "%s", kind);
	one->size = isdigit(*kind) ? atol(kind) : 512;
	one->where = room(one->size);
	memset(one->where, 0x7e, one->size);
	return one->where;
}

static char *endless(void)
{
	memset(hole - PAGE, 'x', PAGE);
	return hole - 3;
}

static long argument(char *text)
{
	char *more = text + 1;
	switch (*text) {
	case 'i': return strtoul(more, NULL, 0);
	case '$': return kept[*more - '0'];
	case 'u': return (long)hole;
	case 'e': return (long)endless();
	case 's': return (long)string(more);
	case 'b': return (long)string(more);
	case 'x': return (long)memset(room(atol(more)), 'x', atol(more));
	case 'd': return (long)padded(more);
	case 'o': return (long)out(more);
	case 'z': return address_size;
	case 'm': return (long)messages(more);
	case 'a': case 'p': case 'q': return (long)address(text);
	}
	errx(1, "no such argument: %s", text);
}

/* -- results */

static void put_status(const struct stat *found)
{
	printf(" [%o %u:%u links=%lu", found->st_mode, found->st_uid, found->st_gid,
	       (long)found->st_nlink);
	if (!S_ISDIR(found->st_mode))
		printf(" size=%ld", (long)found->st_size);
	printf(" rdev=%lx blksize=%ld]", (long)found->st_rdev, (long)found->st_blksize);
}

static void put_fd(int fd)
{
	char name[4400], link[64], text[64];
	struct stat found;
	ssize_t size;
	int flags = fcntl(fd, F_GETFL);
	printf(" flags=%o cloexec=%d at=%ld", flags, fcntl(fd, F_GETFD), (long)lseek(fd, 0, SEEK_CUR));
	syscall(SYS_fstat, fd, &found, 0, 0, 0, MAGIC);
	put_status(&found);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	size = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof name, 0, MAGIC);
	putchar(' '), put(name, size < 0 ? 0 : size);
	if (S_ISREG(found.st_mode) && (size = pread(fd, text, sizeof text, 0)) >= 0)
		printf(" \""), put(text, size), printf("\"");
	if (S_ISFIFO(found.st_mode))
		printf(" read=%zd", read(fd, text, 1));
}

static long written(const struct out *one)
{
	long size = one->size;
	while (size > 0 && one->where[size - 1] == 0x7e)
		size--;
	return size;
}

static void put_out(const struct out *one, long result)
{
	const struct statfs *fs = (void *)one->where;
	const struct statx *x = (void *)one->where;
	const struct mmsghdr *sent = (void *)one->where;
	if (!strcmp(one->kind, "stat") && result >= 0)
		put_status((void *)one->where);
	else if (!strcmp(one->kind, "statx") && result >= 0)
		printf(" [%x %o %u:%u links=%u rdev=%u:%u attributes=%llx/%llx]", x->stx_mask & 0xfff,
		       x->stx_mode, x->stx_uid, x->stx_gid, x->stx_nlink, x->stx_rdev_major,
		       x->stx_rdev_minor, x->stx_attributes, x->stx_attributes_mask);
	else if (!strcmp(one->kind, "statfs") && result >= 0)
		printf(" [%lx %ld %ld %lx]", (long)fs->f_type, (long)fs->f_bsize, (long)fs->f_namelen,
		       (long)fs->f_flags);
	else if (!strcmp(one->kind, "mmsg"))
		printf(" [%u %u]", sent[0].msg_len, sent[1].msg_len);
	else
		printf(" \""), put(one->where, written(one)), printf("\"");
}

static void got(int fd)
{
	char text[256], control[256];
	struct sockaddr_un from = {0};
	struct iovec piece = {text, sizeof text};
	struct msghdr header = {&from, sizeof from, &piece, 1, control, sizeof control, 0};
	ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT);
	printf(" got=%zd \"", size), put(text, size < 0 ? 0 : size);
	printf("\" flags=%x from=", header.msg_flags);
	if (size >= 0 && header.msg_namelen > 2 && from.sun_family == AF_UNIX)
		put(from.sun_path, header.msg_namelen - 2);
	struct cmsghdr *first = size >= 0 ? CMSG_FIRSTHDR(&header) : NULL;
	if (first && first->cmsg_type == SCM_RIGHTS)
		put_fd(*(int *)CMSG_DATA(first));
}

/* -- steps */

static void full(void)
{
	struct rlimit limit = {40, 40};
	setrlimit(RLIMIT_NOFILE, &limit);
	while (dup(1) >= 0)
		;
}

static void repeat(long number, const long *a, long result)
{
	char before[2][LARGE];
	long size = result;
	for (int i = 0; i < out_count; i++)
		memcpy(before[i], outs[i].where, outs[i].size);
	for (int i = 0; i < out_count; i++)
		memset(outs[i].where, 0x7e, outs[i].size);
	size = syscall(number, a[0], a[1], a[2], a[3], a[4], MAGIC);
	for (int i = 0; i < out_count; i++)
		printf(" same=%d", size == result && !memcmp(before[i], outs[i].where, outs[i].size));
}

static void call(char *words)
{
	long a[6] = {0}, number, result;
	int count = 0, native = *words == '!', keep = -1, fd = 0, same = 0, error;
	char *rest, *word = strtok_r(words + native, " ", &rest);
	number = atol(word);
	out_count = 0;
	while ((word = strtok_r(NULL, " ", &rest)))
		if (*word == '=')
			keep = word[1] - '0';
		else if (*word == ':')
			fd |= !strcmp(word, ":fd"), same |= !strcmp(word, ":same");
		else
			a[count++] = argument(word);
	errno = 0;
	/* openat2(2): EAGAIN also says that something was renamed or mounted anywhere meanwhile. */
	for (int left = number == SYS_openat2 ? TRIES : 1; left > 0; left--) {
		result = syscall(number, a[0], a[1], a[2], a[3], a[4], native ? MAGIC : a[5]);
		if (result >= 0 || errno != EAGAIN)
			break;
	}
	error = result < 0 ? errno : 0;
	if (keep >= 0)
		kept[keep] = result;
	if (native && !error && !fd && !out_count)
		return;
	printf(" | %s%s", fd && result >= 0 ? "fd" : "", error ? strerrorname_np(error) : "");
	if (!error && !fd && !(out_count && isdigit(*outs[0].kind) && result == written(&outs[0])))
		printf("%ld", result);
	if (fd && result >= 0)
		put_fd(result);
	for (int i = 0; i < out_count; i++)
		put_out(&outs[i], result);
	if (same)
		repeat(number, a, result);
}

static void step(char *words)
{
	while (*words == ' ')
		words++;
	if (!strncmp(words, "full", 4))
		full();
	else if (!strncmp(words, "group", 5)) {
		gid_t groups[8];
		int count = 0;
		for (char *at = words + 5; *at == ' '; )
			groups[count++] = strtol(at + 1, &at, 10);
		setgroups(count, groups);
	} else if (!strncmp(words, "got", 3))
		got(kept[strchr(words, '$')[1] - '0']);
	else
		call(words);
}

static void run(const char *base, int number, char *line)
{
	char *rest, *words;
	snprintf(stage, sizeof stage, "%s/%04d/in", base, number);
	if (chdir(stage))
		err(1, "%s", stage);
	hole = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hole += PAGE;
	munmap(hole, PAGE);
	umask(022);
	alarm(5);
	for (words = strtok_r(line, ";\n", &rest); words; words = strtok_r(NULL, ";\n", &rest))
		step(words);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	int number = 0, status;
	struct statfs root;
	FILE *cases = fopen(argv[1], "re");
	if (argc != 3 || !cases)
		err(1, "%s", argv[1]);
	if (syscall(SYS_statfs, "/", &root, 0, 0, 0, MAGIC) || !(root.f_flags & ST_RDONLY))
		errx(1, "not here: the cases would change the machine's own files");
	for (; getline(&line, &size, cases) > 0; number++) {
		printf("%d", number);
		fflush(stdout);
		if (!fork())
			run(argv[2], number, line);
		wait(&status);
		if (WIFSIGNALED(status))
			printf(" signal %d", WTERMSIG(status));
		else if (status)
			printf(" status %d", WEXITSTATUS(status));
		printf("\n");
	}
	return 0;
}
