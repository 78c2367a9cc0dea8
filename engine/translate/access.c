/* SPDX-License-Identifier: MIT */
/*
 * Memory accesses. Each access site caches the page that it hit last:
 *
 *	lea  S0, [address]
 *	sub  S0, [site.tag]
 *	cmp  S0, 4096 - size
 *	ja   slow
 *	mov  S1, [site.addend]
 *	op   [base + S1 + disp]
 *
 * so that the operation's address does not wait for a table. The slow way
 * looks into the soft TLB, then walks; what cannot be reached directly (MMIO,
 * two pages, a page with translated code) goes through a bounce buffer.
 */
#include "engine/translate/tr.h"

struct gmem insn_gmem(const struct tr *t, const struct insn *in)
{
	return (struct gmem){
		.base = in->base,
		.index = in->index,
		.scale = in->scale,
		.seg = in->seg,
		.a32 = t->code32 || in->addrsize < 8,
		.disp = in->disp,
		.rip_rel = in->rip_rel,
		.group = in->group,
		.goff = in->goff,
	};
}

struct gmem stack_gmem(const struct tr *t, i64 disp)
{
	return (struct gmem){ .base = RSP, .index = -1, .scale = 1, .seg = SEG_SS, .a32 = t->code32, .disp = disp,
			      .group = t->cur->sgroup, .goff = t->cur->sgoff };
}

static bool has_seg_base(const struct tr *t, const struct gmem *g)
{
	return g->seg == SEG_FS || g->seg == SEG_GS || t->mode & MODE_BASES;
}

static struct mem ea_regs(struct tr *t, const struct gmem *g)
{
	struct mem m = { MEM_ABS, -1, g->scale ? g->scale : 1, g->disp };

	if (g->base >= 0)
		m.base = (i8)reg_value(t, (unsigned)g->base, S0);
	if (g->index >= 0)
		m.index = (i8)reg_value(t, (unsigned)g->index, S1);
	return m;
}

static void emit_constant_address(struct tr *t, const struct gmem *g)
{
	u64 a = g->a32 ? (u32)g->disp : (u64)g->disp;

	if (g->rip_rel)
		emit_va(t, S0, a);
	else
		mov_imm(&t->e, S0, a);
}

void emit_ea(struct tr *t, const struct gmem *g)
{
	struct emit *e = &t->e;

	if (g->base < 0 && g->index < 0) {
		emit_constant_address(t, g);
	} else {
		op_rm(e, !g->a32, 0x8d, S0, ea_regs(t, g));
		if (t->cur && t->cur->addrsize == 2 && t->cur->mem)
			op_rr(e, false, 0x0fb7, S0, S0);
	}
	if (!has_seg_base(t, g))
		return;
	ld(e, S1, mem_at(&t->cpu->x.s.seg[g->seg].base));
	op_rm(e, !t->code32, 0x8d, S0, mem_index(S0, S1, 0));
}

static struct site *new_site(struct tr *t, const struct insn *in, unsigned size, unsigned flags)
{
	struct cpu *cpu = t->cpu;
	struct site *s = &cpu->sites[cpu->nsites];
	struct site_meta *meta = &cpu->site_meta[cpu->nsites++];

	site_clear(s);
	s->size = (u16)size;
	s->flags = (u8)flags;
	s->insn_len = in->len;
	s->misses = 0;
	meta->page = t->cpu->frags[t->frag].page;
	meta->off = in->pc & 0xfff;
	meta->plain = false;
	meta->lane = in->lane;
	meta->mask_reg = in->mask_reg;
	return s;
}

static enum mem_form form_of(const struct tr *t, const struct gmem *g, unsigned size)
{
	if (has_seg_base(t, g))
		return FORM_SUM;
	if (g->base < 0 && g->index < 0 && ((u64)g->disp & 0xfff) + size <= PAGE_SIZE)
		return FORM_PAGE;
	if (g->base >= 0 && g->index < 0 && !g->a32 && host_reg(g->base) >= 0)
		return FORM_BASE;
	return FORM_SUM;
}

static bool is_plain(const struct tr *t, const struct insn *in)
{
	unsigned off = in->pc & 0xfff;

	return t->cp->plain[off >> 3] >> (off & 7) & 1;
}

/* S0 = address: the check against the L0 table. Leaves S0 - tag in S0, the entry's offset in S1. */
static void emit_l0_check(struct tr *t, struct stub *s, unsigned size, bool write)
{
	struct emit *e = &t->e;
	unsigned mode = t->mode & MODE_USER ? TLB_USER : t->mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;
	i64 table = (i64)(u64)t->cpu->l0[mode][write];

	t->cpu->site_meta[s->site - t->cpu->sites].plain = true;
	s->plain_table = table;
	op_rr(e, false, 0x8b, S1, S0);
	op_rr(e, false, 0xc1, 5, S1), e1(e, PAGE_SHIFT - 5); /* shr */
	op_ri(e, false, 4, S1, (L0_SIZE - 1) << 5);
	op_rm(e, true, 0x2b, S0, mem_base(S1, table + (i64)offsetof(struct l0_entry, tag)));
	op_ri(e, true, 7, S0, (i32)(PAGE_SIZE - size));
	s->slow = jcc_fwd(e, CC_A);
}

