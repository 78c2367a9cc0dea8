/* SPDX-License-Identifier: MIT */
/*
 * Fragments: finding, linking, and dropping them. They are keyed by guest
 * physical address and mode, so a change of mappings drops none;
 * it only voids the ways between pages (slots, IBL entries, predicted returns).
 */
#include "engine/translate/cpu.h"
#include "engine/translate/emit.h"

static unsigned hash_of(gpa_t gpa, u8 mode)
{
	u64 h = (gpa ^ (u64)mode << 48) * 0x9e3779b97f4a7c15ull;

	return (unsigned)(h >> (64 - FRAG_HASH_BITS));
}

struct fragment *frag_lookup(struct cpu *cpu, gpa_t gpa, u8 mode)
{
	for (u32 i = cpu->frag_hash[hash_of(gpa, mode)]; i; i = cpu->frags[i].hash_next) {
		struct fragment *f = &cpu->frags[i];

		if (f->gpa == gpa && f->mode == mode)
			return f;
	}
	return NULL;
}

u32 frag_alloc(struct cpu *cpu)
{
	return cpu->nfrags++;
}

/* ---- pages with code ---- */

static struct codepage *codepage_find(struct cpu *cpu, u64 gfn)
{
	struct codepage *p = cpu->pages[gfn & ((1u << PAGES_HASH_BITS) - 1)];

	while (p && p->gfn != gfn)
		p = p->next;
	return p;
}

/* Pages come from the arena and are only given back all at once. */
static struct codepage *codepage_get(struct cpu *cpu, u64 gfn)
{
	struct codepage *p = codepage_find(cpu, gfn);
	struct codepage **head = &cpu->pages[gfn & ((1u << PAGES_HASH_BITS) - 1)];

	if (p)
		return p;
	p = &cpu->page_pool[cpu->npages++];
	p->gfn = gfn;
	p->next = *head;
	p->frags = 0;
	p->vbase = ~0ull;
	p->epoch = 0;
	p->fixed = p->global = false;
	p->stores = 0;
	p->patience = 16;
	for (unsigned i = 0; i < sizeof(p->covered) / 8; i++)
		((u64 *)p->covered)[i] = ((u64 *)p->plain)[i] = 0;
	*head = p;
	return p;
}

static void cover(struct codepage *p, unsigned lo, unsigned hi)
{
	for (unsigned i = lo; i < hi && i < PAGE_SIZE; i++)
		p->covered[i >> 3] |= (u8)(1u << (i & 7));
}

u64 frag_pc(const struct cpu *cpu, const struct fragment *f)
{
	return cpu->page_pool[f->page].vbase + (f->gpa & 0xfff);
}

u64 exit_target(const struct cpu *cpu, const struct exit *x)
{
	const struct fragment *f = &cpu->frags[x->from];
	u64 target = cpu->page_pool[f->page].vbase + (u64)x->rel;

	return f->mode & MODE_CODE32 ? (u32)target : target;
}

static void kill_page_frags(struct cpu *cpu, struct codepage *p)
{
	while (p->frags)
		frag_kill(cpu, p->frags);
}

/*
 * Code follows its page to another virtual address for free when no way into
 * it can be left; else all ways are voided first. Built-in addresses cannot follow.
 */
struct codepage *codepage_enter(struct cpu *cpu, gpa_t gpa, u64 vpage, bool global)
{
	struct codepage *p = codepage_get(cpu, gpa >> PAGE_SHIFT);

	if (likely(p->vbase == vpage)) {
		p->epoch = cpu->virt_epoch;
		p->flushes = cpu->flushes;
		p->global |= global;
		return p;
	}
	if (p->vbase != ~0ull) {
		cpu->stats.rebases++;
		if (p->fixed)
			kill_page_frags(cpu, p);
		else if (p->global || p->epoch == cpu->virt_epoch)
			frag_unlink_virtual(cpu, p->global);
		if (p->flushes == cpu->flushes)
			tlb_drop_constants(cpu, (u32)(p - cpu->page_pool));
	}
	if (!p->frags)
		p->fixed = global;
	p->vbase = vpage;
	p->global = global;
	p->epoch = cpu->virt_epoch;
	p->flushes = cpu->flushes;
	return p;
}

