/* Queues data with MSG_ZEROCOPY behind what the peer has not read yet, then sends other data
 * elsewhere, and counts what the peer reads. The first call that is refused is made plainly. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 60000
#define AT(a) (struct sockaddr *)&(a), sizeof(a)

int main(void)
{
	static char first[20000], second[SIZE], other[SIZE], got[SIZE];
	struct sockaddr_in at = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}}, nobody = at;
	socklen_t size = sizeof at;
	int on = 1, little = 4096, much = 1 << 20;
	int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	int elsewhere = socket(AF_INET, SOCK_DGRAM, 0);
	memset(first, '1', sizeof first);
	memset(second, '2', sizeof second);
	memset(other, 'x', sizeof other);
	nobody.sin_port = htons(9);

	setsockopt(server, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
	setsockopt(client, SOL_SOCKET, SO_SNDBUF, &much, sizeof much);
	if (setsockopt(client, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) || bind(server, AT(at)) ||
	    listen(server, 1) || getsockname(server, (void *)&at, &size) ||
	    connect(client, AT(at)))
		err(1, "no connection");
	int peer = accept(server, NULL, NULL);
	if (write(client, first, sizeof first) != sizeof first)
		err(1, "write");
	long sent = sendto(client, second, SIZE, MSG_ZEROCOPY, AT(at));
	if (sent < 0) {
		printf("refused %s\n", strerrorname_np(errno));
		sent = sendto(client, second, SIZE, 0, AT(at));
	}
	if (sent != SIZE)
		err(1, "sent %ld", sent);
	for (int i = 0; i < 20; i++)
		sendto(elsewhere, other, SIZE, 0, AT(nobody));
	shutdown(client, SHUT_WR);
	int counts[3] = {0};
	for (long length; (length = read(peer, got, sizeof got)) > 0;)
		for (long i = 0; i < length; i++)
			counts[got[i] == '1' ? 0 : got[i] == '2' ? 1 : 2]++;
	printf("first %d, second %d, other %d\n", counts[0], counts[1], counts[2]);
	return 0;
}
