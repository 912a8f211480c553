/* What starts an executable whose runner is compressed: puts the runner where it was linked for, and enters it.
 *
 * It is the entry point of the file that the kernel starts. It maps memory at the runner's addresses, decodes each segment right
 * there, gives it its rights, and points the kernel's notes for the C library (the auxiliary vector) to the runner's own program
 * headers. From there on the process is what it would have been, but that its interpreter lies in memory of its own. No page
 * can be written and run at once. What was needed to decode is given back.
 *
 * There is no C library here, and no data that is written to. docs/formats/runner.md specifies what is read.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <emmintrin.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ZSTD_STATIC_LINKING_ONLY
#include "zstd.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define PAGE ((uintptr_t)4096)
#define VERSION 1

/* How an executable ends that cannot start; pyembed ends it so too. */
#define STATUS 2

/* How a segment was changed to compress better. */
enum { PLAIN = 0, X86_CALLS = 1 };

struct piece {
    uint64_t address; /* 0 for what is in the file alone */
    uint64_t in_memory;
    uint64_t length;
    uint64_t frame; /* from the header on */
    uint64_t frame_length;
    uint32_t rights; /* as PF_R, PF_W, PF_X */
    uint32_t filter;
};

struct header {
    char magic[8];
    uint32_t version;
    uint32_t count;
    uint64_t length;
    uint64_t elf; /* the address of the runner's ELF header */
    uint8_t digest[32];
    uint32_t crc; /* of all before and behind it, to the end of the pieces */
    uint32_t zero;
    struct piece pieces[];
};

/* --- The system --------------------------------------------------------------- */

static long system_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
}

/* Memory at an address, or anywhere for 0; 0 if there is none. */
static uintptr_t map(uintptr_t address, size_t length)
{
    /* All of it will be written to, and faults one by one cost more. A kernel before 4.17 takes the address as a wish. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | (address ? MAP_FIXED_NOREPLACE : 0);
    long got = system_call(SYS_mmap, (long)address, (long)length, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (got < 0 && got > -4096)
        return 0;
    return address && (uintptr_t)got != address ? 0 : (uintptr_t)got;
}

static void unmap(uintptr_t address, size_t length)
{
    system_call(SYS_munmap, (long)address, (long)length, 0, 0, 0, 0);
}

/* Whether the eight bytes at an address can be read, which they cannot behind the end of a file that was cut short. The kernel reads
 * them before it finds the request to be none. */
static int is_readable(uintptr_t address)
{
    return system_call(SYS_rt_sigprocmask, -1, (long)address, 0, 8, 0, 0) != -EFAULT;
}

/* --- Trouble ------------------------------------------------------------------ */

struct line {
    char text[512];
    size_t length;
};

static void say(struct line *line, const char *text)
{
    for (; *text && line->length < sizeof line->text - 1; text++)
        line->text[line->length++] = *text;
}

static void say_number(struct line *line, uint64_t number)
{
    char digits[21], *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    say(line, first);
}

/* Ends the process with one line, as pyembed does. */
static _Noreturn void fail(const char *program, const char *what, uint64_t number, const char *rest)
{
    struct line line = {.length = 0};
    const char *name = program;
    for (; *program; program++)
        if (*program == '/')
            name = program + 1;
    say(&line, name);
    say(&line, ": error: executable: ");
    say(&line, what);
    if (number)
        say_number(&line, number);
    say(&line, rest);
    line.text[line.length++] = '\n';
    system_call(SYS_write, 2, (long)line.text, (long)line.length, 0, 0, 0);
    for (;;)
        system_call(SYS_exit_group, STATUS, 0, 0, 0, 0, 0);
}

/* --- Decoding ----------------------------------------------------------------- */

static uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        crc ^= bytes[at];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
    }
    return crc;
}

static int is_whole(const struct header *header, size_t available)
{
    static const char magic[8] = "PYOXRUNR";
    if (__builtin_memcmp(header->magic, magic, sizeof magic) != 0 || header->version != VERSION)
        return 0;
    size_t records = header->count * sizeof(struct piece);
    if (records > available - sizeof *header)
        return 0;
    const uint8_t *bytes = (const uint8_t *)header;
    uint32_t crc = crc32(~0u, bytes, offsetof(struct header, crc));
    crc = crc32(crc, bytes + offsetof(struct header, zero), sizeof *header - offsetof(struct header, zero) + records);
    return ~crc == header->crc;
}

