/* Attacks a rule that allows a call below "safe" alone: while it is decided, what it means changes.
 *
 * ARGV: the call, how many tries each way, "all" or "first" (stop a way at its first success), ways.
 * With "all" a way goes on for up to 100 times as long until some tries were done and some refused: on
 * a busy machine the flipping can stand still for all of them, and a race with one end only is none.
 * With the call alone it makes "safe" and "evil" in the working directory, for a later run.
 * A second thread, or process, flips as fast as it can: the path in memory, a link, a directory, a
 * descriptor, the working directory. Each way prints a line: its name, tries, done, refused (EACCES),
 * otherwise failed, and forbidden: how often something below "evil" was opened, made, removed, linked
 * or connected to.
 * Nothing here uses the attacked call for its own purposes, so that a rule has only attacks to judge. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIRFD 50 /* the number that is now this directory, now that */
#define LOOK (O_PATH | O_DIRECTORY)

/* What is rewritten. The path begins at a multiple of four, so that one store changes its first word. */
struct page {
	char before[2];
	struct sockaddr_un address;
	_Alignas(8) struct open_how how;
	atomic_int begun, over;
};

static struct page *page; /* shared with whoever is forked */
static volatile unsigned *word;
static unsigned word_of[2];
static int top, safe, evil, mid, moving, home;
static ino_t secret; /* evil/n */

static int put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		exit(3);
	return close(fd);
}

static int there(int dir, const char *name) { return !faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW); }

static ino_t inode(int dir, const char *name)
{
	struct stat found;
	return fstatat(dir, name, &found, AT_SYMLINK_NOFOLLOW) ? 0 : found.st_ino;
}

/* -- what is flipped: each changes the meaning of a path, there and back */

static void swap(int a, const char *from, int b, const char *to)
{
	syscall(SYS_renameat2, a, from, b, to, 2 /* RENAME_EXCHANGE */);
}

static void flip_word(int way) { *word = word_of[way]; }
static void flip_link(int way) { swap(top, "way", top, "other"); }
static void flip_last(int way) { swap(safe, "last", safe, "twin"); }
static void flip_middle(int way) { swap(safe, "mid", safe, "side"); }
static void flip_parent(int way) { swap(safe, "d", evil, "d"); }
static void flip_dirfd(int way) { dup2(way ? evil : safe, DIRFD); }
static void flip_cwd(int way)
{
	if (fchdir(way ? evil : safe))
		exit(4);
}

static const struct flip {
	const char *name, *path;
	int dirfd, *home;
	void (*turn)(int way);
	int alone; /* in another process, with nothing but the memory in common */
} flips[] = {
	{"memory", "safe/n", AT_FDCWD, &safe, flip_word, 0},
	{"shared", "safe/n", AT_FDCWD, &safe, flip_word, 1},
	{"link", "way/n", AT_FDCWD, &safe, flip_link, 0},
	{"last", "safe/last", AT_FDCWD, &safe, flip_last, 0},
	{"middle", "safe/mid/n", AT_FDCWD, &mid, flip_middle, 0},
	{"parent", "../n", -1, &safe, flip_parent, 0},
	{"dirfd", "n", DIRFD, &safe, flip_dirfd, 0},
	{"cwd", "n", AT_FDCWD, &safe, flip_cwd, 0},
};

static void *flipping(void *given)
{
	const struct flip *flip = given;
	while (!page->over) {
		for (int i = 0; i < 100; i++) /* an even number: all ends as it began */
			flip->turn(i & 1);
		page->begun = 1;
	}
	return 0;
}

/* -- the calls: try, say whether harm was done, and put things back for the next try */

static int harm;

static long try_open(int dir, const char *path)
{
	char byte = 0;
	int fd = openat(dir, path, O_RDONLY);
	harm = fd >= 0 && read(fd, &byte, 1) == 1 && byte == 'e';
	return fd < 0 ? fd : close(fd);
}

static long try_how(int dir, const char *path)
{
	long fd = syscall(SYS_openat2, dir, path, &page->how, sizeof page->how);
	harm = fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	return fd < 0 ? fd : close(fd);
}

static long try_create(int dir, const char *path)
{
	int fd = openat(dir, path, O_WRONLY | O_CREAT, 0644);
	return fd < 0 ? fd : close(fd);
}

static long try_mkdir(int dir, const char *path) { return mkdirat(dir, path, 0755); }
static long try_unlink(int dir, const char *path) { return unlinkat(dir, path, 0); }
static long try_symlink(int dir, const char *path) { return symlinkat("x", dir, path); }
static long try_rename(int dir, const char *path) { return renameat(top, "from", dir, path); }
static long try_link(int dir, const char *path)
{
	return linkat(dir, path, top, "got", AT_SYMLINK_FOLLOW);
}

static long try_connect(int dir, const char *path)
{
	struct sockaddr_un peer = {0};
	socklen_t size = sizeof peer;
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);
	long got = connect(s, (void *)&page->address, sizeof page->address);
	int error = errno;
	harm = !got && !getpeername(s, (void *)&peer, &size) && !strcmp(peer.sun_path, "evil/n");
	close(s);
	errno = error;
	return got;
}

