/* SPDX-License-Identifier: MIT */
/*
 * Ways in: boot_entry from multiboot (32-bit protected mode, no paging, anywhere
 * below 4 GiB), efi_entry from UEFI (64-bit, paging on) and from there image_entry
 * of the copy that stays, ap_trampoline from a start-up IPI (real mode). All end
 * in C, in long mode, on a stack of ours. In front of the stack lies a struct cpu (hv/cpu.h).
 */
#define CPU_STACK 16384
#define EFER 0xc0000080

	.section .boot, "awx"

/* A label's address in 32-bit code: EBP holds where boot_base lies. */
#define AT(label) (label - boot_base)(%ebp)

	.macro load_segments
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	.endm

	.code32
	.globl boot_entry
boot_entry:
	cld
	cli
	/* The loader gave no stack, but its information has a field that nobody reads. */
	leal 8(%ebx), %esp
	call 1f
1:	popl %ebp
	subl $1b - boot_base, %ebp
	movl %eax, %esi /* magic */

	leal AT(boot_directories), %edi
	movl $0x83, %eax /* present, writable, 2 MiB */
2:	movl %eax, (%edi)
	addl $8, %edi
	addl $0x200000, %eax
	jnc 2b
	leal 3 + AT(boot_directories), %eax
	leal AT(boot_pdpt), %edi
	movl $4, %ecx
3:	movl %eax, (%edi)
	addl $8, %edi
	addl $4096, %eax
	loop 3b
	leal 3 + AT(boot_pdpt), %eax
	movl %eax, AT(boot_pml4)

	leal AT(boot_pml4), %eax
	movl %eax, %cr3
	movl $0x20, %eax /* PAE */
	movl %eax, %cr4
	movl $EFER, %ecx
	rdmsr
	orl $0x100, %eax /* LME */
	wrmsr
	movl $0x80000011, %eax
	movl %eax, %cr0

	leal AT(boot_gdt), %eax
	movl %eax, 2 + AT(boot_gdtr)
	lgdt AT(boot_gdtr)
	leal AT(boot_64), %eax
	movl %eax, AT(boot_far)
	ljmpl *AT(boot_far)

	.code64
boot_64:
	movl %esi, %edi /* magic */
	movl %ebx, %esi /* information */
	lea multiboot_main(%rip), %rbx
	jmp enter

/* EFI_STATUS efi_entry(EFI_HANDLE, EFI_SYSTEM_TABLE *): keeps what Microsoft's calling convention wants kept. */
#define EFI_NOT_FOUND 14
	.globl efi_entry
efi_entry:
	.irp reg, rbp, rbx, rdi, rsi, r12, r13, r14, r15
	push %\reg
	.endr
	pushfq
	sub $176, %rsp
	.irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups %xmm\n, (\n - 6) * 16(%rsp)
	.endr
	stmxcsr 160(%rsp)
	mov %rdx, %r12
	lea image_start(%rip), %rdi
	call relocate
	mov %r12, %rdi
	mov %rsp, %rsi
	lea efi_resume(%rip), %rdx
	call efi_start
	jmp 1f
efi_resume: /* here in guest mode: nothing to boot, so that the boot manager goes on to its next entry */
	mov $1 << 63 | EFI_NOT_FOUND, %rax
1:	.irp n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups (\n - 6) * 16(%rsp), %xmm\n
	.endr
	ldmxcsr 160(%rsp)
	add $176, %rsp
	popfq
	.irp reg, r15, r14, r13, r12, rsi, rdi, rbx, rbp
	pop %\reg
	.endr
	ret

/* image_entry(struct boot_info *) */
	.globl image_entry
image_entry:
	cli
	cld
	lea hv_main(%rip), %rbx
	lea boot_gdt(%rip), %rax
	mov %rax, boot_gdtr + 2(%rip)
	lgdt boot_gdtr(%rip)

/* RBX: the function to go to, RDI, RSI its arguments */
enter:
	lea boot_stack + CPU_STACK(%rip), %rsp
	pushq $8
	lea 1f(%rip), %rax
	pushq %rax
	lretq
1:	load_segments
	push %rdi
	push %rsi
	lea image_start(%rip), %rdi
	call relocate
	pop %rsi
	pop %rdi
	xorl %ebp, %ebp
	push %rbp
	jmp *%rbx

/*
 * Copied to a page below 1 MiB, whose words C fills in. CS is that page.
 * Real mode to long mode in one step.
 */
	.code16
	.globl ap_trampoline, ap_trampoline_end, ap_cr3, ap_gdtr, ap_far
ap_trampoline:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	lgdtl ap_gdtr - ap_trampoline
	movl $0x20, %eax
	movl %eax, %cr4
	movl ap_cr3 - ap_trampoline, %eax
	movl %eax, %cr3
	movl $EFER, %ecx
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl $0x80000011, %eax
	movl %eax, %cr0
	ljmpl *(ap_far - ap_trampoline)
	.balign 8
ap_cr3:	.quad 0
ap_gdtr: .skip 16
ap_far:	.long 0, 8
ap_trampoline_end:

	.code64
	.globl ap_entry, ap_stack
ap_entry:
	load_segments
	mov ap_stack(%rip), %rsp
	xorl %ebp, %ebp
	push %rbp
	jmp ap_main
	.balign 8
ap_stack: .quad 0

	.balign 8
	.globl boot_gdt
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 64-bit code */
	.quad 0x00cf93000000ffff /* data */
	.globl boot_gdtr
boot_gdtr:
	.word 23
	.quad 0
	.balign 8
boot_far: .long 0, 8

	.balign 4096
boot_base:
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_directories: .skip 4 * 4096

	.section .note.GNU-stack, "", @progbits
