/* Calls that a target is led through, disturbed in every way that it has. Prints what was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int times;
static atomic_int over, wrong, handled;

static void bad(const char *what)
{
    if (wrong++ < 5)
        printf("wrong: %s: %s\n", what, strerror(errno)), fflush(stdout);
}

static socklen_t named(struct sockaddr_un *to, const char *name)
{
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    snprintf(to->sun_path + 1, sizeof to->sun_path - 1, "%s-%s", name, getenv("SERVER"));
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(to->sun_path + 1);
}

static int serving(const char *name, int type)
{
    struct sockaddr_un at;
    socklen_t size = named(&at, name);
    int server = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), on = 1;
    if (server < 0 || bind(server, (void *)&at, size))
        perror("bind"), exit(2);
    if (type == SOCK_STREAM)
        listen(server, 4096);
    setsockopt(server, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    return server;
}

static ssize_t say(int to, const char *text, size_t size)
{
    struct iovec pieces[] = {{(void *)text, 1}, {(void *)(text + 1), size - 1}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    return sendmsg(to, &message, 0);
}

/* Every register that a call keeps has to be kept. */
static long kept(long number, long a, long b, long c)
{
    register long r10 __asm__("r10") = 10, r8 __asm__("r8") = 8, r9 __asm__("r9") = 9;
    long result, d = 12, e = 13, f = 14, g = 15;
    register long r12 __asm__("r12") = d, r13 __asm__("r13") = e, r14 __asm__("r14") = f,
                  r15 __asm__("r15") = g;
    long di = a, si = b, dx = c;
    __asm__ volatile("syscall"
                     : "=a"(result), "+D"(di), "+S"(si), "+d"(dx), "+r"(r10), "+r"(r8), "+r"(r9),
                       "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
                     : "0"(number)
                     : "rcx", "r11", "memory");
    if (di != a || si != b || dx != c || r10 != 10 || r8 != 8 || r9 != 9 || r12 != 12 ||
        r13 != 13 || r14 != 14 || r15 != 15)
        bad("registers");
    return result;
}

static void *sender(void *unused)
{
    char back[64];
    for (int at = 0; at < times; at++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
            bad("socketpair");
        struct iovec piece = {"hello", 5};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        errno = 0;
        if (kept(SYS_sendmsg, pair[0], (long)&message, 0) != 5)
            bad("sendmsg");
        if (say(pair[0], "again", 5) != 5)
            bad("sendmsg of two pieces");
        if (recv(pair[1], back, sizeof back, 0) != 5 || memcmp(back, "hello", 5))
            bad("recv");
        struct sockaddr_un to;
        socklen_t size = named(&to, "listens");
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(client, (void *)&to, size))
            bad("connect");
        close(client), close(pair[0]), close(pair[1]);
    }
    return unused;
}

static void several(void)
{
    pthread_t threads[4];
    for (int at = 0; at < 4; at++)
        pthread_create(&threads[at], NULL, sender, NULL);
    for (int at = 0; at < 4; at++)
        pthread_join(threads[at], NULL);
}

static void handler(int number)
{
    handled += number > 0;
}

/* Natively no signal ends a send that does not wait. Here one that comes before notifyd has received
   the call does, or with SA_RESTART begins it again. */
static void signals(void)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &act, NULL);
    struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    sender(NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    for (int at = 1; at < 32; at++)
        if (sigismember(&now, at))
            bad("a signal is blocked");
    if (!handled)
        bad("no signal came");
}

static void *soon(void *thread)
{
    while (!over) {
        usleep(20000);
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
    }
    return NULL;
}

/* A send that waits ends with EINTR, or with SA_RESTART goes on until there is room. */
static void waits(int restarts)
{
    int pair[2], size = 4096;
    struct sigaction act = {.sa_handler = handler, .sa_flags = restarts ? SA_RESTART : 0};
    sigaction(SIGUSR1, &act, NULL);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    static char text[1000];
    while (send(pair[0], text, sizeof text, MSG_DONTWAIT) > 0)
        ;
    pthread_t self = pthread_self(), other;
    over = 0;
    if (restarts && fork() == 0) {
        usleep(200000);
        for (int at = 0; at < 20; at++)
            recv(pair[1], text, sizeof text, MSG_DONTWAIT);
        usleep(500000);
        _exit(0);
    }
    pthread_create(&other, NULL, soon, &self);
    errno = 0;
    ssize_t sent = say(pair[0], text, sizeof text);
    over = 1;
    pthread_join(other, NULL);
    printf("a send that waits, %s: %zd %s\n", restarts ? "restarted" : "interrupted", sent,
           sent < 0 ? strerror(errno) : "");
    if (restarts)
        wait(NULL);
    close(pair[0]), close(pair[1]);
}

/* Killed at any moment; nobody else may notice. */
static void kills(void)
{
    for (int at = 0; at < times; at++) {
        pid_t child = fork();
        if (child == 0) {
            times = 1000000;
            pthread_t thread;
            pthread_create(&thread, NULL, sender, NULL);
            sender(NULL);
        }
        usleep(1000 + rand() % 20000);
        kill(child, SIGKILL);
        int status;
        if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
            bad("a child that was killed");
    }
}

/* Stopped and continued at any moment. */
static void stops(void)
{
    pid_t child = fork();
    if (child == 0) {
        sender(NULL);
        _exit(wrong != 0);
    }
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        kill(child, SIGSTOP);
        usleep(500);
        kill(child, SIGCONT);
        usleep(4000);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        bad("a child that was stopped");
}

/* Another thread executes meanwhile. */
static void executes(char *self)
{
    for (int at = 0; at < times / 4; at++) {
        pid_t child = fork();
        if (child == 0) {
            times = 1000000;
            pthread_t thread;
            pthread_create(&thread, NULL, sender, NULL);
            usleep(3000 + rand() % 5000);
            execl(self, self, "1", "several", NULL);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status)
            bad("a program that was executed");
    }
}

