/* Does something with a file or a socket, lets go of it, and sees at once whether everybody has.
 *
 *   copies N KIND...             a line for each kind: "KIND failed", of N rounds
 *   copies mounts N COMMAND...   mounts N file systems one above the other, in a namespace of its
 *                                own, for each kind that needs some and is a word of COMMAND, and
 *                                executes that
 *
 * Kinds that begin with "u-" unmount the uppermost of those right after what they did. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DIE(what) (perror(what), exit(1))
#define TRY(call)                                                                                  \
	({                                                                                         \
		int value_ = (call);                                                               \
		if (value_ < 0)                                                                    \
			DIE(#call);                                                                \
		value_;                                                                            \
	})
#define ON "mounted"

static int held = -1; /* what a kind keeps from one round to the next */
static char copied[] = "copied";

/* -- files: each returns whether somebody else still has what was closed */

static int lock(const char *path, int how)
{
	if (held < 0)
		held = TRY(open(path, O_RDWR | O_CREAT, 0666));
	int fd = TRY(open(path, how, 0666));
	TRY(flock(fd, LOCK_EX));
	close(fd);
	if (flock(held, LOCK_EX | LOCK_NB))
		return 1;
	flock(held, LOCK_UN);
	return 0;
}

static int plain_lock(void) { return lock("lock", O_RDWR); }

static int made_lock(void) { return lock("lock", O_RDWR | O_CREAT); }

static int far_lock(void) /* by a path that begins at the root */
{
	static char path[4096];
	if (!*path)
		strcat(getcwd(path, sizeof path - 9), "/lock");
	return lock(path, O_RDWR);
}

static int fifo(void)
{
	char byte;
	if (held < 0) {
		mkfifo("fifo", 0666);
		held = TRY(open("fifo", O_RDONLY | O_NONBLOCK));
	}
	close(TRY(open("fifo", O_WRONLY)));
	return read(held, &byte, 1) != 0; /* EAGAIN where there is a writer still */
}

static int watched(void)
{
	char events[4096];
	if (held < 0) {
		close(TRY(open("watched", O_WRONLY | O_CREAT, 0666)));
		held = TRY(inotify_init1(IN_NONBLOCK));
		TRY(inotify_add_watch(held, "watched", IN_CLOSE_WRITE));
	}
	close(TRY(open("watched", O_WRONLY)));
	if (read(held, events, sizeof events) > 0)
		return 0;
	struct pollfd late = {held, POLLIN, 0};
	poll(&late, 1, 10000); /* or it would be there for the next round */
	read(held, events, sizeof events);
	return 1;
}

static int leased(int how, int lease)
{
	if (held < 0) {
		close(TRY(open("leased", O_RDWR | O_CREAT, 0666)));
		held = TRY(open("leased", how));
	}
	close(TRY(open("leased", O_WRONLY)));
	if (fcntl(held, F_SETLEASE, lease))
		return 1;
	TRY(fcntl(held, F_SETLEASE, F_UNLCK));
	return 0;
}

static int read_lease(void) { return leased(O_RDONLY, F_RDLCK); }

static int write_lease(void) { return leased(O_RDWR, F_WRLCK); }

static int executed(void)
{
	if (held < 0) {
		int from = TRY(open("/proc/self/exe", O_RDONLY));
		int to = TRY(open(copied, O_WRONLY | O_CREAT, 0777));
		while (copy_file_range(from, NULL, to, NULL, 1 << 24, 0) > 0)
			;
		close(to);
		held = from;
	}
	close(TRY(open(copied, O_WRONLY)));
	int status;
	pid_t pid = vfork();
	if (!pid) {
		execl(copied, copied, NULL);
		_exit(errno == ETXTBSY ? 1 : 2);
	}
	TRY(waitpid(pid, &status, 0));
	if (status && status != 0x100)
		exit(9);
	return status != 0;
}

/* -- sockets */

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct sockaddr_un place = {.sun_family = AF_UNIX};

