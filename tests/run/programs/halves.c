/* Makes calls with rubbish above the bits of their registers that the kernel looks at.
 *
 * halves ENTRY HIGH: by int80 or syscall, with HIGH as the upper half of what has 32 bits there.
 * From standard input a call a line, its number and arguments:
 *   5       an int: 32 bits, through either entry
 *   l5      a long, or any number that fills a register of the 64-bit entry
 *   s:text  a pointer to a string
 *   d:0001  a pointer to these bytes
 *   w:1,'a  a pointer to words: numbers, and pointers to strings
 *   b:      a pointer to room; what is there afterwards is printed as a string
 * Prints what each returned.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { BASE = 0x10000000, ROOM = 1 << 20 };

static int by_int80;
static uint64_t high;
static char *next, *room;

static long enter(long nr, const uint64_t a[6])
{
	long result;
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	if (!by_int80) {
		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
				 : "rcx", "r11", "memory");
		return result;
	}
	__asm__ volatile("push %%rbp\n\tmov %7, %%rbp\n\tint $0x80\n\tpop %%rbp"
			 : "=a"(result)
			 : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]), "r"(r9)
			 : "memory", "r11", "r10", "r8");
	return (int)result;
}

static char *put(const void *bytes, size_t size)
{
	char *at = next;
	memcpy(at, bytes, size);
	next += (size + 15) / 16 * 16;
	return at;
}

static uint64_t words(char *text)
{
	uint64_t found[16] = {0};
	unsigned packed[16], count = 0;
	char *rest = text, *one;
	while ((one = strsep(&rest, ",")) && count < 16)
		found[count++] = *one == '\'' ? (uint64_t)put(one + 1, strlen(one)) : strtoull(one, 0, 0);
	for (unsigned i = 0; i < count; i++)
		packed[i] = (unsigned)found[i];
	return (uint64_t)(by_int80 ? put(packed, 4 * count) : put(found, 8 * count));
}

static uint64_t bytes(const char *hex)
{
	unsigned char found[64];
	unsigned count = 0;
	for (; hex[0] && hex[1] && count < sizeof found; hex += 2)
		sscanf(hex, "%2hhx", &found[count++]);
	return (uint64_t)put(found, count);
}

static uint64_t value(char *text)
{
	uint64_t number;
	if (text[1] != ':') {
		number = strtoull(text + (*text == 'l'), 0, 0);
		return by_int80 || *text != 'l' ? (uint32_t)number | high << 32 : number;
	}
	number = *text == 's'	? (uint64_t)put(text + 2, strlen(text + 2) + 1)
		 : *text == 'd' ? bytes(text + 2)
		 : *text == 'w' ? words(text + 2)
				: (uint64_t)(room = put(text, 1));
	if (*text == 'b')
		next += 4096;
	return by_int80 ? number | high << 32 : number;
}

int main(int argc, char **argv)
{
	char line[4096];
	if (argc != 3)
		return 2;
	by_int80 = !strcmp(argv[1], "int80");
	high = strtoull(argv[2], 0, 16);
	next = mmap((void *)(long)BASE, ROOM, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	while (fgets(line, sizeof line, stdin)) {
		uint64_t args[6] = {0};
		char *rest = line, *one;
		long number, result;
		unsigned count = 0;
		line[strcspn(line, "\n")] = 0;
		number = strtol(strsep(&rest, " "), 0, 0);
		room = 0;
		while ((one = strsep(&rest, " ")) && count < 6)
			args[count++] = value(one);
		while (count < 6)
			args[count++] = by_int80 ? high << 32 : 0;
		result = enter(number, args);
		printf("%ld %s\n", result < 0 ? result : 0, room ? room : "");
		fflush(stdout);
	}
	return 0;
}
