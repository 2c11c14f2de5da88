/* connect, bind and sendto in every odd way there is; prints what each returned.
 *
 * ARGV[1]: a TCP port that listens, ARGV[2]: one that refuses, ARGV[3]: a folder for sockets. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(const char *what, long got)
{
	printf("%s %ld %s\n", what, got, got < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

static struct sockaddr_in inet_at(int port)
{
	struct sockaddr_in at = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
	return at;
}

static struct sockaddr_un path_at(const char *path)
{
	struct sockaddr_un at = {AF_UNIX, ""};
	strncpy(at.sun_path, path, sizeof at.sun_path);
	return at;
}

#define TO(a) (struct sockaddr *)&(a), sizeof(a)

static volatile int pipes;
static void on_pipe(int number)
{
	(void)number;
	pipes++;
}

int main(int argc, char **argv)
{
	struct sockaddr_in open_at = inet_at(atoi(argv[1])), shut_at = inet_at(atoi(argv[2]));
	char big[256] = {0};
	memcpy(big, &open_at, sizeof open_at);
	int file = open("/dev/null", O_RDWR), place = open("/", O_PATH), s, u;
	if (chdir(argv[3]))
		return 1;

	tell("connect to -1", connect(-1, TO(open_at)));
	tell("connect to closed", connect(987, TO(open_at)));
	tell("connect a file", connect(file, TO(open_at)));
	tell("connect an O_PATH", connect(place, TO(open_at)));
	tell("bind a file", bind(file, TO(open_at)));
	tell("sendto a file", sendto(file, "x", 1, 0, TO(open_at)));
	tell("sendto closed", sendto(987, "x", 1, 0, TO(open_at)));

	s = socket(AF_INET, SOCK_STREAM, 0);
	tell("length 0", connect(s, (void *)&open_at, 0));
	tell("length 1", connect(s, (void *)&open_at, 1));
	tell("length 2", connect(s, (void *)&open_at, 2));
	tell("length 15", connect(s, (void *)&open_at, 15));
	tell("length 129", connect(s, (void *)big, 129));
	tell("length -1", connect(s, (void *)big, -1));
	tell("null", connect(s, 0, 16));
	tell("null of no length", connect(s, 0, 0));
	tell("refused", connect(s, TO(shut_at)));
	tell("accepted", connect(s, TO(open_at)));
	tell("again", connect(s, TO(open_at)));
	open_at.sin_family = AF_UNSPEC;
	tell("unspecified", connect(s, TO(open_at)));
	open_at.sin_family = AF_INET;
	tell("length 128", connect(s, (void *)big, 128));
	struct sockaddr_in peer;
	socklen_t size = sizeof peer;
	tell("has its peer", getpeername(s, (void *)&peer, &size) || peer.sin_port != open_at.sin_port);
	struct sockaddr_un wrong = path_at("x");
	tell("wrong family", connect(socket(AF_INET, SOCK_STREAM, 0), TO(wrong)));

	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	long got = connect(s, TO(open_at));
	printf("non-blocking %s\n", !got || errno == EINPROGRESS ? "ok" : "wrong");

	u = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un at = path_at("here"), none = path_at("none"), sub = path_at("none/none");
	umask(027);
	tell("bind a path", bind(u, TO(at)));
	struct stat made;
	if (!stat("here", &made))
		printf("mode %o uid %d\n", made.st_mode, made.st_uid);
	tell("bind it again", bind(u, TO(at)));
	tell("bind taken", bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(at)));
	tell("bind below nothing", bind(socket(AF_UNIX, SOCK_STREAM, 0), TO(sub)));
	tell("connect before listen", connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(at)));
	listen(u, 5);
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	tell("connect a path", connect(c, TO(at)));
	int a = accept(u, 0, 0);
	struct ucred who;
	size = sizeof who;
	getsockopt(a, SOL_SOCKET, SO_PEERCRED, &who, &size);
	printf("peer is %s\n", who.pid == getpid() && who.uid == getuid() ? "me" : "another");
	tell("connect nowhere", connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(none)));
	struct sockaddr_un hidden = {AF_UNIX, "\0notifyd-odd"};
	snprintf(hidden.sun_path + 1, 60, "odd-%d", getpid());
	tell("abstract", connect(socket(AF_UNIX, SOCK_STREAM, 0), TO(hidden)));
	tell("autobind", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&at, offsetof(struct sockaddr_un, sun_path)));

	tell("send", send(c, "hello", 5, 0));
	tell("send nothing", send(c, "", 0, 0));
	tell("send a bad pointer", send(c, (void *)8, 5, 0));
	signal(SIGPIPE, on_pipe);
	close(a);
	tell("send to nobody", send(c, "x", 1, 0));
	tell("and quietly", send(c, "x", 1, MSG_NOSIGNAL));
	printf("SIGPIPE %d\n", pipes);

	int d = socket(AF_INET, SOCK_DGRAM, 0);
	tell("datagram without address", send(d, "x", 1, 0));
	tell("datagram", sendto(d, "x", 1, 0, TO(shut_at)));
	tell("empty datagram", sendto(d, "", 0, 0, TO(shut_at)));
	static char huge[70000];
	tell("too long", sendto(d, huge, sizeof huge, 0, TO(shut_at)));
	tell("with bad flags", sendto(d, "x", 1, 0x40000000 | MSG_OOB, TO(shut_at)));
	struct iovec pieces[2] = {{"ab", 2}, {"cd", 2}};
	struct msghdr header = {&shut_at, sizeof shut_at, pieces, 2, 0, 0, 0};
	tell("sendmsg", sendmsg(d, &header, 0));
	header.msg_iovlen = 2000;
	tell("sendmsg of too many", sendmsg(d, &header, 0));
	header.msg_iovlen = 2;
	header.msg_namelen = 4096;
	tell("sendmsg to a long name", sendmsg(d, &header, 0));
	header.msg_namelen = sizeof shut_at;
	pieces[1].iov_base = (void *)8;
	tell("sendmsg of a bad piece", sendmsg(d, &header, 0));
	pieces[1].iov_base = "cd";
	struct mmsghdr many[3] = {{header, 9}, {header, 9}, {header, 9}};
	tell("sendmmsg", sendmmsg(d, many, 3, 0));
	printf("%d %d %d\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
	tell("sendmmsg of none", sendmmsg(d, many, 0, 0));
	many[1].msg_hdr.msg_iov = (void *)8;
	many[1].msg_len = 9;
	tell("sendmmsg with a bad one", sendmmsg(d, many, 3, 0));
	printf("%d\n", many[0].msg_len);

	int pair[2], got_fd = -1;
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec one = {"!", 1};
	struct msghdr pass = {0, 0, &one, 1, control.room, sizeof control.room, 0};
	struct cmsghdr *head = CMSG_FIRSTHDR(&pass);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &file, sizeof file);
	tell("pass a descriptor", sendmsg(pair[0], &pass, 0));
	char byte;
	struct iovec in = {&byte, 1};
	struct msghdr take = {0, 0, &in, 1, control.room, sizeof control.room, 0};
	tell("take it", recvmsg(pair[1], &take, MSG_DONTWAIT));
	head = CMSG_FIRSTHDR(&take);
	if (head)
		memcpy(&got_fd, CMSG_DATA(head), sizeof got_fd);
	struct stat null_is, got_is;
	fstat(file, &null_is);
	tell("it is the file", got_fd < 0 || fstat(got_fd, &got_is) || got_is.st_rdev != null_is.st_rdev);
	int closed = 987;
	head = CMSG_FIRSTHDR(&pass);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &closed, sizeof closed);
	pass.msg_controllen = sizeof control.room;
	tell("pass a closed one", sendmsg(pair[0], &pass, 0));
	memcpy(CMSG_DATA(head), &file, sizeof file);
	head->cmsg_len = CMSG_LEN(2 * sizeof(int));
	pass.msg_controllen = CMSG_LEN(sizeof(int));
	tell("pass one from beyond the end", sendmsg(pair[0], &pass, 0));
	head->cmsg_len = CMSG_LEN(2);
	pass.msg_controllen = CMSG_LEN(sizeof(int));
	tell("pass half a one", sendmsg(pair[0], &pass, 0));
	pass.msg_control = 0;
	tell("pass control that is not there", sendmsg(pair[0], &pass, 0));

	int on = 1;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	struct msghdr plain = {0, 0, &one, 1, 0, 0, 0};
	tell("say who it is", sendmsg(pair[0], &plain, 0));
	char told[CMSG_SPACE(sizeof who)] = {0};
	struct msghdr hear = {0, 0, &in, 1, told, sizeof told, 0};
	recvmsg(pair[1], &hear, MSG_DONTWAIT);
	if (CMSG_FIRSTHDR(&hear) && CMSG_FIRSTHDR(&hear)->cmsg_type == SCM_CREDENTIALS)
		memcpy(&who, CMSG_DATA(CMSG_FIRSTHDR(&hear)), sizeof who);
	printf("it is user %d, group %d\n", who.uid, who.gid);
	one.iov_len = -1;
	tell("a negative size", sendmsg(pair[0], &plain, 0));
	one.iov_len = 2 << 20;
	one.iov_base = calloc(1, 2 << 20);
	tell("a very long message", sendmsg(pair[0], &plain, 0));
	return 7;
}