void frag_publish(struct cpu *cpu, u32 index)
{
	struct fragment *f = &cpu->frags[index];
	u32 *head = &cpu->frag_hash[hash_of(f->gpa, f->mode)];
	struct codepage *p = codepage_get(cpu, f->gpa >> PAGE_SHIFT);
	unsigned off = f->gpa & 0xfff;

	f->hash_next = *head;
	*head = index;
	f->page_next = p->frags;
	p->frags = index;
	cover(p, off, off + f->len);
	if (f->look_hi)
		cover(p, f->look_lo, f->look_hi);
	if (f->gpa2) {
		p = codepage_get(cpu, f->gpa2 >> PAGE_SHIFT);
		f->page2_next = p->frags;
		p->frags = index;
		cover(p, 0, off + f->len - (unsigned)PAGE_SIZE);
	}
}

/* The link from f in the list of the page gfn. */
static u32 *page_link(struct fragment *f, u64 gfn)
{
	return f->gpa >> PAGE_SHIFT == gfn ? &f->page_next : &f->page2_next;
}

static void page_remove(struct cpu *cpu, u64 gfn, u32 index)
{
	struct codepage *p = codepage_find(cpu, gfn);
	u32 *link = &p->frags;

	while (*link && *link != index)
		link = page_link(&cpu->frags[*link], gfn);
	if (*link)
		*link = *page_link(&cpu->frags[index], gfn);
}

static void hash_remove(struct cpu *cpu, u32 index)
{
	struct fragment *f = &cpu->frags[index];
	u32 *link = &cpu->frag_hash[hash_of(f->gpa, f->mode)];

	while (*link && *link != index)
		link = &cpu->frags[*link].hash_next;
	if (*link)
		*link = f->hash_next;
}

/* ---- links ---- */

static void exit_unlink(struct exit *x)
{
	if (x->kind == EXIT_SLOT)
		x->slot = x->stub;
	else
		fix_to((u8 *)(u64)x->patch, (u8 *)(u64)x->stub);
	x->to = 0;
}

static void list_remove(struct cpu *cpu, u32 exit)
{
	struct exit *x = &cpu->exits[exit];
	u32 *link = &cpu->frags[x->listed].in;

	while (*link && *link != exit)
		link = &cpu->exits[*link].next;
	if (*link)
		*link = x->next;
	x->listed = 0;
}

static void link_log(struct cpu *cpu, u32 exit, bool global)
{
	struct exit *x = &cpu->exits[exit];
	u8 flag = global ? LINK_GLOBAL : LINK_LOCAL;

	if (x->logged & flag)
		return;
	x->logged |= flag;
	cpu->stats.slot_links++;
	if (global)
		cpu->links_global[cpu->nlinks_global++] = exit;
	else
		cpu->links[cpu->nlinks++] = exit;
}

void exit_link(struct cpu *cpu, u32 exit, u32 frag)
{
	struct exit *x = &cpu->exits[exit];
	struct fragment *f = &cpu->frags[frag];
	u64 host = x->lazy ? f->lazy : f->host;

	if (x->kind == EXIT_JUMP && !x->patch)
		return; /* the way out of a poll */
	if (x->kind == EXIT_SLOT)
		x->slot = host;
	else
		fix_to((u8 *)(u64)x->patch, (u8 *)host);
	x->to = frag;
	if (x->listed && x->listed != frag)
		list_remove(cpu, exit);
	if (!x->listed) {
		x->listed = frag;
		x->next = f->in;
		f->in = exit;
	}
	cpu->stats.links++;
	if (x->kind == EXIT_SLOT || f->gpa2)
		link_log(cpu, exit, f->global && cpu->frags[x->from].global);
}

static void unlink_log(struct cpu *cpu, u32 *log, u32 *n, u8 flag)
{
	for (u32 i = 0; i < *n; i++) {
		struct exit *x = &cpu->exits[log[i]];

		x->logged &= (u8)~flag;
		if (x->to)
			exit_unlink(x);
	}
	*n = 0;
}