static struct mem l0_field(const struct stub *s, size_t field)
{
	return mem_base(S1, s->plain_table + (i64)field);
}

/* A site whose address never changes is valid or not. Returns the rel32 of the way out. */
static u8 *emit_page_check(struct tr *t, struct site *site)
{
	op_rm_imm(&t->e, false, 0x83, 7, mem_at((u8 *)&site->tag + 4), 1); /* cmp dword, 0 */
	e1(&t->e, 0);
	return jcc_fwd(&t->e, CC_NE);
}

/* Of size bytes from lo on, counted as the group counts. S0: the offset in the page; a miss jumps to s->slow. */
void group_test(struct tr *t, const struct gmem *g, struct group *gr, i64 lo, unsigned size, struct stub *s)
{
	struct emit *e = &t->e;
	struct gmem low = *g;

	low.disp += lo - g->goff;
	if (!gr->site) {
		gr->site = new_site(t, gr->first, (unsigned)(gr->hi - gr->lo), gr->write ? SITE_WRITE : SITE_READ);
		gr->site->insn_len = 0;
	}
	*s = (struct stub){ .in = gr->first, .site = gr->site, .group = (i8)(gr - t->groups), .form = FORM_SUM,
			    .retry = e->p, .flags = t->flags };
	t->s0_group = t->s1_group = -1;
	if (gr->base == GROUP_PAGE) {
		s->form = FORM_PAGE;
		s->g = low;
		gr->site->flags |= SITE_CONST;
		s->slow = emit_page_check(t, gr->site);
		return;
	}
	emit_ea(t, &low);
	if (is_plain(t, gr->first)) {
		emit_l0_check(t, s, size, gr->write);
		ld(e, S1, l0_field(s, offsetof(struct l0_entry, addend)));
		st(e, mem_at(&gr->site->addend), S1);
		t->s1_group = s->group;
		return;
	}
	op_rm(e, true, 0x2b, S0, mem_at(&s->site->tag));
	op_ri(e, true, 7, S0, (i32)(PAGE_SIZE - size));
	s->slow = jcc_fwd(e, CC_A);
}

/* The check of a whole group; a miss that C cannot mend leaves for MODE_SINGLE. */
static void group_check(struct tr *t, const struct insn *in, const struct gmem *g, struct group *gr)
{
	flags_put_away(t, flags_live_before(in));
	gr->checked = true;
	group_test(t, g, gr, gr->lo, (unsigned)(gr->hi - gr->lo), &t->stubs[t->nstubs++]);
}

/*
 * Members with an index: the host address of the group's origin, which is the
 * same all over the block, in S0 or S1; two groups can take turns. offset: S0
 * has where in its page the group begins, from its check.
 */
static struct mem group_pointer(struct tr *t, const struct gmem *g, struct group *gr, bool offset, enum mem_form *form)
{
	struct emit *e = &t->e;
	u64 *slot = &t->cpu->group_origin[g->group];
	int in_s1 = g->group + GROUPS_MAX; /* S1 may as well hold the group's addend */
	struct gmem origin = *g;

	if (!gr->located) {
		origin.disp -= g->goff;
		if (!offset)
			emit_ea(t, &origin);
		ld(e, S1, mem_at(offset ? &gr->site->host : &gr->site->addend));
		lea(e, S0, mem_index(S0, S1, offset ? -gr->lo : 0));
		st(e, mem_at(slot), S0);
		gr->located = true;
		t->s0_group = g->group;
		t->s1_group = -1;
	}
	if (t->s0_group < 0 && t->s1_group != in_s1) {
		ld(e, S0, mem_at(slot));
		t->s0_group = g->group;
	}
	if (t->s0_group == g->group) {
		*form = FORM_POINTER;
		return mem_base(S0, g->goff);
	}
	if (t->s1_group != in_s1)
		ld(e, S1, mem_at(slot));
	t->s1_group = in_s1;
	*form = FORM_PAGE;
	return mem_base(S1, g->goff);
}

/* A member's operand: its own address plus the addend that the group's check found. */
static struct mem group_access(struct tr *t, const struct insn *in, const struct gmem *g, enum mem_form *form)
{
	struct emit *e = &t->e;
	struct group *gr = &t->groups[g->group];
	bool offset = !gr->checked && !is_plain(t, in);

	if (t->windowed)
		return loop_access(t, in, g, form);
	if (!gr->checked)
		group_check(t, in, g, gr);
	if (gr->base == GROUP_PAGE) {
		*form = FORM_PAGE;
		if (t->s1_group != g->group)
			ld(e, S1, mem_at(&gr->site->host));
		t->s1_group = g->group;
		return mem_base(S1, g->goff);
	}
	if (g->index < 0 && host_reg(g->base) >= 0) {
		*form = FORM_BASE;
		if (t->s1_group != g->group)
			ld(e, S1, mem_at(&gr->site->addend));
		t->s1_group = g->group;
		return mem_index(host_reg(g->base), S1, g->disp);
	}
	return group_pointer(t, g, gr, offset, form);
}

