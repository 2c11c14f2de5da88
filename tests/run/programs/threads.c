/* Eight threads open, read, write and close files of their own, and run a child now and then. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void *work(void *at)
{
	char path[64], word[16];
	long wrong = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof path, "file-%ld-%d", (long)at, i % 8);
		int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		wrong += write(fd, path, 12) != 12 || pread(fd, word, 12, 0) != 12 || memcmp(path, word, 12);
		close(fd);
		if (i % 50 == 0) {
			pid_t child;
			int status;
			char *line[] = {"true", 0};
			wrong += posix_spawn(&child, "/bin/true", 0, 0, line, environ) != 0;
			wrong += waitpid(child, &status, 0) != child || status;
		}
	}
	return (void *)wrong;
}

int main(void)
{
	pthread_t made[8];
	long wrong = 0;
	for (long t = 0; t < 8; t++)
		pthread_create(&made[t], 0, work, (void *)t);
	for (int t = 0; t < 8; t++) {
		void *more;
		pthread_join(made[t], &more);
		wrong += (long)more;
	}
	printf("wrong %ld\n", wrong);
	return 0;
}
