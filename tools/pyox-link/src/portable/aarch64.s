// Where a portable runner starts. The start code of a current glibc would ask for a current glibc.

    .text
    .globl _start
    .type _start, %function
_start:
    .cfi_startproc
    .cfi_undefined x30
    mov x29, #0
    mov x30, #0
    mov x5, x0                      // what to run at the end, from the loader
    ldr x1, [sp]                    // argc
    add x2, sp, #8                  // argv
    mov x6, sp                      // the end of the stack
    mov x4, #0
    adrp x3, initialize
    add x3, x3, :lo12:initialize
    adrp x0, :got:main
    ldr x0, [x0, :got_lo12:main]
    bl __libc_start_main
    brk #0
    .cfi_endproc
    .size _start, . - _start

// Before 2.34, glibc leaves it to the program to call its initialisers: with argc, argv and the environment.
    .type initialize, %function
initialize:
    .cfi_startproc
    stp x29, x30, [sp, #-64]!
    .cfi_adjust_cfa_offset 64
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    stp x19, x20, [sp, #16]
    stp x21, x22, [sp, #32]
    str x23, [sp, #48]
    mov w19, w0
    mov x20, x1
    mov x21, x2
    adrp x22, __init_array_start
    add x22, x22, :lo12:__init_array_start
    adrp x23, __init_array_end
    add x23, x23, :lo12:__init_array_end
1:
    cmp x22, x23
    b.eq 2f
    ldr x3, [x22], #8
    mov w0, w19
    mov x1, x20
    mov x2, x21
    blr x3
    b 1b
2:
    ldp x19, x20, [sp, #16]
    ldp x21, x22, [sp, #32]
    ldr x23, [sp, #48]
    ldp x29, x30, [sp], #64
    .cfi_adjust_cfa_offset -64
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size initialize, . - initialize

// By its address the C library knows whose destructors of thread-local variables to run.
    .data
    .balign 8
    .globl __dso_handle
    .hidden __dso_handle
    .type __dso_handle, %object
    .size __dso_handle, 8
__dso_handle:
    .xword __dso_handle

    .hidden __init_array_start
    .hidden __init_array_end
    .section .note.GNU-stack, "", %progbits
