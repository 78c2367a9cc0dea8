/* SPDX-License-Identifier: MIT */
/* What differs between the silicon and the engine, in words. */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#include "tests/diff/diff.h"

static const char *const names[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

#define LINES_MAX 24

struct report {
	bool print;
	unsigned lines;
	bool same;
};

static void differ(struct report *r, const char *what, u64 native, u64 guest)
{
	r->same = false;
	if (r->print && r->lines++ < LINES_MAX)
		printf("  %-12s native %016llx  engine %016llx\n", what, (unsigned long long)native, (unsigned long long)guest);
}

static void word(struct report *r, const char *what, u64 native, u64 guest)
{
	if (native != guest)
		differ(r, what, native, guest);
}

static void bytes(struct report *r, const char *what, const u8 *native, const u8 *guest, unsigned len)
{
	char name[48];
	u64 a, b;

	if (!memcmp(native, guest, len))
		return;
	for (unsigned i = 0; i < len; i += 8) {
		unsigned n = MIN(8, len - i);

		a = b = 0;
		memcpy(&a, native + i, n);
		memcpy(&b, guest + i, n);
		snprintf(name, sizeof(name), "%s+%u", what, i);
		word(r, name, a, b);
	}
}

static void fpu(struct report *r, const u8 *native, const u8 *guest)
{
	char name[16];
	u64 bv;

	memcpy(&bv, native + 512, 8);
	bytes(r, "fcw fsw", native, guest, 4);
	bytes(r, "ftw", native + 4, guest + 4, 1);
	bytes(r, "mxcsr", native + 24, guest + 24, 4);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "st%u", i);
		bytes(r, name, native + 32 + i * 16, guest + 32 + i * 16, 10);
	}
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "xmm%u", i);
		bytes(r, name, native + 160 + i * 16, guest + 160 + i * 16, 16);
	}
	/* Standard format, the offsets are the same: both were saved here. */
	bytes(r, "extended", native + 576, guest + 576, 2432 - 576);
}

static const char *page_name(unsigned page)
{
	return page < PAGE_LOW ? "code" : page < PAGE_HIGH ? "low" : page < PAGE_STACK ? "high" : "stack";
}

static void memory(struct report *r, const struct diff_shared *sh)
{
	char name[32];

	for (unsigned i = 0; i < MEM_SIZE; i += 8) {
		u64 a, b;

		memcpy(&a, sh->mem + i, 8);
		memcpy(&b, sh->guest_mem + i, 8);
		if (a == b)
			continue;
		snprintf(name, sizeof(name), "%s %llx", page_name(i / 4096),
			 (unsigned long long)(page_at(i / 4096) + i % 4096));
		differ(r, name, a, b);
	}
}

/* Flags that are dead may differ where the stream faulted; so may nothing else. */
static u64 flags_compared(const struct diff_state *st)
{
	return (st->vector == VEC_BP ? FL_ARITH : 0) | FL_DF | FL_ID | FL_NT;
}

static void exception(struct report *r, const struct diff_state *a, const struct diff_state *b)
{
	word(r, "vector", a->vector, b->vector);
	word(r, "rip", a->rip, b->rip);
	if (a->vector != b->vector)
		return;
	/* Linux hides whether a kernel address is mapped. */
	if (a->vector == VEC_PF && (i64)a->cr2 < 0)
		word(r, "error", a->error | 1, b->error | 1);
	else if (a->vector != VEC_BP)
		word(r, "error", a->error, b->error);
	if (a->vector == VEC_PF)
		word(r, "cr2", a->cr2, b->cr2);
}

/* A guest at CPL 0 makes supervisor accesses. */
static struct diff_state as_user(const struct diff_shared *sh)
{
	struct diff_state st = sh->guest;

	if (sh->test.kernel && st.vector == VEC_PF)
		st.error |= 4;
	return st;
}

/* A call to a non-canonical address: the engine finds out when it has stored the return address. */
static bool wild_call(const struct diff_state *a, const struct diff_shared *sh)
{
	u64 at = a->rip - CODE_AT;
	ZydisDisassembledInstruction in;

	return a->vector == VEC_GP && at < CODE_BYTES - 16 &&
	       ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, sh->test.mem + at, 16, &in)) &&
	       in.info.meta.category == ZYDIS_CATEGORY_CALL;
}

/* A misaligned operand that is not mapped either: silicon looks at the alignment first. */
static bool misaligned(const struct diff_state *a, const struct diff_state *b)
{
	return a->vector == VEC_GP && (b->vector == VEC_PF || b->vector == VEC_SS) && a->rip == b->rip && !a->error;
}