struct mem access_check(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags,
			enum mem_form *form_out)
{
	struct emit *e = &t->e;
	struct stub *s = &t->stubs[t->nstubs++];
	enum mem_form form = form_of(t, g, size);
	struct mem m;

	if (g->group >= 0) {
		t->nstubs--;
		return group_access(t, in, g, form_out);
	}
	t->s0_group = t->s1_group = -1;
	s->group = -1;
	s->plain_table = 0;
	if (t->mode & MODE_CHECK || (t->code32 && g->seg == SEG_CS))
		emit_access_helper(t, in, g, size, site_flags);
	flags_put_away(t, flags_live_before(in));
	s->in = in;
	s->form = *form_out = form;
	if (g->seg == SEG_SS)
		site_flags |= SITE_SS;
	s->site = new_site(t, in, size, site_flags | (form == FORM_PAGE ? SITE_CONST : 0u));
	s->flags = t->flags;
	s->op = NULL;
	s->g = *g;
	s->address = g->a32 ? (u32)g->disp : (u64)g->disp;
	s->retry = e->p;
	if (form == FORM_PAGE) {
		s->slow = emit_page_check(t, s->site);
		ld(e, S1, mem_at(&s->site->host));
		m = mem_base(S1, (i64)(s->address & 0xfff));
	} else if (is_plain(t, in)) {
		emit_ea(t, g);
		emit_l0_check(t, s, size, site_flags & SITE_WRITE);
		ld(e, S1, l0_field(s, form == FORM_BASE ? offsetof(struct l0_entry, addend) : offsetof(struct l0_entry, host)));
		m = form == FORM_BASE ? mem_index(host_reg(g->base), S1, g->disp) : mem_index(S0, S1, 0);
	} else {
		emit_ea(t, g);
		op_rm(e, true, 0x2b, S0, mem_at(&s->site->tag));
		op_ri(e, true, 7, S0, (i32)(PAGE_SIZE - size));
		s->slow = jcc_fwd(e, CC_A);
		ld(e, S1, mem_at(form == FORM_BASE ? &s->site->addend : &s->site->host));
		m = form == FORM_BASE ? mem_index(host_reg(g->base), S1, g->disp) : mem_index(S0, S1, 0);
	}
	s->hit = e->p;
	s->m = m;
	return m;
}

void access_store(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags,
		  void (*op)(struct tr *, const struct insn *, struct mem, enum mem_form))
{
	enum mem_form form;
	struct stub *s = &t->stubs[t->nstubs];
	struct mem m = access_check(t, in, g, size, site_flags | SITE_WRITE, &form);

	flags_for(t, in, form == FORM_BASE || form == FORM_PAGE);
	if (g->group >= 0) {
		pcmap_add(t, in);
		op(t, in, m, form);
		if (in->fl_write || in->fl_partial)
			t->flags = FLAGS_HOST;
		return;
	}
	s->op = op;
	pcmap_add(t, in);
	op(t, in, m, form);
	if (in->fl_write || in->fl_partial)
		t->flags = FLAGS_HOST;
	s->after = t->e.p;
	s->flags_after = t->flags;
}

/* After the miss routine returned for the bounce buffer: S0 and S1 suit the form. */
static void stub_bounce_store(struct tr *t, struct stub *s)
{
	struct emit *e = &t->e;

	t->cur = s->in;
	t->flags = s->flags;
	flags_for(t, s->in, s->form != FORM_SUM);
	pcmap_add(t, s->in);
	s->op(t, s->in, s->m, s->form);
	if (s->flags_after == FLAGS_HOST) {
		t->flags = FLAGS_HOST;
		flags_save(t);
	}
	mov_imm(e, S1, (u64)s->site);
	call_to(e, t->cpu->fn_finish_write);
	if (s->flags_after == FLAGS_HOST)
		flags_restore(t, true);
	jmp_to(e, (u64)s->after);
}

void access_stubs(struct tr *t)
{
	struct emit *e = &t->e;

	for (unsigned i = 0; i < t->nstubs; i++) {
		struct stub *s = &t->stubs[i];

		fix_to(s->slow, e->p);
		if (s->plain_table)
			op_rm(e, true, 0x03, S0, l0_field(s, offsetof(struct l0_entry, tag)));
		else if (s->form == FORM_PAGE)
			emit_constant_address(t, &s->g);
		else
			op_rm(e, true, 0x03, S0, mem_at(&s->site->tag));
		mov_imm(e, S1, (u64)s->site);
		call_to(e, s->plain_table ? t->cpu->fn_miss_plain :
			   s->site->flags & SITE_WRITE ? t->cpu->fn_miss_write : t->cpu->fn_miss_read);
		jmp_to(e, (u64)s->retry);
		t->flags = s->flags;
		if (s->group >= 0)
			emit_single(t, s->in->pc);
		else if (s->op)
			stub_bounce_store(t, s);
		else
			jmp_to(e, (u64)s->hit);
	}
}
