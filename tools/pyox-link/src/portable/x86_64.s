# Where a portable runner starts. The start code of a current glibc would ask for a current glibc.

    .text
    .globl _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined rip
    xorl %ebp, %ebp
    movq %rdx, %r9                  # what to run at the end, from the loader
    popq %rsi                       # argc
    movq %rsp, %rdx                 # argv
    andq $-16, %rsp
    pushq %rax
    pushq %rsp                      # the end of the stack
    xorl %r8d, %r8d
    leaq initialize(%rip), %rcx
    movq main@GOTPCREL(%rip), %rdi
    call *__libc_start_main@GOTPCREL(%rip)
    hlt
    .cfi_endproc
    .size _start, . - _start

# Before 2.34, glibc leaves it to the program to call its initialisers: with argc, argv and the environment.
    .type initialize, @function
initialize:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    movl %edi, %r12d
    movq %rsi, %r13
    movq %rdx, %r14
    leaq __init_array_start(%rip), %rbx
    leaq __init_array_end(%rip), %r15
1:
    cmpq %r15, %rbx
    je 2f
    movl %r12d, %edi
    movq %r13, %rsi
    movq %r14, %rdx
    call *(%rbx)
    addq $8, %rbx
    jmp 1b
2:
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size initialize, . - initialize

# By its address the C library knows whose destructors of thread-local variables to run.
    .data
    .balign 8
    .globl __dso_handle
    .hidden __dso_handle
    .type __dso_handle, @object
    .size __dso_handle, 8
__dso_handle:
    .quad __dso_handle

    .hidden __init_array_start
    .hidden __init_array_end
    .section .note.GNU-stack, "", @progbits
