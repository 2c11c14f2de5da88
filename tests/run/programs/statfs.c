/* What statfs(2) and its siblings say of each file that is named, byte for byte, and of no file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned char buffer[128];

static void show(const char *call, long result)
{
    printf("%s %ld %d", call, result, result < 0 ? errno : 0);
    for (unsigned at = 0; at < sizeof buffer; at++)
        printf(" %02x", buffer[at]);
    puts("");
    memset(buffer, 0xaa, sizeof buffer);
}

static void ask(const char *path)
{
    int fd = open(path, O_RDONLY);
    show("statfs", syscall(SYS_statfs, path, buffer));
    show("fstatfs", syscall(SYS_fstatfs, fd, buffer));
    show("nowhere", syscall(SYS_statfs, path, 8));
#ifdef SYS_statfs64
    for (int size = 83; size < 86; size++) {
        show("statfs64", syscall(SYS_statfs64, path, size, buffer));
        show("fstatfs64", syscall(SYS_fstatfs64, fd, size, buffer));
    }
#endif
    close(fd);
}

int main(int count, char **words)
{
    for (int at = 1; at < count; at++)
        ask(words[at]);
    return 0;
}
