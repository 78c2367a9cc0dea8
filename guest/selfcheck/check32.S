/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit static program without a C library: arithmetic that only this mode
 * encodes, system calls by int 0x80 and by the way that the kernel offers.
 */
	.code32
	.globl _start
	.text
_start:
	mov	%esp, %ebp		/* argc, argv, environment, auxiliary vector */

	/* One-byte INC and DEC (REX prefixes in 64-bit mode). */
	mov	$41, %eax
	inc	%eax
	mov	$'a', %ebx
	call	print

	/* Adjustments after decimal arithmetic. */
	mov	$0x15, %eax
	add	$0x27, %al
	daa
	mov	$'b', %ebx
	call	print
	mov	$7, %eax
	mov	$9, %ecx
	mul	%cl
	aam
	mov	$'c', %ebx
	call	print

	/* PUSHA and POPA. */
	mov	$1000, %ecx
	mov	$337, %edx
	pusha
	xor	%ecx, %ecx
	xor	%edx, %edx
	popa
	lea	(%ecx, %edx), %eax
	mov	$'d', %ebx
	call	print

	/* 64-bit arithmetic in halves: 30! modulo 2^64, low and high. */
	mov	$1, %esi
	xor	%edi, %edi
	mov	$2, %ecx
1:	mov	%esi, %eax
	mul	%ecx
	push	%eax
	push	%edx
	mov	%edi, %eax
	mul	%ecx
	pop	%edx
	add	%edx, %eax
	mov	%eax, %edi
	pop	%esi
	inc	%ecx
	cmp	$31, %ecx
	jne	1b
	mov	%esi, %eax
	mov	$'e', %ebx
	call	print
	mov	%edi, %eax
	mov	$'f', %ebx
	call	print

	/* 16-bit addressing and operands, string instructions, loops. */
	mov	$buffer, %edi
	mov	$100, %ecx
	mov	$0x5a, %al
	cld
	rep stosb
	mov	$buffer, %esi
	mov	$100, %ecx
	xor	%edx, %edx
	xor	%eax, %eax
2:	lodsb
	add	%eax, %edx
	ror	$3, %dx
	loop	2b
	mov	%edx, %eax
	mov	$'g', %ebx
	call	print

	/* Segment registers: the stack through ES, thread-area descriptor in GS. */
	push	%ds
	pop	%es
	mov	$0x1234567, %eax
	mov	%eax, buffer
	mov	%es:buffer, %eax
	mov	$'h', %ebx
	call	print
	mov	$243, %eax		/* set_thread_area */
	mov	$area, %ebx
	int	$0x80
	mov	area, %eax
	lea	3(, %eax, 8), %eax
	mov	%ax, %gs
	mov	%gs:8, %eax
	mov	$'i', %ebx
	call	print

	/* x87: 2 to the 10.5th, as an integer. */
	fldl	half
	f2xm1
	fld1
	faddp
	fildl	ten
	fxch
	fscale
	fistpl	buffer
	fstp	%st(0)
	mov	buffer, %eax
	mov	$'j', %ebx
	call	print

	/* The kernel's preferred entry: AT_SYSINFO (32) in the auxiliary vector. */
	mov	(%ebp), %eax
	lea	8(%ebp, %eax, 4), %esi
3:	lodsl
	test	%eax, %eax
	jnz	3b
4:	lodsl
	mov	%eax, %ecx
	lodsl
	test	%ecx, %ecx
	jz	5f
	cmp	$32, %ecx
	jne	4b
	mov	%eax, %esi
	mov	$4, %eax
	mov	$1, %ebx
	mov	$vdso_text, %ecx
	mov	$vdso_len, %edx
	call	*%esi
	mov	$'k', %ebx
	call	print
5:
	mov	$1, %eax
	xor	%ebx, %ebx
	int	$0x80
	hlt

/* Prints "check32 <bl>: <eax in hex>". */
print:
	mov	%bl, line_tag
	mov	$line_end - 1, %edi
	mov	$8, %ecx
1:	mov	%eax, %edx
	and	$15, %edx
	mov	digits(%edx), %dl
	dec	%edi
	mov	%dl, (%edi)
	shr	$4, %eax
	loop	1b
	mov	$4, %eax
	mov	$1, %ebx
	mov	$line, %ecx
	mov	$line_end - line, %edx
	int	$0x80
	ret

	.data
line:	.ascii "check32 "
line_tag: .ascii "x: "
	.ascii "00000000\n"
line_end:
digits:	.ascii "0123456789abcdef"
vdso_text: .ascii "check32: system call through the vDSO\n"
	.equ	vdso_len, . - vdso_text
	.balign	8
half:	.double	0.5
ten:	.long	10
	/* struct user_desc: any entry, base at tls, 4 KiB, 32-bit, writable, usable */
area:	.long	-1, tls, 4096
	.long	0x41
tls:	.long	0, 0, 0x600df00d
	.bss
buffer:	.space	128

	.section .note.GNU-stack, "", @progbits