static void mend_none(void) {}

static void mend_made(void)
{
	harm = there(evil, "n");
	if (harm && unlinkat(evil, "n", 0))
		unlinkat(evil, "n", AT_REMOVEDIR);
	if (unlinkat(home, "n", 0))
		unlinkat(home, "n", AT_REMOVEDIR);
}

static void mend_moved(void)
{
	mend_made();
	if (!there(top, "from"))
		put(top, "from", "from");
}

static void mend_gone(void)
{
	harm = !there(evil, "n");
	if (harm)
		put(evil, "n", "evil");
	if (!there(home, "n"))
		put(home, "n", "safe");
}

static void mend_linked(void)
{
	harm = inode(top, "got") == secret;
	unlinkat(top, "got", 0);
}

static const struct attack {
	const char *name;
	long (*attempt)(int dir, const char *path);
	void (*mend)(void);
	int makes; /* or connects: "n" must not be there before */
} attacks[] = {
	{"open", try_open, mend_none, 0},
	{"how", try_how, mend_none, 0},
	{"create", try_create, mend_made, 1},
	{"mkdir", try_mkdir, mend_made, 1},
	{"symlink", try_symlink, mend_made, 1},
	{"rename", try_rename, mend_moved, 1},
	{"unlink", try_unlink, mend_gone, 0},
	{"link", try_link, mend_linked, 0},
	{"connect", try_connect, mend_none, 1},
};

/* -- one way after the other */

/* Run by itself beforehand: behind a rule these would be attacks. */
static void make_tree(int makes)
{
	if (mkdir("safe", 0755) || mkdir("evil", 0755) || mkdir("safe/mid", 0755) ||
	    mkdir("safe/d", 0755) || mkdir("evil/d", 0755) || symlink("safe", "way") ||
	    symlink("evil", "other") || symlink("../evil/n", "safe/twin") || symlink("../evil", "safe/side"))
		exit(6);
	put(AT_FDCWD, "safe/last", "safe"), put(AT_FDCWD, "from", "from");
	if (!makes)
		put(AT_FDCWD, "safe/n", "safe"), put(AT_FDCWD, "safe/mid/n", "safe"),
			put(AT_FDCWD, "evil/n", "evil");
}

static void listens(const char *name)
{
	struct sockaddr_un at = {AF_UNIX, ""};
	strcpy(at.sun_path, name);
	if (bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&at, sizeof at))
		exit(5);
}

static void prepare(const struct attack *attack)
{
	top = open(".", LOOK), safe = open("safe", LOOK), evil = open("evil", LOOK);
	mid = open("safe/mid", LOOK), moving = open("safe/d", LOOK);
	if (attack->attempt == try_connect)
		listens("safe/n"), listens("evil/n");
	secret = inode(evil, "n");
	page = mmap(0, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	page->address.sun_family = AF_UNIX;
}

static void aim(const struct attack *attack, const struct flip *flip)
{
	strcpy(page->address.sun_path, flip->path);
	word = (void *)page->address.sun_path;
	memcpy(&word_of[0], "safe", 4), memcpy(&word_of[1], "evil", 4);
	if (attack->attempt == try_how) {
		word = (void *)&page->how.flags;
		word_of[0] = O_RDONLY, word_of[1] = O_RDWR;
	}
	home = *flip->home;
	page->begun = page->over = 0;
	dup2(safe, DIRFD);
	if (fchdir(flip->turn == flip_cwd ? safe : top))
		exit(7);
}

static void race(const struct attack *attack, const struct flip *flip, long tries, int first)
{
	long tried = 0, done = 0, refused = 0, forbidden = 0, most = first ? tries : 100 * tries;
	pthread_t thread;
	pid_t child = 0;
	aim(attack, flip);
	if (!flip->alone) {
		pthread_create(&thread, 0, flipping, (void *)flip);
	} else if (!(child = fork())) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		flipping((void *)flip);
		_exit(0);
	}
	while (!page->begun)
		sched_yield();
	while (tried < most && !(first ? forbidden : tried >= tries && done && refused)) {
		int dir = flip->dirfd == -1 ? moving : flip->dirfd;
		long got = attack->attempt(dir, page->address.sun_path);
		int error = errno;
		tried++;
		done += got >= 0;
		refused += got < 0 && error == EACCES;
		attack->mend();
		forbidden += harm;
	}
	page->over = 1;
	child ? waitpid(child, 0, 0) : pthread_join(thread, 0);
	printf("%s %ld %ld %ld %ld %ld\n", flip->name, tried, done, refused, tried - done - refused,
	       forbidden);
}

int main(int argc, char **argv)
{
	const struct attack *attack = attacks;
	while (strcmp(attack->name, argv[1]))
		attack++;
	if (argc < 4) {
		make_tree(attack->makes);
		return 7;
	}
	prepare(attack);
	for (char **name = argv + 4; *name; name++) {
		const struct flip *flip = flips;
		while (strcmp(flip->name, *name))
			flip++;
		race(attack, flip, atol(argv[2]), !strcmp(argv[3], "first"));
	}
	return 7;
}
