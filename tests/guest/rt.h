/* SPDX-License-Identifier: MIT */
/*
 * The runtime of the guest images: descriptor tables, traps that can be
 * expected, page tables that can be edited, serial output, the exit port.
 */
#pragma once

#include "lib/types.h"
#include "x86/insn.h"
#include "x86/state.h"

/* What an entry stub leaves on the stack; gpr[RSP] is not the interrupted one. */
struct frame {
	u64 gpr[16];
	u64 vec, err;
	u64 rip, cs, rflags, rsp, ss;
};

/* A named part of an image; `only=NAME` on the command line runs just that one. */
struct section {
	const char *name;
	void (*run)(void);
};

extern const struct section sections[]; /* ends with a null name; each image defines it */

/* Selectors. */
enum {
	KCODE32 = 0x08,
	KCODE = 0x10,
	KDATA = 0x18,
	UCODE32 = 0x23,
	UDATA = 0x2b,
	UCODE = 0x33,
	UDATA2 = 0x3b,
	TSS_SEL = 0x40,
	NP_DATA = 0x50,
	CODE16 = 0x58,
	SMALL_DATA = 0x60,
	NP_CODE = 0x78,
	GATE = 0x80,
	SPARE = 0x90,
	GDT_SLOTS = 24,
};

/* Page table bits. */
enum { P = 1, W = 2, U = 4, PWT = 8, PCD = 16, A = 32, D = 64, PS = 128, G = 256 };
#define NX BIT(63)
#define PTE_ADDR 0x000ffffffffff000ull

/* Page fault error code bits are P, W, U and these. */
enum { PF_RSVD = 8, PF_FETCH = 16 };

/* Test windows in the address space; nothing is mapped there until a test does. */
#define VTEST 0x8000000000ull
#define UTEXT 0x10000000000ull
#define USTACK (UTEXT + 0x20000)
#define LOW_WINDOW 0x60000000ull /* below 4 GiB, for 32-bit code; not identity mapped */

enum { UEXIT = 0x80 }; /* the vector, open to ring 3, with which user code ends */

/* Traps. */
extern struct frame last; /* the trap that ended the last guard() */
extern u64 last_cr2, guard_rsp;
extern bool (*hooks[256])(struct frame *f); /* true: handled, go on where it says */
bool guard(void *fn, u64 a, u64 b);
void enter(struct frame *f);
extern char enter_iret[], guard_out[];
void gate(int vec, int dpl, int ist);
void gate_absent(int vec);
void gate_to(int vec, void *target, int dpl, int ist);
void triple_fault(void);
extern u64 gdt[GDT_SLOTS];
extern char ist_stacks[8][4096];

/*
 * user() copies code [from, to) to a user page and runs it in ring 3; it ends
 * with any trap, which `last` describes; UEXIT is the ordinary end.
 */
void user(const void *from, const void *to, u64 rdi, u64 rsi);
void user_at(u64 rip, u64 cs, u64 rflags, u64 rdi, u64 rsi);
#define USER(name, rdi, rsi) user(name, name##_end, rdi, rsi)

/* A piece of assembly with a label NAME_ip where the fault is expected. */
#define SNIP(name, text)                                                                                     \
	__asm__(".pushsection .text\n.globl " #name ", " #name "_end\n" #name ":\n" text "\n" #name          \
		"_end:\nret\nint3\n"                                                                         \
		".popsection");                                                                              \
	extern char name[], name##_end[]
#define SNIP_IP(name, pre, text)                                                                             \
	SNIP(name, pre "\n.globl " #name "_ip\n" #name "_ip:\n" text);                                       \
	extern char name##_ip[]

/* Results. */
void check(const char *name, u64 got, u64 want);
void check_n(const char *name, u64 index, u64 got, u64 want);
void skip(const char *name, const char *why);
void expect(const char *name, void *fn, u64 a, u64 b, u64 rip, u64 vec, u64 err);
/* SNIP_IP in ring 0 must fault at its label with this vector and error code. */
#define EXPECT(name, a, b, vec, err) expect(#name, name, a, b, (u64)name##_ip, vec, err)
/* The same, but copied to user memory and run in ring 3. */
void expect_user(
	const char *name, const void *from, const void *to, const void *ip, u64 a, u64 b, u64 vec, u64 err);
#define EXPECT_USER(name, a, b, vec, err)                                                                    \
	expect_user(#name "/user", name, name##_end, name##_ip, a, b, vec, err)
void finish(void) __attribute__((noreturn));
void put(const char *s);
void put_hex(u64 v);

/* Memory. */
u64 page_alloc(void); /* a zeroed physical page, identity mapped */
u64 pages_alloc(int n, int align_log2);
u64 *pte_at(u64 va, int level); /* level 1: 4 KiB, 2: 2 MiB, 3: 1 GiB; makes the tables above */
void map(u64 va, u64 pa, u64 flags);
void unmap(u64 va);
extern u64 pml4[512];

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* The processor. */
bool is_intel(void);
bool is_tcg(void); /* QEMU without hardware assistance */

static inline u64 rd_cr0(void)
{
	u64 v;
	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	return v;
}
static inline u64 rd_cr2(void)
{
	u64 v;
	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}
static inline u64 rd_cr3(void)
{
	u64 v;
	__asm__ volatile("mov %%cr3, %0" : "=r"(v));
	return v;
}
static inline u64 rd_cr4(void)
{
	u64 v;
	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}
static inline u64 rd_cr8(void)
{
	u64 v;
	__asm__ volatile("mov %%cr8, %0" : "=r"(v));
	return v;
}
static inline void wr_cr0(u64 v)
{
	__asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
static inline void wr_cr3(u64 v)
{
	__asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
static inline void wr_cr4(u64 v)
{
	__asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}
static inline void wr_cr8(u64 v)
{
	__asm__ volatile("mov %0, %%cr8" ::"r"(v) : "memory");
}
static inline void invlpg(u64 va)
{
	__asm__ volatile("invlpg (%0)" ::"r"(va) : "memory");
}
static inline void flush(void)
{
	wr_cr3(rd_cr3());
}

static inline u64 rd_msr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void wr_msr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rd_flags(void)
{
	u64 v;

	__asm__ volatile("pushfq; popq %0" : "=r"(v)::"memory");
	return v;
}

enum {
	MSR_APIC_BASE = 0x1b,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP,
	MSR_SYSENTER_EIP,
	MSR_TSC_DEADLINE = 0x6e0
};
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