static int listener(void)
{
	socklen_t size = sizeof address;
	int fd = TRY(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = 0;
	TRY(bind(fd, (void *)&address, sizeof address));
	TRY(getsockname(fd, (void *)&address, &size));
	TRY(listen(fd, 9));
	return fd;
}

static int connected(void)
{
	char byte;
	if (held < 0)
		held = listener();
	int fd = TRY(socket(AF_INET, SOCK_STREAM, 0));
	TRY(connect(fd, (void *)&address, sizeof address));
	int peer = TRY(accept(held, NULL, NULL));
	close(fd);
	int late = recv(peer, &byte, 1, MSG_DONTWAIT) != 0;
	close(peer);
	return late;
}

static int bound(void)
{
	if (held < 0) {
		held = listener();
		close(held);
	}
	int fd = TRY(socket(AF_INET, SOCK_STREAM, 0));
	int late = bind(fd, (void *)&address, sizeof address) ? errno == EADDRINUSE : 0;
	close(fd);
	return late;
}

static int sent(void)
{
	char bytes[9];
	int pair[2];
	TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	struct iovec piece = {"x", 1};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	TRY(sendmsg(pair[0], &message, 0));
	close(pair[0]);
	int late = recv(pair[1], bytes, 9, 0) != 1 || recv(pair[1], bytes, 9, MSG_DONTWAIT) != 0;
	close(pair[1]);
	return late;
}

/* -- what is done on a mount */

static void u_open(void) { close(TRY(open(ON "/f", O_RDONLY))); }

static void u_make(void) { close(TRY(open(ON "/new", O_WRONLY | O_CREAT, 0666))); }

static void u_missing(void) { open(ON "/none", O_RDONLY); }

static void u_cwd(void)
{
	TRY(chdir(ON));
	close(TRY(open("f", O_RDONLY)));
	TRY(chdir(".."));
}

static void u_cwd_made(void)
{
	TRY(chdir(ON));
	close(TRY(open("new", O_WRONLY | O_CREAT, 0666)));
	TRY(chdir(".."));
}

static void u_at(void)
{
	int at = TRY(open(ON, O_RDONLY | O_DIRECTORY));
	close(TRY(openat(at, "f", O_RDONLY)));
	close(at);
}

static void u_stat(void)
{
	struct stat found;
	TRY(stat(ON "/f", &found));
}

static void u_link(void)
{
	char text[9];
	TRY(readlink(ON "/l", text, 9));
}

static void u_access(void) { TRY(access(ON "/f", R_OK)); }

static void u_mode(void) { TRY(chmod(ON "/f", 0644)); }

static void u_fd_mode(void)
{
	int fd = TRY(open(ON "/f", O_RDONLY));
	TRY(fchmod(fd, 0644));
	close(fd);
}

static void u_directory(void) { TRY(mkdir(ON "/d", 0777)); }

static void u_name(void) { TRY(rename(ON "/f", ON "/g")); }

static void u_attribute(void)
{
	char text[9];
	getxattr(ON "/f", "user.none", text, 9);
}

static void u_truncate(void) { TRY(truncate(ON "/f", 1)); }

static int fails(const char *path)
{
	execl(path, path, NULL);
	return 0;
}

static void u_exec(void) { fails(ON "/f"); } /* EACCES: it may not be executed */

static void u_script(void) { fails(ON "/script"); } /* ENOENT: it names what is not there */

static void u_shell(void) /* executed, and over */
{
	if (!vfork()) {
		fails(ON "/good");
		_exit(9);
	}
	int status;
	TRY(wait(&status));
	if (status)
		exit(9);
}

static void at(int type, const char *path, int (*what)(int, const struct sockaddr *, socklen_t))
{
	int fd = TRY(socket(AF_UNIX, type, 0));
	strcpy(place.sun_path, path);
	what(fd, (void *)&place, sizeof place);
	close(fd);
}

static int send_to(int fd, const struct sockaddr *to, socklen_t size)
{
	return sendto(fd, "x", 1, 0, to, size);
}

static int connect_to(int fd, const struct sockaddr *to, socklen_t size)
{
	return connect(fd, to, size);
}

static int bind_to(int fd, const struct sockaddr *to, socklen_t size)
{
	return TRY(bind(fd, to, size));
}

static void u_bind(void) { at(SOCK_STREAM, ON "/s", bind_to); }

static void u_connect(void) { at(SOCK_STREAM, ON "/none", connect_to); }

static void u_connect_here(void)
{
	TRY(chdir(ON));
	at(SOCK_STREAM, "none", connect_to);
	TRY(chdir(".."));
}

static void u_send(void) { at(SOCK_DGRAM, ON "/none", send_to); }

static void u_mount(void) /* one more, which then has to go first */
{
	TRY(mount("none", ON "/d0", "tmpfs", 0, "size=64k"));
	if (umount2(ON "/d0", 0)) {
		perror("the inner one");
		umount2(ON "/d0", MNT_DETACH);
	}
}

static int busy(void)
{
	if (!umount2(ON, 0))
		return 0;
	if (errno != EBUSY)
		DIE("umount");
	TRY(umount2(ON, MNT_DETACH));
	return 1;
}

static const struct kind {
	const char *name;
	int (*late)(void);
	void (*on_mount)(void);
} kinds[] = {
	{"lock", plain_lock},
	{"made-lock", made_lock},
	{"far-lock", far_lock},
	{"fifo", fifo},
	{"inotify", watched},
	{"read-lease", read_lease},
	{"write-lease", write_lease},
	{"exec", executed},
	{"connected", connected},
	{"bound", bound},
	{"sent", sent},
	{"u-open", .on_mount = u_open},
	{"u-make", .on_mount = u_make},
	{"u-missing", .on_mount = u_missing},
	{"u-cwd", .on_mount = u_cwd},
	{"u-cwd-made", .on_mount = u_cwd_made},
	{"u-at", .on_mount = u_at},
	{"u-stat", .on_mount = u_stat},
	{"u-link", .on_mount = u_link},
	{"u-access", .on_mount = u_access},
	{"u-mode", .on_mount = u_mode},
	{"u-fd-mode", .on_mount = u_fd_mode},
	{"u-directory", .on_mount = u_directory},
	{"u-name", .on_mount = u_name},
	{"u-attribute", .on_mount = u_attribute},
	{"u-truncate", .on_mount = u_truncate},
	{"u-exec", .on_mount = u_exec},
	{"u-script", .on_mount = u_script},
	{"u-shell", .on_mount = u_shell},
	{"u-bind", .on_mount = u_bind},
	{"u-connect", .on_mount = u_connect},
	{"u-connect-here", .on_mount = u_connect_here},
	{"u-send", .on_mount = u_send},
	{"u-mount", .on_mount = u_mount},
};

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = TRY(open(path, O_WRONLY | O_CREAT, mode));
	TRY(write(fd, text, strlen(text)));
	close(fd);
}