/* Turns the targets of calls and jumps, which were made absolute, into distances again. */
static void restore_calls(uint8_t *code, size_t length)
{
    const __m128i either = _mm_set1_epi8((char)0xfe), call = _mm_set1_epi8((char)0xe8);
    const int64_t end = (int64_t)length;
    size_t at = 0;
    while (at + 5 <= length) {
        if (at + 16 <= length) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(code + at));
            unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(bytes, either), call));
            if (!found) {
                at += 16;
                continue;
            }
            at += (size_t)__builtin_ctz(found);
            if (at + 5 > length)
                return;
        } else if ((code[at] & 0xfe) != 0xe8) {
            at++;
            continue;
        }
        int64_t behind = (int64_t)at + 5;
        uint32_t stored;
        __builtin_memcpy(&stored, code + at + 1, 4);
        int64_t value = (int32_t)__builtin_bswap32(stored);
        if (value >= 0 && value < end)
            value -= behind;
        else if (value < 0 && value >= -behind)
            value += end;
        stored = (uint32_t)value;
        __builtin_memcpy(code + at + 1, &stored, 4);
        at += 5;
    }
}

static void place(const struct header *header, const struct piece *piece, ZSTD_DCtx *decoder, size_t available, const char *program)
{
    uintptr_t start = piece->address & -PAGE;
    uintptr_t end = (piece->address + piece->in_memory + PAGE - 1) & -PAGE;
    if (piece->frame > available || piece->frame_length > available - piece->frame || piece->length > piece->in_memory)
        fail(program, "its compressed runner is damaged", 0, "");
    if (!map(start, end - start))
        fail(program, "the system gives no ", end - start, " bytes of memory for the interpreter: is it limited, as by `ulimit -v`?");
    if (piece->length) {
        const uint8_t *frame = (const uint8_t *)header + piece->frame;
        size_t got = ZSTD_decompressDCtx(decoder, (void *)piece->address, piece->length, frame, piece->frame_length);
        if (got != piece->length)
            fail(program, "its compressed runner is damaged", 0, "");
    }
    if (piece->filter == X86_CALLS)
        restore_calls((uint8_t *)piece->address, piece->length);
}