static void ibl_clear_entry(struct ibl *ibl, u32 i)
{
	ibl->tag[i] = ~(u64)i;
}

static void ibl_clear_log(struct ibl *ibl, bool global)
{
	for (u32 i = 0; i < ibl->nlog[global]; i++)
		ibl_clear_entry(ibl, ibl->log[global][i]);
	ibl->nlog[global] = 0;
}

void ibl_clear(struct cpu *cpu)
{
	for (unsigned k = 0; k < IBL_TABLES; k++) {
		ibl_clear_log(&cpu->ibl[k], false);
		ibl_clear_log(&cpu->ibl[k], true);
	}
}

void ibl_insert(struct cpu *cpu, const struct fragment *f)
{
	struct ibl *ibl = &cpu->ibl[ibl_index(f->mode)];
	u64 pc = frag_pc(cpu, f);
	u32 i = pc & (IBL_SIZE - 1);

	if (ibl->nlog[f->global] == IBL_SIZE)
		ibl_clear_log(ibl, f->global);
	ibl->log[f->global][ibl->nlog[f->global]++] = (u16)i;
	ibl->tag[i] = pc;
	ibl->host[i] = f->lazy;
	ibl->frag[i] = (u32)(f - cpu->frags);
}

/* Mappings have changed: no way between pages holds any more. */
void frag_unlink_virtual(struct cpu *cpu, bool global)
{
	unlink_log(cpu, cpu->links, &cpu->nlinks, LINK_LOCAL);
	if (global)
		unlink_log(cpu, cpu->links_global, &cpu->nlinks_global, LINK_GLOBAL);
	for (unsigned k = 0; k < IBL_TABLES; k++) {
		ibl_clear_log(&cpu->ibl[k], false);
		if (global)
			ibl_clear_log(&cpu->ibl[k], true);
	}
	cpu->virt_epoch++;
	ras_void(cpu);
}

/* ---- dropping ---- */

void frag_kill(struct cpu *cpu, u32 index)
{
	struct fragment *f = &cpu->frags[index];
	struct ibl *ibl = &cpu->ibl[ibl_index(f->mode)];
	u32 slot = frag_pc(cpu, f) & (IBL_SIZE - 1), next;

	for (u32 e = f->in; e; e = next) {
		struct exit *x = &cpu->exits[e];

		next = x->next;
		x->listed = 0;
		if (x->to == index)
			exit_unlink(x);
	}
	f->in = 0;
	hash_remove(cpu, index);
	page_remove(cpu, f->gpa >> PAGE_SHIFT, index);
	if (f->gpa2)
		page_remove(cpu, f->gpa2 >> PAGE_SHIFT, index);
	if (ibl->host[slot] == f->lazy)
		ibl_clear_entry(ibl, slot);
	f->dead = true;
	cpu->killed = true;
	cpu->stats.smc_invalidated++;
	ras_void(cpu);
}

static bool overlaps(const struct fragment *f, gpa_t lo, gpa_t hi)
{
	unsigned off = f->gpa & 0xfff, first = MIN((unsigned)f->len, (unsigned)PAGE_SIZE - off);
	gpa_t page = f->gpa & PAGE_MASK;

	if (lo < f->gpa + first && f->gpa < hi)
		return true;
	if (f->look_hi && lo < page + f->look_hi && page + f->look_lo < hi)
		return true;
	return f->gpa2 && lo < f->gpa2 + f->len - first && f->gpa2 < hi;
}

bool frag_covers(struct cpu *cpu, gpa_t gpa, unsigned len)
{
	struct codepage *p = codepage_find(cpu, gpa >> PAGE_SHIFT);
	unsigned off = gpa & 0xfff;

	if (!p)
		return false;
	for (unsigned i = off; i < off + len && i < PAGE_SIZE; i++)
		if (p->covered[i >> 3] >> (i & 7) & 1)
			return true;
	return false;
}

void frag_retranslate(struct cpu *cpu, struct codepage *p, unsigned off)
{
	gpa_t at = (p->gfn << PAGE_SHIFT) + off;
	u32 next;

	for (u32 i = p->frags; i; i = next) {
		struct fragment *f = &cpu->frags[i];

		next = *page_link(f, p->gfn);
		if (at >= f->gpa && at < f->gpa + f->len)
			frag_kill(cpu, i);
	}
}

