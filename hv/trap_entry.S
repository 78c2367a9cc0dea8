/* SPDX-License-Identifier: MIT */
/* Exceptions of our own: all of them end in trap(struct trap_frame *). */
	.text
	.globl trap_entries
	.balign 16
trap_entries: /* 32 of them, 16 bytes each */
	.set vector, 0
	.rept 32
	.balign 16
	/* 8, 10 to 14, 17, 21, 29 and 30 have an error code from the CPU */
	.ifeq (0x60227d00 >> vector) & 1
	push $0
	.endif
	push $vector
	jmp common
	.set vector, vector + 1
	.endr

common:
	cld
	.irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rsp, rbx, rdx, rcx, rax
	push %\reg
	.endr
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call trap
	mov %rbp, %rsp
	.irp reg, rax, rcx, rdx, rbx
	pop %\reg
	.endr
	add $8, %rsp
	.irp reg, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
	pop %\reg
	.endr
	add $16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