static void prepare(const char *kind, int rounds)
{
	mkdir(kind, 0777);
	TRY(chdir(kind));
	mkdir(ON, 0777);
	while (rounds--) {
		TRY(mount("none", ON, "tmpfs", 0, "size=64k,mode=777"));
		write_file(ON "/f", "text", 0666);
		write_file(ON "/script", "#!" ON "/none\n", 0777);
		write_file(ON "/good", "#!/bin/true\n", 0777);
		TRY(symlink("f", ON "/l"));
		TRY(mkdir(ON "/d0", 0777));
	}
	TRY(chdir(".."));
}

static int count(const struct kind *kind, int rounds)
{
	int late = 0;
	close(held);
	held = -1;
	if (kind->on_mount)
		TRY(chdir(kind->name));
	for (int i = 0; i < rounds; i++)
		if (kind->late)
			late += kind->late();
		else {
			kind->on_mount();
			late += busy();
		}
	if (kind->on_mount)
		TRY(chdir(".."));
	return late;
}

int main(int argc, char **argv)
{
	umask(0);
	if (!strcmp(argv[0], copied))
		return 0;
	int mounts = !strcmp(argv[1], "mounts");
	if (mounts) {
		TRY(unshare(CLONE_NEWNS));
		TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	}
	for (int i = 2; i < argc; i++)
		for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
			if (strcmp(argv[i], kinds[k].name))
				continue;
			else if (mounts)
				prepare(argv[i], atoi(argv[2]));
			else
				printf("%s %d\n", argv[i], count(&kinds[k], atoi(argv[1])));
	if (!mounts)
		return 7;
	execvp(argv[3], argv + 3);
	DIE(argv[3]);
}
