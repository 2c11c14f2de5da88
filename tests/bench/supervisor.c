/*
 * supervisor MODE HOW -- COMMAND...: runs COMMAND under the least supervisor that C can write.
 *
 * MODE: getppid, uname (answered with a value), open (the path is read, then EACCES), inject (the path
 * is read, opened here, and the descriptor injected), or filter-only (getppid is refused with EPERM by
 * the filter itself: no listener at all).
 * HOW: poll (poll, then one RECV, as a program does that has other things to wait for), or recv (a
 * RECV that blocks, and nothing else). These are the two baselines; ratios are taken to the faster.
 *
 * Exits with COMMAND's status, 128 + n for a signal. One command, one process: no more is needed here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define GETPPID_ANSWER 42
#define PATH_BYTES 256
#define PAGE 4096

/* Newer than some installed headers. SET_FLAGS (6.6) takes its flags by value. */
#define SET_FLAGS _IOW('!', 4, uint64_t)
#define SYNC_WAKE_UP 1UL
#define WAIT_KILLABLE_RECV (1UL << 5)

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "add this machine's AUDIT_ARCH here"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define JUMP_IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

static void die(const char *what)
{
	perror(what);
	_exit(125);
}

/* Installs a filter that gives `action` to system call `nr`; returns the listener, if one was asked for. */
static int install(int nr, uint32_t action, unsigned long flags)
{
	struct sock_filter code[] = {
		LOAD(arch), JUMP_IF(ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),   JUMP_IF(nr, 0, 1),	 RETURN(action),
		RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("prctl");
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (fd < 0)
		die("seccomp");
	return fd;
}

/* One message that carries one fd; the same layout serves both ends. */
struct parcel {
	char byte;
	struct iovec data;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr head;
};

static struct msghdr *pack(struct parcel *p)
{
	memset(p, 0, sizeof *p);
	p->data = (struct iovec){&p->byte, 1};
	p->head = (struct msghdr){.msg_iov = &p->data, .msg_iovlen = 1};
	p->head.msg_control = p->control;
	p->head.msg_controllen = sizeof p->control;
	return &p->head;
}

static void send_fd(int socket, int fd)
{
	struct parcel p;
	struct cmsghdr *c = CMSG_FIRSTHDR(pack(&p));

	*c = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	if (sendmsg(socket, &p.head, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int socket)
{
	struct parcel p;
	int fd;

	if (recvmsg(socket, pack(&p), MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&p.head))
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&p.head)), sizeof fd);
	return fd;
}

/* Takes COMMAND's status. As a handler of SIGCHLD it ends the RECV that before 6.11 hears of no end. */
static void leave(int unused)
{
	int status;

	(void)unused;
	if (waitpid(-1, &status, 0) > 0)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* What a rule that looks at a path has to do: read it, and then ask whether it was still that thread's. */
static int read_path(int listener, const struct seccomp_notif *call, char path[PATH_BYTES])
{
	uintptr_t at = call->data.args[1];
	size_t want = PAGE - at % PAGE < PATH_BYTES ? PAGE - at % PAGE : PATH_BYTES;
	struct iovec here = {path, want}, there = {(void *)at, want};

	if (process_vm_readv(call->pid, &here, 1, &there, 1, 0) < 0)
		return -EFAULT;
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) ? -ENOENT : -EACCES;
}

/* Opens the path and gives the target the descriptor with the answer; returns 0 if that has answered. */
static int inject(int listener, const struct seccomp_notif *call, const char *path)
{
	int flags = call->data.args[2];
	struct seccomp_notif_addfd give = {.id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND};
	int fd = openat(AT_FDCWD, path, flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	give.srcfd = fd;
	give.newfd_flags = flags & O_CLOEXEC;
	int got = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
	close(fd);
	return got < 0 ? -EPERM : 0;
}

static void answer(int listener, int nr, int injecting)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp reply = {0};
	char path[PATH_BYTES];

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
		return; /* ENOENT: gone again. The loop finds out whether for good. */
	reply.id = call.id;
	if (nr == SYS_openat)
		reply.error = read_path(listener, &call, path);
	if (injecting && reply.error == -EACCES && !(reply.error = inject(listener, &call, path)))
		return;
	if (nr == SYS_getppid)
		reply.val = GETPPID_ANSWER;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

static void supervise(int listener, int nr, int injecting, int polling)
{
	struct pollfd ready = {.fd = listener, .events = POLLIN};

	ioctl(listener, SET_FLAGS, SYNC_WAKE_UP);
	while (!polling)
		answer(listener, nr, injecting); /* until SIGCHLD */
	while (poll(&ready, 1, -1) == 1 && !(ready.revents & POLLHUP))
		if (ready.revents & POLLIN)
			answer(listener, nr, injecting);
}

int main(int argc, char **argv)
{
	if (argc < 5 || strcmp(argv[3], "--")) {
		fprintf(stderr, "usage: supervisor getppid|uname|open|inject|filter-only poll|recv -- COMMAND...\n");
		return 2;
	}
	int listening = strcmp(argv[1], "filter-only") != 0;
	int injecting = !strcmp(argv[1], "inject"), opening = injecting || !strcmp(argv[1], "open");
	int nr = opening ? SYS_openat : !strcmp(argv[1], "uname") ? SYS_uname : SYS_getppid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	signal(SIGCHLD, leave);
	if (!fork()) {
		if (!listening)
			install(nr, SECCOMP_RET_ERRNO | EPERM, 0);
		else /* the listener comes with CLOEXEC set */
			send_fd(pair[0], install(nr, SECCOMP_RET_USER_NOTIF,
						 SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV));
		execvp(argv[4], argv + 4);
		die(argv[4]);
	}
	close(pair[0]);
	if (listening)
		supervise(receive_fd(pair[1]), nr, injecting, !strcmp(argv[2], "poll"));
	leave(0);
	return 125;
}