static struct sockaddr_un aim;

static void *flips(void *unused)
{
    struct sockaddr_un one, other;
    named(&one, "good"), named(&other, "evil");
    while (!over)
        aim = one, aim = other, aim = one;
    return unused;
}

/* All that a hostile thread can do to memory, and to its file; whether any of it succeeds. */
static int rip(int *found)
{
    static char evil[4096], line[512];
    unsigned long start = 0, end = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:notifyd")) {
            sscanf(line, "%lx-%lx", &start, &end);
            break;
        }
    if (maps)
        fclose(maps);
    *found = start != 0;
    int done = 0;
    for (int fd = 3; fd < 40; fd++) { /* open as long as it is laid */
        char name[64] = "", path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof name - 1) < 0 || !strstr(name, "memfd:notifyd"))
            continue;
        int own = open(path, O_RDWR); /* may be another file by now */
        if (readlink(path, name, sizeof name - 1) < 0 || !strstr(name, "memfd:notifyd"))
            own = (close(own), -1);
        if (own >= 0 && (pwrite(own, evil, sizeof evil, 0) > 0 || !ftruncate(own, 0) ||
                         mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, own, 0) != MAP_FAILED))
            done |= 1;
        close(own);
    }
    if (!start)
        return done;
    size_t size = end - start;
    void *at = (void *)start;
    struct iovec here = {evil, sizeof evil}, there = {at, sizeof evil};
    int memory = open("/proc/self/mem", O_RDWR);
    if (memory >= 0 && pwrite(memory, evil, sizeof evil, start) > 0)
        done |= 2;
    close(memory);
    if (process_vm_writev(getpid(), &here, 1, &there, 1, 0) > 0)
        done |= 4;
    if (!mprotect(at, size, PROT_READ | PROT_WRITE))
        done |= 8;
    if (!munmap(at, size))
        done |= 16;
    if (mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, evil) != MAP_FAILED)
        done |= 32;
    if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
        MAP_FAILED)
        done |= 64;
    return done;
}

/* Before it is sealed, a thread can take it away: then nothing is done with it. */
static void *rips(void *unused)
{
    int found;
    while (!over)
        if (rip(&found) & 15)
            bad("its memory was written");
    return unused;
}

/* The address changes all the time, the descriptor too; "evil" is refused and must get nothing. */
static void hostile(void)
{
    int good = serving("good", SOCK_DGRAM), evil = serving("evil", SOCK_DGRAM);
    pthread_t threads[3];
    struct sockaddr_un first;
    socklen_t size = named(&first, "good");
    aim = first;
    int client = socket(AF_UNIX, SOCK_DGRAM, 0), found;
    if (connect(client, (void *)&first, size))
        bad("connect");
    close(client);
    int ripped = rip(&found);
    printf("its memory %s, %d done to it\n", found ? "is there" : "is not there", ripped);
    pthread_create(&threads[0], NULL, flips, NULL);
    pthread_create(&threads[1], NULL, flips, NULL);
    pthread_create(&threads[2], NULL, rips, NULL);
    int sent = 0, refused = 0;
    for (int at = 0; at < times; at++) {
        int client = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        struct iovec piece = {"x", 1};
        struct msghdr message = {.msg_name = &aim, .msg_namelen = size, .msg_iov = &piece,
                                 .msg_iovlen = 1};
        ssize_t came = at % 3 == 0 ? sendto(client, "x", 1, 0, (void *)&aim, size)
                     : at % 3 == 1 ? sendmsg(client, &message, 0)
                                   : connect(client, (void *)&aim, size);
        sent += came >= 0, refused += came < 0;
        char back[4];
        while (recv(good, back, sizeof back, MSG_DONTWAIT) > 0)
            ;
        struct sockaddr_un peer = {0};
        socklen_t length = sizeof peer;
        if (at % 3 == 2 && came == 0 && !getpeername(client, (void *)&peer, &length) &&
            strncmp(peer.sun_path + 1, "good", 4))
            bad("connected to evil");
        close(client);
    }
    over = 1;
    for (int at = 0; at < 3; at++)
        pthread_join(threads[at], NULL);
    char back[4];
    if (recv(evil, back, sizeof back, MSG_DONTWAIT) > 0)
        bad("evil got a message");
    printf("hostile: %s\n", sent + refused == times ? "all answered" : "?");
}

int main(int argc, char **argv)
{
    times = atoi(argv[1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!getenv("SERVER")) {
        char text[32];
        snprintf(text, sizeof text, "%d", getpid());
        setenv("SERVER", text, 1);
    }
    if (argc > 2 && strcmp(argv[2], "several") == 0 && argc == 3) {
        several();
        return wrong != 0;
    }
    int server = serving("listens", SOCK_STREAM);
    if (fork() == 0) { /* takes what connects */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            struct pollfd ready = {server, POLLIN, 0};
            if (poll(&ready, 1, 200) > 0)
                close(accept(server, NULL, NULL));
        }
    }
    for (int at = 2; at < argc; at++) {
        wrong = over = 0;
        if (!strcmp(argv[at], "threads"))
            several();
        if (!strcmp(argv[at], "signals"))
            signals();
        if (!strcmp(argv[at], "waits"))
            waits(0), waits(1);
        if (!strcmp(argv[at], "kills"))
            kills();
        if (!strcmp(argv[at], "stops"))
            stops();
        if (!strcmp(argv[at], "executes"))
            executes(argv[0]);
        if (!strcmp(argv[at], "hostile"))
            hostile();
        printf("%s: %d wrong\n", argv[at], wrong);
    }
    return 0;
}
