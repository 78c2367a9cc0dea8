/* SPDX-License-Identifier: MIT */
/* The translator's working state for one block, and what its files share. */
#pragma once

#include "engine/translate/cpu.h"
#include "engine/translate/emit.h"
#include "engine/translate/insn.h"

#define BLOCK_MAX 96
#define UNROLL_MAX 8 /* copies of a loop's body */
#define AHEAD_MAX 4 /* branches that a block goes on behind */
#define AHEAD_INSNS 32 /* so far, in a block that goes on */
#define STUBS_MAX (BLOCK_MAX * 3)

/* Where the guest's arithmetic flags are. */
enum flags_home {
	FLAGS_HOST,
	FLAGS_LAZY, /* in cpu->flags */
	FLAGS_DEAD, /* nowhere; nobody will ask */
};

/* A guest memory operand. */
struct gmem {
	i8 base, index; /* guest registers, -1: none */
	u8 scale;
	u8 seg;
	bool a32; /* the address wraps at 4 GiB */
	bool rip_rel; /* disp moves with the page that the code is on */
	i64 disp;
	i8 group; /* -1: has a check of its own */
	i64 goff;
};

#define GROUPS_MAX 32
#define GROUP_PAGE 0xfffe
#define GROUP_NO_INDEX 0xffff

/* What a register holds: a value's number, plus an offset. */
struct value {
	u16 nr;
	i64 off;
};

/* Accesses that share a check: see group.c. */
struct group {
	u16 base, index; /* value numbers, or GROUP_PAGE and GROUP_NO_INDEX */
	u64 page; /* GROUP_PAGE: constant addresses on this page */
	u8 scale;
	u8 members;
	bool write;
	bool checked; /* the check has been emitted */
	bool located; /* cpu->group_origin has been set */
	i64 lo, hi; /* the bytes, as offsets from base + index * scale */
	struct site *site;
	const struct insn *first; /* member */
	/* Of a loop's stream: see loop.c. */
	i64 stride; /* bytes per iteration */
	bool base_moves, index_moves;
	u64 *origin; /* where what does not move is added up */
};

enum mem_form {
	FORM_BASE, /* [base + S1 + disp]; S0 is free */
	FORM_SUM, /* [S0 + S1] */
	FORM_PAGE, /* [S1 + disp]: constant address; S0 is free */
	FORM_POINTER, /* [S0 + disp]: S0 stays for others of the group; S1 is free */
};

struct tr;

struct stub {
	i8 group; /* whose check this is; -1: one access's */
	i64 plain_table; /* L0 table that the check uses; 0: the site */
	u8 *slow; /* rel32 of the branch that comes here */
	u8 *retry, *hit, *after;
	struct site *site;
	const struct insn *in;
	enum mem_form form;
	struct mem m; /* the operand as the inline code uses it */
	struct gmem g;
	gva_t address; /* FORM_PAGE */
	enum flags_home flags; /* at the check */
	enum flags_home flags_op; /* just before the operation */
	enum flags_home flags_after;
	void (*op)(struct tr *t, const struct insn *in, struct mem m, enum mem_form form); /* stores: the operation */
};

struct gather_stub {
	struct cpu *cpu;
	const struct insn *in;
	struct gather_form f;
	struct window *window; /* NULL: a scatter */
	enum flags_home flags;
	u8 *slow[4]; /* rel32s of the branches that come here */
	unsigned nslow;
	u8 *after;
};

struct pending_exit {
	u8 *patch; /* rel32 to be aimed at the exit's stub; NULL for slots */
	u32 exit;
	bool poll;
};

struct tr {
	struct emit e; /* first: emitters take it */
	struct cpu *cpu;
	u32 frag;
	u64 pc;
	u8 mode;
	bool code32;
	const u8 *page; /* host address of the guest's code page */
	struct codepage *cp;
	bool fixed; /* virtual addresses may be built in */
	u8 *hot; /* the cursor of the inline code while the cold part is written */
	u8 *cold_start;
	struct insn insns[BLOCK_MAX];
	unsigned n;
	u64 next; /* guest address after the block */
	enum flags_home flags;
	const struct insn *cur;
	struct stub stubs[STUBS_MAX];
	unsigned nstubs;
	struct gather_stub gathers[BLOCK_MAX];
	unsigned ngathers;
	struct group groups[GROUPS_MAX];
	unsigned ngroups;
	struct value reg_end[16]; /* registers at the block's end */
	u8 turned; /* MODE_* that the block's last instruction has changed */
	bool flags_dead; /* where the block begins */
	bool windowed; /* a loop that checks once for many iterations: see loop.c */
	unsigned copies;
	const struct group *lead; /* its stream with the longest stride */
	/* Whose origin is in S0; whose addend, or (from GROUPS_MAX on) origin, is in S1; -1: none. */
	int s0_group, s1_group;
	struct pending_exit exits[8 + UNROLL_MAX + AHEAD_MAX + GROUPS_MAX];
	unsigned nexits;
	u8 *to_leave[2]; /* rel32s of an indirect branch's ways out */
	unsigned nto_leave;
	u8 *ret_miss; /* rel32 of the return site's way out, and what it adds to S0 */
	i64 ret_rel;
	u8 *start;
};

