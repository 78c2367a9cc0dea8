/* SPDX-License-Identifier: MIT */
/*
 * The world switch. GIF is clear on both sides of it. RFLAGS.IF is set while a
 * guest runs, since under V_INTR_MASKING it is the host's that lets physical
 * interrupts cause exits.
 */
	.text
	.globl	svm_enter
	.type	svm_enter, @function
svm_enter: /* rdi: u64 gpr[16]; rsi: the VMCB */
	.irp reg, rbx, rbp, r12, r13, r14, r15, rdi
	push	%\reg
	.endr
	mov	%rsi, %rax
	mov	0x08(%rdi), %rcx
	mov	0x10(%rdi), %rdx
	mov	0x18(%rdi), %rbx
	mov	0x28(%rdi), %rbp
	mov	0x30(%rdi), %rsi
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	\n * 8(%rdi), %r\n
	.endr
	mov	0x38(%rdi), %rdi
	sti
	vmrun	%rax
	cli
	pop	%rax /* gpr */
	mov	%rcx, 0x08(%rax)
	mov	%rdx, 0x10(%rax)
	mov	%rbx, 0x18(%rax)
	mov	%rbp, 0x28(%rax)
	mov	%rsi, 0x30(%rax)
	mov	%rdi, 0x38(%rax)
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	%r\n, \n * 8(%rax)
	.endr
	.irp reg, r15, r14, r13, r12, rbp, rbx
	pop	%\reg
	.endr
	ret
	.size	svm_enter, . - svm_enter
	.section .note.GNU-stack, "", @progbits