/* MASKMOVQ and MASKMOVDQU: silicon may fault on bytes that are not stored. */
static bool is_maskmov(const struct diff_shared *sh)
{
	const u8 *p = sh->test.mem + (sh->native.rip - CODE_AT);

	if (sh->native.rip - CODE_AT >= CODE_BYTES - 16)
		return false;
	for (unsigned i = 0; i < 5; i++)
		if (p[i] == 0x0f)
			return p[i + 1] == 0xf7;
	return false;
}

/* An x87 exception that waits, and a fault of the operand: which comes first is the silicon's business. */
static bool waited(const struct diff_state *a, const struct diff_state *b)
{
	return a->vector == VEC_MF && (b->vector == VEC_PF || b->vector == VEC_GP || b->vector == VEC_SS) && a->rip == b->rip;
}

/* A gather or scatter at native's RIP: how much is done when it faults is not defined. */
static bool is_vsib(const struct diff_shared *sh)
{
	u64 at = sh->native.rip - CODE_AT;
	ZydisDisassembledInstruction in;

	if (sh->native.vector == VEC_BP || at >= CODE_BYTES - 16 ||
	    !ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, sh->test.mem + at, 16, &in)))
		return false;
	return in.info.meta.category == ZYDIS_CATEGORY_GATHER || in.info.meta.category == ZYDIS_CATEGORY_SCATTER ||
	       in.info.meta.category == ZYDIS_CATEGORY_AVX2GATHER;
}

/* VEXTRACTF32X4 and its kin look at all of their operand, whatever the mask says. */
static bool is_extract(const struct diff_shared *sh)
{
	u64 at = sh->native.rip - CODE_AT;
	ZydisDisassembledInstruction in;

	return at < CODE_BYTES - 16 && sh->native.vector != VEC_BP &&
	       ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, 0, sh->test.mem + at, 16, &in)) &&
	       in.info.meta.exception_class == ZYDIS_EXCEPTION_CLASS_E6NF && in.info.avx.mask.reg > ZYDIS_REGISTER_K0 &&
	       in.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

bool diff_compare(const struct diff_shared *sh, bool print)
{
	const struct diff_state *a = &sh->native;
	struct diff_state b = as_user(sh);
	struct report r = { .print = print, .same = true };
	u64 mask = flags_compared(a);
	bool vsib = is_vsib(sh);

	if ((a->vector == VEC_PF || a->vector == VEC_GP) && is_maskmov(sh))
		return true;
	if (is_extract(sh))
		return true;
	if (wild_call(a, sh) || misaligned(a, &b) || waited(a, &b))
		return true;
	if (print)
		printf("  native ended with vector %u at %llx\n", a->vector, (unsigned long long)a->rip);
	if (b.status != DIFF_DONE)
		differ(&r, "status", a->status, b.status);
	if (vsib) {
		b.cr2 = a->cr2;
		if (a->vector == VEC_SS && b.vector == VEC_GP)
			b.vector = VEC_SS;
	}
	exception(&r, a, &b);
	for (unsigned i = 0; i < 16; i++)
		word(&r, names[i], a->gpr[i], b.gpr[i]);
	word(&r, "rflags", a->rflags & mask, b.rflags & mask);
	if (!vsib) {
		fpu(&r, a->xsave, b.xsave);
		memory(&r, sh);
	}
	return r.same;
}

/* ---- listing ---- */

static bool is_filler(const struct diff_case *test, const struct atom *a)
{
	for (unsigned i = 0; i < a->len; i++)
		if (test->mem[a->at + i] != 0x90)
			return false;
	return a->len > 0;
}

void diff_disassemble(const struct diff_case *test)
{
	ZydisDisassembledInstruction in;

	for (unsigned i = 0; i < 16; i++)
		printf("  %-3s %016llx%s", names[i], (unsigned long long)test->init.gpr[i], i % 4 == 3 ? "\n" : "");
	printf("  fs %llx gs %llx rflags %llx fcw %x mxcsr %x\n", (unsigned long long)test->init.fs_base,
	       (unsigned long long)test->init.gs_base, (unsigned long long)test->init.rflags,
	       *(const u16 *)test->init.xsave, *(const u32 *)(test->init.xsave + 24));
	for (unsigned i = 0; i < test->natoms; i++) {
		const struct atom *a = &test->atom[i];

		if (is_filler(test, a))
			continue;
		if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, CODE_AT + a->at, test->mem + a->at, a->len, &in)))
			snprintf(in.text, sizeof(in.text), "(bad)");
		printf("  %llx: %-50s ;", (unsigned long long)(CODE_AT + a->at), in.text);
		for (unsigned k = 0; k < a->len; k++)
			printf(" %02x", test->mem[a->at + k]);
		printf("\n");
	}
}
