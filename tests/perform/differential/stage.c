/* Stages: a tree of every kind of object for each case, made and described without notifyd.

   stage make BASE COUNT UID GID   makes BASE/0000/in ... with what belongs to UID where it can
   stage dump BASE                 prints what is in each, one line an object
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define OTHER 4242        /* a user and a group that nobody is */
#define LONG_AGO 1000000000 /* seconds: every time of a fresh stage */

static uid_t uid;
static gid_t gid;

static void must(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
}

static void file(const char *name, mode_t mode, uid_t owner, gid_t group)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
	must(fd, name);
	must(dprintf(fd, "this is %s\n", name), name);
	must(fchown(fd, owner, group), name);
	must(fchmod(fd, mode), name);
	close(fd);
}

static void directory(const char *name, mode_t mode, uid_t owner, gid_t group)
{
	char inner[64];
	must(mkdir(name, 0700), name);
	snprintf(inner, sizeof inner, "%s/inner", name);
	file(inner, 0644, uid, gid);
	snprintf(inner, sizeof inner, "%s/theirs", name);
	file(inner, 0666, OTHER, OTHER);
	must(chown(name, owner, group), name);
	must(chmod(name, mode), name);
}

static void node(const char *name, mode_t mode, dev_t device)
{
	must(mknod(name, mode, device), name);
	must(chown(name, uid, gid), name);
	must(chmod(name, mode & 07777), name);
}

static void socket_file(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(address.sun_path, name);
	must(bind(fd, (void *)&address, sizeof address), name);
	must(chown(name, uid, gid), name);
	must(chmod(name, 0666), name);
	close(fd);
}

static void links(void)
{
	static const char *const all[][2] = {
		{"file", "lfile"}, {"dir", "ldir"}, {"nowhere", "dangling"}, {"loop", "loop"},
		{"/dev/null", "lnull"}, {"lfile", "chain"}, {"dir/", "lslash"}, {"dir/.", "ldot"},
		{"dir/new", "lnew"}, {"missing/new", "lfar"}, {"fifo", "lfifo"}, {"sock", "lsock"},
		{"closed/inner", "lclosed"}, {"dir/../file", "lup"}, {"/proc/self/cwd/file", "lself"},
		{"nowhere/", "dslash"}, {"file/", "fslash"}, {"/", "lroot"},
	};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		must(symlink(all[i][0], all[i][1]), all[i][1]);
		must(lchown(all[i][1], uid, gid), all[i][1]);
	}
	must(symlink("inner", "sticky/link"), "sticky/link");
	must(lchown("sticky/link", OTHER, OTHER), "sticky/link");
}

static void age(const char *name)
{
	struct timespec times[2] = {{LONG_AGO, 0}, {LONG_AGO, 0}};
	must(utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW), name);
}

static void each(const char *folder, void (*act)(const char *))
{
	struct dirent **entries;
	char path[512];
	int count = scandir(folder, &entries, NULL, alphasort);
	must(count, folder);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		if (strcmp(name, ".") && strcmp(name, "..")) {
			snprintf(path, sizeof path, "%s/%s", folder, name);
			if (entries[i]->d_type == DT_DIR)
				each(path, act);
			act(path);
		}
		free(entries[i]);
	}
	free(entries);
}

static void make(const char *name)
{
	must(mkdir(name, 0755), name);
	must(chown(name, uid, gid), name);
	must(chdir(name), name);
	must(mkdir("in", 0755), "in");
	must(chdir("in"), "in");
	file("file", 0644, uid, gid), file("ro", 0444, uid, gid), file("wo", 0200, uid, gid);
	file("secret", 0600, 0, 0), file("theirs", 0666, OTHER, OTHER), file("exec", 0755, uid, gid);
	file("suid", 06755, uid, gid), file("b\xff\xfe", 0644, uid, gid), file("grp", 0060, 0, OTHER);
	directory("dir", 0755, uid, gid), directory("closed", 0700, 0, 0);
	directory("noperm", 0, uid, gid), directory("sticky", 01777, 0, 0);
	directory("setgid", 02777, 0, OTHER), directory("rodir", 0555, uid, gid);
	must(mkdir("empty", 0755), "empty");
	must(chown("empty", uid, gid), "empty");
	must(mkdir("dir/sub", 0755), "dir/sub");
	must(chown("dir/sub", uid, gid), "dir/sub");
	node("fifo", S_IFIFO | 0666, 0), node("null", S_IFCHR | 0666, makedev(1, 3));
	socket_file("sock");
	links();
	must(setxattr("file", "user.have", "value", 5, 0), "user.have");
	must(setxattr("dir", "user.have", "value", 5, 0), "user.have");
	must(chown(".", uid, gid), name);
	each(".", age);
	age(".");
	must(chdir("../.."), "..");
}

static void put(const char *text, long size)
{
	for (long i = 0; i < size; i++)
		if (text[i] > ' ' && text[i] < 127 && text[i] != '%')
			putchar(text[i]);
		else
			printf("%%%02X", (unsigned char)text[i]);
}

static void when(const char *name, struct timespec stamp)
{
	time_t passed = time(NULL) - stamp.tv_sec;
	if (passed > -1000 && passed < 10000)
		printf(" %s=now", name);
	else if (stamp.tv_sec != LONG_AGO || stamp.tv_nsec)
		printf(" %s=%ld.%09ld", name, (long)stamp.tv_sec, stamp.tv_nsec);
}

static void contents(const char *path, const struct stat *found)
{
	char text[4096];
	ssize_t size = -1;
	if (S_ISLNK(found->st_mode))
		size = readlink(path, text, sizeof text);
	else if (S_ISREG(found->st_mode)) {
		int fd = open(path, O_RDONLY | O_NOATIME);
		size = read(fd, text, 64);
		close(fd);
	}
	if (size >= 0)
		printf(" \""), put(text, size), printf("\"");
	size = llistxattr(path, text, sizeof text);
	for (ssize_t i = 0; i < size; i += strlen(text + i) + 1) {
		char value[256];
		ssize_t length = lgetxattr(path, text + i, value, sizeof value);
		putchar(' '), put(text + i, strlen(text + i)), putchar('=');
		put(value, length < 0 ? 0 : length);
	}
}

static void describe(const char *path)
{
	struct stat found;
	must(lstat(path, &found), path);
	put(path, strlen(path));
	printf(" %o %u:%u links=%lu", found.st_mode, found.st_uid, found.st_gid, (long)found.st_nlink);
	if (!S_ISDIR(found.st_mode))
		printf(" size=%ld", (long)found.st_size);
	if (found.st_rdev)
		printf(" rdev=%u:%u", major(found.st_rdev), minor(found.st_rdev));
	when("mtime", found.st_mtim);
	if (!S_ISLNK(found.st_mode) && !S_ISDIR(found.st_mode))
		when("atime", found.st_atim);
	contents(path, &found);
	putchar('\n');
}

int main(int argc, char **argv)
{
	umask(0);
	must(chdir(argv[2]), argv[2]);
	if (argc == 6) {
		uid = atoi(argv[4]), gid = atoi(argv[5]);
		for (int i = 0; i < atoi(argv[3]); i++) {
			char name[16];
			snprintf(name, sizeof name, "%04d", i);
			make(name);
		}
	} else
		each(".", describe);
	return 0;
}
