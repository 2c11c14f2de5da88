/*
 * handover SOCKET ID COMMAND...: a filter of our own, and a daemon that decides.
 *
 * Installs a filter that reports uname(2), hands the listener to notifyd, and becomes COMMAND. Connect
 * first: a filter must not report the calls by which its listener is handed over.
 *
 *     gcc -o handover handover.c && ./handover /run/notifyd/native.sock my-plugin uname -n
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

static int install_filter(void)
{
	struct sock_filter code[] = {
		LOAD(arch), UNLESS(ARCH, 3), LOAD(nr), UNLESS(__NR_uname, 2),
		RETURN(SECCOMP_RET_USER_NOTIF), RETURN(SECCOMP_RET_ERRNO | ENOSYS), RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static int hand_over(int connection, int listener, const char *id, char *reply, size_t size)
{
	char text[512], control[CMSG_SPACE(sizeof listener)] = {0};
	int length = snprintf(text, sizeof text, /* an id without quotes and backslashes */
			      "{\"notifyd\":1,\"request\":\"handover\",\"id\":\"%s\",\"pid\":%d}", id, getpid());
	struct iovec data = {text, length};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
				 .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	*rights = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof listener),
				   .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(rights), &listener, sizeof listener);
	if (length >= (int)sizeof text || sendmsg(connection, &message, MSG_NOSIGNAL) != length)
		return 0;
	ssize_t got = read(connection, reply, size - 1); /* one line of JSON */
	reply[got > 0 ? got : 0] = 0;
	return strstr(reply, "\"handover\"") != NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), listener;
	char reply[4096] = "no answer";

	if (argc < 4)
		return fprintf(stderr, "usage: handover SOCKET ID COMMAND...\n"), 2;
	strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
	if (connect(connection, (struct sockaddr *)&address, sizeof address))
		return perror(argv[1]), 2;
	listener = install_filter();
	if (listener < 0)
		return perror("seccomp"), 1;
	if (!hand_over(connection, listener, argv[2], reply, sizeof reply))
		return fprintf(stderr, "not supervised: %s\n", reply), 1;
	close(listener); /* as long as it is open here, nobody notices that the daemon is gone */
	close(connection);
	execvp(argv[3], argv + 3);
	return perror(argv[3]), 127;
}