/* ---- flags ---- */
u16 flags_live_before(const struct insn *in);
/* Puts live flags away before something clobbers them. Uses S0. */
void flags_put_away(struct tr *t, u16 live);
/* Brings the flags back to the host's register if `in` needs them there. */
void flags_for(struct tr *t, const struct insn *in, bool s0_free);
void flags_save(struct tr *t);
void flags_restore(struct tr *t, bool s0_free);

/* ---- access.c ---- */
/*
 * Emits the check of a guest memory operand; the result is valid until S0 and
 * S1 are used otherwise. op: for stores, the operation that the slow path
 * repeats on the bounce buffer (it must be emitted inline next by access_done).
 */
struct mem access_check(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags,
			enum mem_form *form);
/* A checked store: check, flags, op, and the bookkeeping for its slow path. */
void access_store(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags,
		  void (*op)(struct tr *, const struct insn *, struct mem, enum mem_form));
void access_stubs(struct tr *t);
struct gmem insn_gmem(const struct tr *t, const struct insn *in);
struct gmem stack_gmem(const struct tr *t, i64 disp);
/* Computes an effective address (with segment base) into S0. */
void emit_ea(struct tr *t, const struct gmem *g);

/* ---- gather.c ---- */
void emit_gather(struct tr *t, const struct insn *in);
void gather_stubs(struct tr *t);

/* The test of a group's bytes from lo on. S0: the offset in the page; a miss jumps to s->slow, which is yet to be aimed. */
void group_test(struct tr *t, const struct gmem *g, struct group *gr, i64 lo, unsigned size, struct stub *s);

/* ---- group.c ---- */
void group_block(struct tr *t);
/* Those who are alone in their group get a check of their own. */
void group_prune(struct tr *t);

/* ---- loop.c ---- */
/* A block that is a loop: finds its streams, or unrolls it. */
void loop_prepare(struct tr *t);
void loop_emit(struct tr *t);
struct mem loop_access(struct tr *t, const struct insn *in, const struct gmem *g, enum mem_form *form);

/* ---- translate.c ---- */
void emit_insn(struct tr *t, const struct insn *in);

/* ---- inline.c ---- */
/* False: the instruction is one for its helper. */
bool emit_inline(struct tr *t, const struct insn *in);
bool inline_turns(const struct tr *t, const struct insn *in); /* it changes MODE_AC */

/* ---- look.c ---- */
u16 exit_liveness(struct tr *t, u64 target); /* flags that the code at target may read */

/* ---- mangle.c ---- */
void emit_normal(struct tr *t, const struct insn *in);
void emit_with(struct tr *t, const struct insn *in, const struct mem *m); /* as it is, but for its operand */
void emit_lea(struct tr *t, const struct insn *in);
int host_reg(int guest); /* -1: homed in memory */
void home_load(struct tr *t, unsigned host, unsigned guest);
void home_store(struct tr *t, unsigned guest, unsigned host);
/* Guest register value in a host register: its own, or loaded into scratch. */
unsigned reg_value(struct tr *t, unsigned guest, unsigned scratch);

/* ---- flow.c ---- */
void emit_push(struct tr *t, const struct insn *in);
void emit_push_tmp1(struct tr *t, const struct insn *in); /* what is in cpu->tmp1 */
void emit_pop(struct tr *t, const struct insn *in);
void emit_leave(struct tr *t, const struct insn *in);
void emit_branch(struct tr *t, const struct insn *in); /* ends the block */
void emit_helper(struct tr *t, const struct insn *in, sysinsn_fn fn);
/* Has C code look at an access before it is made; see MODE_CHECK. */
void emit_access_helper(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags);
/* The way out to the rest of the block without groups: its jump is at e.p. */
void emit_single(struct tr *t, u64 pc);
void emit_poll(struct tr *t, u64 target); /* looks for events, on the way back to target */
void emit_goto(struct tr *t, u64 target); /* leaves the block for a guest address */
void flow_stubs(struct tr *t);

void pcmap_add(struct tr *t, const struct insn *in);
/* A guest virtual address near the code into a register; leaves flags alone. */
void emit_va(struct tr *t, unsigned reg, u64 va);
