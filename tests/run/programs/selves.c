/* Whose /proc/self is it? Every name that means "whoever looks" is opened, read, stat'ed and read as
 * a link, and so is the same thing under its plain name. A line for each: "same" or "differs".
 *
 * Runs once in the first thread and once in a second one. ARGV[0] has to be an absolute path.
 * The first thread may fall asleep while the second one looks, so states are not compared. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char plain[256], marker[] = "this memory is the target's";
static const char *program;

struct view {
	int opened, linked, same_thing;
	ssize_t size;
	char text[4096], link[512];
	struct stat found;
};

/* Leave the state of a thread out of its "status", with all that follows its "Tgid". */
static void hide_state(struct view *v)
{
	char *state = strstr(v->text, "\nState:"), *id = state ? strstr(state, "\nTgid:") : 0;
	char *end = id ? strchr(id + 1, '\n') : 0;
	if (!end)
		return;
	memmove(state, id, end - id);
	v->size = state + (end - id) - v->text;
	memset(v->text + v->size, 0, sizeof v->text - v->size);
}

static struct view view(const char *path, int size)
{
	struct view v;
	memset(&v, 0, sizeof v);
	v.size = -1;
	v.opened = stat(path, &v.found) ? errno : 0;
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		v.opened = errno;
	struct stat opened;
	v.same_thing = fd >= 0 && !fstat(fd, &opened) && opened.st_ino == v.found.st_ino;
	if (size && fd >= 0) {
		v.size = 0;
		for (ssize_t got; v.size < size && (got = read(fd, v.text + v.size, size - v.size)) > 0;)
			v.size += got;
		hide_state(&v);
	}
	if (fd >= 0)
		close(fd);
	v.linked = readlink(path, v.link, sizeof v.link - 1) < 0 ? errno : 0;
	return v;
}

static void compare(const char *name, const char *real, int size)
{
	struct view a = view(name, size), b = view(real, size);
	const char *what = a.opened != b.opened			    ? "error"
			   : a.same_thing != b.same_thing	    ? "thing"
			   : a.found.st_ino != b.found.st_ino	    ? "inode"
			   : a.found.st_uid != b.found.st_uid	    ? "owner"
			   : a.size != b.size			    ? "size"
			   : memcmp(a.text, b.text, sizeof a.text)  ? "content"
			   : a.linked != b.linked		    ? "linked"
			   : strcmp(a.link, b.link) ? "link"
						    : 0;
	printf("%s %s%s, open %d, link %d\n", name, what ? "differs " : "same", what ? what : "", a.opened,
	       a.linked);
}

static const char *real(const char *rest)
{
	snprintf(plain, sizeof plain, "/proc/%d/%s", getpid(), rest);
	return plain;
}

static const char *mine(const char *rest)
{
	snprintf(plain, sizeof plain, "/proc/%d/task/%d/%s", getpid(), gettid(), rest);
	return plain;
}

static void expect(const char *name, const char *wanted)
{
	char text[512] = "";
	ssize_t got = readlink(name, text, sizeof text - 1);
	printf("%s %s\n", name, got < 0 ? strerror(errno) : strcmp(text, wanted) ? "differs" : "same");
}

/* The names in a directory of descriptors: they are ours, and the one that lists them. */
static void listing(void)
{
	int seen = 0, wrong = 0;
	DIR *all = opendir("/proc/self/fd");
	struct dirent *entry;
	while (all && (entry = readdir(all))) {
		int fd = atoi(entry->d_name);
		seen += entry->d_name[0] != '.';
		wrong += entry->d_name[0] != '.' && fcntl(fd, F_GETFD) < 0;
	}
	closedir(all);
	int open_ones = 0;
	for (int fd = 0; fd < 256; fd++)
		open_ones += fcntl(fd, F_GETFD) >= 0;
	printf("listing %s\n", wrong || seen != open_ones + 1 ? "differs" : "same");
}

static void memory(void)
{
	char text[sizeof marker] = "";
	int fd = open("/proc/self/mem", O_RDONLY);
	printf("memory %s\n", pread(fd, text, sizeof text, (off_t)marker) != sizeof text ||
				      strcmp(text, marker)
				  ? "differs"
				  : "same");
	close(fd);
}

static void *everything(void *unused)
{
	const struct {
		const char *name;
		int size;
	} files[] = {{"status", 100}, {"comm", 16},    {"cmdline", 512}, {"environ", 4096}, {"maps", 512},
		     {"auxv", 64},   {"limits", 512}, {"exe", 512},	{"cwd", 0},	   {"root", 0},
		     {"fd", 0},	     {"fd/40", 16},   {"fd/41", 16},	{"fd/42", 16},	   {"fd/99", 0},
		     {"ns/mnt", 0},  {"ns/net", 0},   {"fdinfo/40", 64}, {"cwd/.", 0},	   {"root/etc", 0}};
	char name[64], text[64];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(name, sizeof name, "/proc/self/%s", files[i].name);
		compare(name, real(files[i].name), files[i].size);
		snprintf(name, sizeof name, "/proc/thread-self/%s", files[i].name);
		compare(name, mine(files[i].name), files[i].size);
	}
	compare("/dev/fd/40", real("fd/40"), 16);
	compare("/dev/fd/42", real("fd/42"), 16);
	compare("/dev/stdin", real("fd/0"), 0);
	compare("/dev/stdout", real("fd/1"), 0);
	compare("/proc/../proc/./self/comm", real("comm"), 16);
	compare("way/comm", real("comm"), 16);
	compare("way/../self/status", real("status"), 100);
	compare("to-40", real("fd/40"), 16);
	compare("/proc/self/root/proc/self/status", real("status"), 100);
	compare("/proc/self/cwd/to-40", real("fd/40"), 16);
	if (chdir("/proc"))
		exit(2);
	compare("self/comm", real("comm"), 16);
	compare("./thread-self/status", mine("status"), 100);
	if (fchdir(43))
		exit(3);
	snprintf(text, sizeof text, "%d", getpid());
	expect("/proc/self", text);
	snprintf(text, sizeof text, "%d/task/%d", getpid(), gettid());
	expect("/proc/thread-self", text);
	expect("/proc/self/exe", program);
	listing();
	memory();
	return unused;
}

int main(int argc, char **argv)
{
	int ends[2], mem = memfd_create("m", 0), gone = open("gone", O_RDWR | O_CREAT | O_EXCL, 0644);
	program = argv[0];
	if (mem < 0 || gone < 0 || write(mem, "memfd", 5) < 0 || write(gone, "gone", 4) < 0 || pipe(ends) ||
	    unlink("gone") || symlink("/proc/self", "way") || symlink("/dev/fd/40", "to-40"))
		return 1;
	dup2(mem, 40), dup2(ends[0], 41), dup2(gone, 42), dup2(open(".", O_RDONLY), 43);
	everything(0);
	fflush(stdout);
	pthread_t second;
	pthread_create(&second, 0, everything, 0);
	pthread_join(second, 0);
	unlink("way"), unlink("to-40");
	return 7;
}