/* What the page's remaining fragments cover. */
static void recover(struct cpu *cpu, struct codepage *p)
{
	for (unsigned i = 0; i < sizeof(p->covered) / 8; i++)
		((u64 *)p->covered)[i] = 0;
	for (u32 i = p->frags; i; i = *page_link(&cpu->frags[i], p->gfn)) {
		struct fragment *f = &cpu->frags[i];
		unsigned off = f->gpa & 0xfff;

		if (f->gpa >> PAGE_SHIFT == p->gfn) {
			cover(p, off, off + f->len);
			if (f->look_hi)
				cover(p, f->look_lo, f->look_hi);
		} else {
			cover(p, 0, off + f->len - (unsigned)PAGE_SIZE);
		}
	}
}

/* Code that is stored beside again and again has mostly gone: what runs again is translated again. */
static bool lose_patience(struct cpu *cpu, struct codepage *p)
{
	if (++p->stores < p->patience)
		return false;
	p->stores = 0;
	p->patience = MIN(p->patience * 4, 1u << 24);
	kill_page_frags(cpu, p);
	return true;
}

static bool drop_overlapping(struct cpu *cpu, struct codepage *p, gpa_t gpa, unsigned len)
{
	bool any = false;
	u32 next;

	if (!frag_covers(cpu, gpa, len))
		return false;
	for (u32 i = p->frags; i; i = next) {
		next = *page_link(&cpu->frags[i], p->gfn);
		if (overlaps(&cpu->frags[i], gpa, gpa + len)) {
			frag_kill(cpu, i);
			any = true;
		}
	}
	if (any)
		recover(cpu, p);
	return any;
}

bool frag_invalidate(struct cpu *cpu, gpa_t gpa, unsigned len)
{
	struct codepage *p = codepage_find(cpu, gpa >> PAGE_SHIFT);
	bool any;

	if (p && drop_overlapping(cpu, p, gpa, len))
		return true;
	any = p && p->frags;
	if (p && !lose_patience(cpu, p))
		return false;
	tlb_unprotect_page(cpu, gpa);
	return any;
}

/* The end of what the fragment has on the host address's side. */
static u32 end_of(const struct fragment *f, bool cold)
{
	return cold ? f->cold_end : f->host_end;
}

struct fragment *frag_by_host(struct cpu *cpu, u64 host)
{
	u32 lo = 1, hi = cpu->nfrags; /* host addresses ascend */
	bool cold = host >= (u64)cpu->cold;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (end_of(&cpu->frags[mid], cold) <= host)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < cpu->nfrags && host >= (u64)cpu->code_start ? &cpu->frags[lo] : NULL;
}

void frag_reset(struct cpu *cpu)
{
	cpu->npages = 0;
	cpu->nfrags = cpu->nexits = 1; /* 0 means none */
	cpu->nsites = cpu->nsysinsns = cpu->npcmap = 0;
	cpu->nlinks = cpu->nlinks_global = 0;
	cpu->nlog = cpu->nlog_global = 0;
	cpu->nwindows = cpu->nlive_windows = 0;
	cpu->code_p = cpu->code_start;
	cpu->cold_p = cpu->cold;
	for (unsigned k = 0; k < IBL_TABLES; k++)
		for (u32 i = 0; i < IBL_SIZE; i++)
			ibl_clear_entry(&cpu->ibl[k], i);
	cpu->virt_epoch++;
	ras_void(cpu);
}

void frag_flush_all(struct cpu *cpu)
{
	for (u32 i = 0; i < 1u << FRAG_HASH_BITS; i++)
		cpu->frag_hash[i] = 0;
	for (u32 i = 0; i < 1u << PAGES_HASH_BITS; i++) {
		for (struct codepage *p = cpu->pages[i]; p; p = p->next)
			tlb_unprotect_page(cpu, p->gfn << PAGE_SHIFT);
		cpu->pages[i] = NULL;
	}
	ibl_clear(cpu);
	frag_reset(cpu);
	cpu->stats.code_flushes++;
}