/* Puts a file's pages in the place of memory, with the same bytes: pages that were never written to. */
static int replace(uintptr_t start, size_t length, int rights)
{
    long file = system_call(SYS_memfd_create, (long)"runner", MFD_CLOEXEC, 0, 0, 0, 0);
    if (file < 0)
        return 0;
    size_t done = 0;
    while (done < length) {
        long wrote = system_call(SYS_write, file, (long)(start + done), (long)(length - done), 0, 0, 0);
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    long got = -1;
    if (done == length)
        got = system_call(SYS_mmap, (long)start, (long)length, rights, MAP_PRIVATE | MAP_FIXED, file, 0);
    system_call(SYS_close, file, 0, 0, 0, 0, 0);
    return (uintptr_t)got == start;
}

static void protect(const struct piece *piece, const char *program)
{
    uintptr_t start = piece->address & -PAGE;
    uintptr_t end = (piece->address + piece->in_memory + PAGE - 1) & -PAGE;
    int rights = (piece->rights & PF_R ? PROT_READ : 0) | (piece->rights & PF_W ? PROT_WRITE : 0) | (piece->rights & PF_X ? PROT_EXEC : 0);
    /* A process can be denied that what was written becomes code, as by systemd's MemoryDenyWriteExecute. */
    if (system_call(SYS_mprotect, (long)start, (long)(end - start), rights, 0, 0, 0) != 0 && !replace(start, end - start, rights))
        fail(program, "the system lets nothing that was written become code: link it without `--small`", 0, "");
}

/* --- The start ---------------------------------------------------------------- */

/* Gives the address to go on at. `stack` is what the kernel has left: arguments, environment, auxiliary vector. */
uintptr_t unpack(uintptr_t *stack)
{
    char **arguments = (char **)(stack + 1);
    const char *program = stack[0] ? arguments[0] : "";
    char **environment = arguments + stack[0] + 1;
    while (*environment)
        environment++;
    Elf64_auxv_t *notes = (Elf64_auxv_t *)(environment + 1), *phdr = 0, *phnum = 0, *entry = 0;
    for (Elf64_auxv_t *note = notes; note->a_type != AT_NULL; note++) {
        phdr = note->a_type == AT_PHDR ? note : phdr;
        phnum = note->a_type == AT_PHNUM ? note : phnum;
        entry = note->a_type == AT_ENTRY ? note : entry;
    }
    if (!phdr || !phnum || !entry)
        fail(program, "the system does not tell where its program headers are", 0, "");

    /* How far the compressed runner goes: its segment is one of those that the kernel has mapped. */
    const struct header *header = (const struct header *)RUNNER_ADDRESS;
    const Elf64_Phdr *own = (const Elf64_Phdr *)phdr->a_un.a_val;
    size_t own_count = phnum->a_un.a_val, available = 0;
    for (size_t number = 0; number < own_count; number++)
        if (own[number].p_type == PT_LOAD && own[number].p_vaddr == RUNNER_ADDRESS)
            available = own[number].p_filesz;
    if (available < sizeof *header || !is_readable(RUNNER_ADDRESS + available - 8) || !is_whole(header, available))
        fail(program, "its compressed runner is damaged", 0, "");

    size_t room = ZSTD_estimateDCtxSize();
    uintptr_t work = map(0, room);
    if (!work)
        fail(program, "the system gives no ", room, " bytes of memory to unpack its interpreter");
    ZSTD_DCtx *decoder = ZSTD_initStaticDCtx((void *)work, room);
    for (uint32_t number = 0; number < header->count; number++)
        if (header->pieces[number].address)
            place(header, &header->pieces[number], decoder, available, program);

    /* The segments that the file has itself, which is the blob's, are where the file has them and as long as there. */
    Elf64_Ehdr *runner = (Elf64_Ehdr *)header->elf;
    Elf64_Phdr *segments = (Elf64_Phdr *)(header->elf + runner->e_phoff);
    for (size_t number = 0; number < runner->e_phnum; number++)
        for (size_t other = 0; other < own_count; other++)
            if (segments[number].p_type == PT_LOAD && own[other].p_type == PT_LOAD && own[other].p_vaddr == segments[number].p_vaddr)
                segments[number] = own[other];
    for (uint32_t number = 0; number < header->count; number++)
        if (header->pieces[number].address)
            protect(&header->pieces[number], program);

    phdr->a_un.a_val = (uintptr_t)segments;
    phnum->a_un.a_val = runner->e_phnum;
    entry->a_un.a_val = runner->e_entry;
    unmap(work, room);
    unmap(RUNNER_ADDRESS, (available + PAGE - 1) & -PAGE);
    return runner->e_entry;
}

/* The first instruction of all. The runner finds the stack and the registers as the kernel has left them. */
__asm__(".section .text.enter, \"ax\", @progbits\n"
        ".globl enter\n"
        "enter:\n"
        "    xorl %ebp, %ebp\n"
        "    movq %rsp, %rbx\n"
        "    movq %rsp, %rdi\n"
        "    andq $-16, %rsp\n"
        "    call unpack\n"
        "    movq %rbx, %rsp\n"
        "    xorl %edx, %edx\n"
        "    jmp *%rax\n"
        ".previous\n");

/* --- What compilers and the decoder take for granted ---------------------------- */

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
    return start;
}

void *memset(void *to, int byte, size_t length)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(byte) : "memory");
    return start;
}

void *memmove(void *to, const void *from, size_t length)
{
    if ((uintptr_t)to - (uintptr_t)from >= length)
        return memcpy(to, from, length);
    for (size_t at = length; at-- > 0;)
        ((volatile uint8_t *)to)[at] = ((const uint8_t *)from)[at];
    return to;
}

int memcmp(const void *one, const void *other, size_t length)
{
    const uint8_t *a = one, *b = other;
    for (size_t at = 0; at < length; at++)
        if (a[at] != b[at])
            return a[at] - b[at];
    return 0;
}

/* The decoder has all of its memory beforehand. */
void *malloc(size_t length)
{
    (void)length;
    return 0;
}

void *calloc(size_t count, size_t length)
{
    (void)count, (void)length;
    return 0;
}

void free(void *memory)
{
    (void)memory;
}
