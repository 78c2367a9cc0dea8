/* SPDX-License-Identifier: MIT */
/*
 * The start of every guest image: a Linux bzImage header, a real-mode and
 * 32-bit path into long mode for loaders that use the old entry, and the 64-bit
 * entry at 0x200 of the protected-mode part that both paths share.
 */
	.section .setup, "ax"
	.code16
setup_base:
	.org 0x1f1
	.byte 4				/* setup_sects */
	.word 0
	.long image_paragraphs		/* syssize */
	.word 0
	.word 0xffff			/* vid_mode */
	.word 0
	.word 0xaa55
	jmp real_start
	.ascii "HdrS"
	.word 0x020f			/* version */
	.long 0
	.word 0
	.word 0				/* kernel_version */
	.byte 0
	.byte 1				/* loadflags: LOADED_HIGH */
	.word 0
	.long image_start		/* code32_start */
	.long 0, 0, 0			/* ramdisk_image, ramdisk_size, bootsect_kludge */
	.word 0, 0
	.long 0				/* cmd_line_ptr */
	.long 0x7fffffff		/* initrd_addr_max */
	.long 0x100000			/* kernel_alignment */
	.byte 0				/* relocatable_kernel */
	.byte 20			/* min_alignment */
	.word 1				/* xloadflags: XLF_KERNEL_64 */
	.long 255			/* cmdline_size */
	.long 0
	.quad 0
	.long 0, 0
	.quad 0				/* setup_data */
	.quad image_start		/* pref_address */
	.long image_init_size
	.long 0, 0

real_start:
	cli
	cld
	xorl	%esi, %esi
	movw	%ds, %si
	shll	$4, %esi		/* the linear address of this header */
	lgdtl	boot_gdtr - setup_base
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x10, $image_start

	.balign 8
boot_gdtr:
	.word 0x1f
	.long boot_gdt
	.org 5 * 512

	.section .head, "ax"
	.code32
	.globl start32
start32:
	movw	$0x18, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	%cr4, %eax
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$boot_pdpt + 3, boot_pml4
	movl	$boot_pd + 3, boot_pdpt
	movl	$boot_pd, %edi
	movl	$0x83, %eax
1:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	cmpl	$0x40000083, %eax
	jne	1b
	movl	$boot_pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	ljmpl	$8, $start64

	.balign 8
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad 0x00cf9b000000ffff	/* 0x10: 32-bit code */
	.quad 0x00cf93000000ffff	/* 0x18: data */

	.org 0x200
	.code64
	.globl start64
start64:
	cli
	cld
	movq	%rsi, %rbx
	leaq	stack_top(%rip), %rsp
	leaq	__bss_start(%rip), %rdi
	leaq	__bss_end(%rip), %rcx
	subq	%rdi, %rcx
	xorl	%eax, %eax
	rep stosb
	movq	%rbx, %rdi
	call	rt_start
1:	hlt
	jmp	1b

	.text
/* Entry stubs: vector n at trap_stubs + 16 * n. */
	.globl trap_stubs
	.balign 16
trap_stubs:
	n = 0
	.rept 256
	.balign 16
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21)
	pushq	$0
	.endif
	pushq	$n
	jmp	trap_common
	n = n + 1
	.endr

	.balign 16
trap_common:
	pushq	%r15
	pushq	%r14
	pushq	%r13
	pushq	%r12
	pushq	%r11
	pushq	%r10
	pushq	%r9
	pushq	%r8
	pushq	%rdi
	pushq	%rsi
	pushq	%rbp
	pushq	%rsp
	pushq	%rbx
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	cld
	movq	%rsp, %rdi
	call	trap
	movq	%rsp, %rdi

/* void enter(struct frame *f): loads every register and leaves by iretq. */
	.globl enter
enter:
	movq	%rdi, %rsp
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rbx
	addq	$8, %rsp
	popq	%rbp
	popq	%rsi
	popq	%rdi
	popq	%r8
	popq	%r9
	popq	%r10
	popq	%r11
	popq	%r12
	popq	%r13
	popq	%r14
	popq	%r15
	addq	$16, %rsp
	.globl enter_iret
enter_iret:
	iretq

/* bool guard(fn, a, b): calls fn(a, b); true when a trap ended it (see `last`). */
	.globl guard, guard_out
guard:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	guard_rsp(%rip)
	movq	%rsp, guard_rsp(%rip)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	call	*%rax
	movq	guard_rsp(%rip), %rsp
	xorl	%eax, %eax
	jmp	1f
guard_out:
	movl	$1, %eax
1:	popq	guard_rsp(%rip)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

/* void triple_fault(void) */
	.globl triple_fault
triple_fault:
	pushq	$0
	pushq	$0
	lidt	(%rsp)
	int3
	ret

	.data
	.balign 4096
boot_pml4:
	.fill 4096, 1, 0
boot_pdpt:
	.fill 4096, 1, 0
boot_pd:
	.fill 4096, 1, 0

	.section .note.GNU-stack, "", @progbits
