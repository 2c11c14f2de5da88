/* What execrace.c executes. Its very first instructions leave a mark if it is not what was judged:
 * it makes the directory "began" where it runs. No library, so that nothing of it comes before.
 * The byte behind MARK says what it is, or its first argument. */
#include <sys/syscall.h>

static volatile const char mark[] = "MARK:good";

static long call(long number, long one, long two)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(one), "S"(two) : "rcx", "r11", "memory");
	return result;
}

__attribute__((noreturn, used)) static void begin(long *stack)
{
	char **argv = (char **)(stack + 1);
	if (mark[5] == 'e' || (stack[0] > 1 && argv[1][0] == 'e'))
		call(SYS_mkdir, (long)"/proc/self/cwd/began", 0755);
	for (;;)
		call(SYS_exit_group, 0, 0);
}

__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
