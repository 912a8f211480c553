/* A program that a blob joins, and that says of itself what a compressed one could get wrong. */

#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

__asm__(".section .pyox_blob, \"a\", @progbits\n.balign 4096\n.globl pyox_blob\npyox_blob: .zero 4096\n.previous\n");
extern const char pyox_blob[];
extern const ElfW(Ehdr) __ehdr_start;

static int zeroed[50000], written = 7;
static _Thread_local int own = 5;
static int constructed;
static const int constants[3] = {1, 2, 3};
static int (*const functions[])(const char *) = {puts};

__attribute__((constructor)) static void construct(void)
{
    constructed = 1;
}

static void *on_a_thread(void *sum)
{
    *(int *)sum += own;
    return sum;
}

static int visit(struct dl_phdr_info *info, size_t size, void *length)
{
    (void)size;
    for (int number = 0; number < info->dlpi_phnum; number++)
        if (info->dlpi_phdr[number].p_type == PT_LOAD && info->dlpi_phdr[number].p_vaddr == (uintptr_t)pyox_blob)
            *(size_t *)length = info->dlpi_phdr[number].p_filesz;
    return 0;
}

int main(int count, char **arguments)
{
    int sum = constants[count] + written++ + zeroed[49999] + constructed;
    pthread_t thread;
    pthread_create(&thread, 0, on_a_thread, &sum);
    pthread_join(thread, 0);
    functions[0](arguments[count - 1]);
    char *memory = malloc(100000);
    memset(memory, 1, 100000);
    size_t length = 0;
    dl_iterate_phdr(visit, &length);
    printf("%d %.*s %d %d\n", sum, (int)length, pyox_blob, getauxval(AT_PHDR) == (uintptr_t)&__ehdr_start + __ehdr_start.e_phoff,
        getauxval(AT_ENTRY) == __ehdr_start.e_entry);
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        char *rights = strchr(line, ' ') + 1;
        if (rights[1] == 'w' && rights[2] == 'x')
            printf("written and run: %s", line);
    }
    return 3;
}
