/* ARGV[1] processes with ARGV[2] threads each make ARGV[3] calls each; every answer is checked.
 *
 * sysinfo(2) is asked with the number of the call in its pointer; the rule returns a function of
 * that number and of the thread. A call that was answered twice, mixed up or lost shows here. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long calls;

static void *work(void *at)
{
	long base = (long)at, wrong = 0;
	for (long i = 0; i < calls; i++) {
		unsigned long asked = (unsigned long)(base + i) << 12 | 0xabc;
		long got = syscall(SYS_sysinfo, asked);
		if (got != (long)(asked >> 12) * 3 + 1 + gettid())
			wrong++;
	}
	return (void *)wrong;
}

int main(int argc, char **argv)
{
	int processes = atoi(argv[1]), threads = atoi(argv[2]);
	calls = atol(argv[3]);
	for (int p = 0; p < processes; p++) {
		if (fork())
			continue;
		pthread_t made[64];
		long wrong = 0;
		for (int t = 0; t < threads; t++)
			pthread_create(&made[t], 0, work, (void *)(calls * (p * threads + t)));
		for (int t = 0; t < threads; t++) {
			void *more;
			pthread_join(made[t], &more);
			wrong += (long)more;
		}
		_exit(wrong != 0);
	}
	int bad = 0, status;
	while (wait(&status) > 0)
		bad += status != 0;
	printf("%d\n", bad);
	return bad != 0;
}
