/* Attacks a rule about connect(2): while it is decided, a second thread changes the port.
 *
 * ARGV: allowed port, forbidden port, tries, "connect" or "sendmsg".
 * Prints how many calls succeeded. The forbidden port's listener counts what reaches it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in where;
static in_port_t good, bad;
static atomic_int over;

static void *flip(void *unused)
{
	volatile in_port_t *port = &where.sin_port;
	while (!over) {
		*port = good;
		*port = bad;
	}
	return unused;
}

int main(int argc, char **argv)
{
	good = htons(atoi(argv[1]));
	bad = htons(atoi(argv[2]));
	int tries = atoi(argv[3]), sends = !strcmp(argv[4], "sendmsg"), done = 0, refused = 0;
	where.sin_family = AF_INET;
	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	where.sin_port = good;
	pthread_t other;
	pthread_create(&other, 0, flip, 0);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct iovec piece = {"x", 1};
	struct msghdr message = {&where, sizeof where, &piece, 1, 0, 0, 0};
	for (int i = 0; i < tries; i++) {
		long got;
		if (sends) {
			got = sendmsg(s, &message, 0);
		} else {
			/* A datagram socket: connect reaches nobody, but says where it went. */
			got = connect(s, (struct sockaddr *)&where, sizeof where);
			struct sockaddr_in peer;
			socklen_t size = sizeof peer;
			if (!got && !getpeername(s, (struct sockaddr *)&peer, &size) && peer.sin_port == bad)
				send(s, "y", 1, MSG_DONTWAIT);
		}
		done += got >= 0;
		refused += got < 0 && errno == EACCES;
	}
	over = 1;
	pthread_join(other, 0);
	printf("%d %d %d\n", done, refused, tries - done - refused);
	return 0;
}
