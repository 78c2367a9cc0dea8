/* SPDX-License-Identifier: MIT */
/*
 * The soft TLB and the slow way of memory accesses: fills, bounced accesses
 * (MMIO, page crossings, stores to pages with code), flushes, and memory
 * access for C helpers. Runs with the guest's vector registers live.
 */
#include "engine/translate/cpu.h"
#include "vm/vcpu.h"
#include "vm/vm.h"

/* ---- RAM ---- */

static const struct ram_range *range_of(const struct ram_map *ram, gpa_t gpa)
{
	for (unsigned i = 0; i < ram->n; i++) {
		const struct ram_range *r = &ram->range[i];

		if (gpa >= r->base && gpa < r->end)
			return r;
	}
	return NULL;
}

u8 *ram_map_host(const struct ram_map *ram, gpa_t gpa, bool write)
{
	const struct ram_range *r = range_of(ram, gpa);

	return !r || (write && !r->writable) ? NULL : r->host + ((gpa & PAGE_MASK) - r->base);
}

u8 *ram_map_flag(const struct ram_map *ram, gpa_t gpa)
{
	const struct ram_range *r = range_of(ram, gpa);

	return &ram->flags[r ? r->flags + ((gpa - r->base) >> PAGE_SHIFT) : 0];
}

u8 *ram_host(struct cpu *cpu, gpa_t gpa, bool write)
{
	return ram_map_host(&cpu->ram, gpa, write);
}

u8 *page_flag(struct cpu *cpu, gpa_t gpa)
{
	return ram_map_flag(&cpu->ram, gpa);
}

enum tlb_mode tlb_mode(const struct cpu *cpu, enum x86_priv priv)
{
	if (priv == PRIV_SYSTEM)
		return TLB_KERNEL;
	if (cpu->x.s.cpl == 3)
		return TLB_USER;
	return cpu->mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

/* ---- fills ---- */

static struct tlb_entry *entry_of(struct cpu *cpu, enum tlb_mode mode, gva_t gva)
{
	return &cpu->tlbs[mode][gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
}

static bool entry_hits(const struct cpu *cpu, const struct tlb_entry *e, gva_t gva, bool write)
{
	return (write ? e->wtag : e->rtag) == (i64)(gva & PAGE_MASK) && (e->gen == cpu->gen || e->gen == GEN_GLOBAL);
}

static void bloom_set(u8 *bits, u32 size, u64 key)
{
	u32 h = (u32)((key * 0x9e3779b97f4a7c15ull) >> 40) & (size - 1);

	bits[h >> 3] |= (u8)(1u << (h & 7));
}

static bool bloom_has(const u8 *bits, u32 size, u64 key)
{
	u32 h = (u32)((key * 0x9e3779b97f4a7c15ull) >> 40) & (size - 1);

	return bits[h >> 3] >> (h & 7) & 1;
}

#define LARGE_BITS 4096u
#define CODE_VPN_BITS 32768u

static u64 region_key(gva_t gva, u32 shift)
{
	return (gva >> shift) ^ (u64)shift << 56;
}

static void note_large(struct cpu *cpu, gva_t gva, u32 shift)
{
	bloom_set(cpu->large, LARGE_BITS, region_key(gva, shift));
}

void tlb_note_code(struct cpu *cpu, u64 pc)
{
	bloom_set(cpu->code_vpn, CODE_VPN_BITS, region_key(pc, PAGE_SHIFT));
	bloom_set(cpu->code_vpn, CODE_VPN_BITS, region_key(pc, 21));
	bloom_set(cpu->code_vpn, CODE_VPN_BITS, region_key(pc, 30));
}

static u32 shift_of(u64 page_size)
{
	return page_size == PAGE_SIZE ? PAGE_SHIFT : page_size == MIB(2) ? 21 : 30;
}

/* Walks and enters the page. *host is NULL for what is not RAM. 0, or -1: fault recorded. */
static int fill(struct cpu *cpu, enum tlb_mode mode, gva_t gva, bool write, u8 **host, gpa_t *gpa)
{
	struct tlb_entry *e = entry_of(cpu, mode, gva);
	bool user = mode == TLB_USER, direct;
	struct x86_walk w;
	i64 page = (i64)(gva & PAGE_MASK);
	u8 *flag;

	cpu->stats.walks++;
	if (x86_walk(&cpu->x, gva, write ? ACCESS_WRITE : ACCESS_READ, user, user || mode == TLB_KERNEL_AC, &w))
		return -1;
	*gpa = w.gpa;
	*host = ram_host(cpu, w.gpa, false);
	if (!*host)
		return 0;
	flag = page_flag(cpu, w.gpa);
	direct = (write || (w.writable && w.dirty && (!user || w.user))) && !(*flag & PAGE_CODE) &&
		 ram_host(cpu, w.gpa, true);
	e->addend = (u64)*host - (u64)page;
	e->rtag = page;
	e->wtag = direct ? page : TAG_NONE;
	e->gen = w.global ? GEN_GLOBAL : cpu->gen;
	e->shift = shift_of(w.page_size);
	if (e->shift != PAGE_SHIFT)
		note_large(cpu, gva, e->shift);
	cpu->low_global |= w.global && !(gva >> 63);
	if (direct)
		*flag = (u8)(cpu->write_epoch << PAGE_EPOCH_SHIFT);
	cpu->stats.fills++;
	return 0;
}

static void log_site(struct cpu *cpu, struct site *s, bool global)
{
	u8 flag = global ? SITE_LOGGED_GLOBAL : SITE_LOGGED;

	if (s->flags & flag)
		return;
	s->flags |= flag;
	if (global)
		cpu->log_global[cpu->nlog_global++] = (u32)(s - cpu->sites);
	else
		cpu->log[cpu->nlog++] = (u32)(s - cpu->sites);
}

/* ---- L0 tables ---- */

static void l0_empty(struct l0_entry *e)
{
	e->tag = SITE_NONE;
	e->addend = 0;
	e->host = SITE_NO_HOST;
}

void l0_clear(struct cpu *cpu)
{
	struct l0_entry *e = &cpu->l0[0][0][0];

	for (unsigned i = 0; i < TLB_MODES * 2 * L0_SIZE; i++)
		l0_empty(&e[i]);
	cpu->nl0 = 0;
}

static void l0_flush_local(struct cpu *cpu)
{
	if (cpu->nl0 > L0_LOG) {
		l0_clear(cpu);
		return;
	}
	for (u32 i = 0; i < cpu->nl0; i++)
		l0_empty(cpu->l0_log[i]);
	cpu->nl0 = 0;
}

static struct l0_entry *l0_of(struct cpu *cpu, unsigned mode, bool write, gva_t gva)
{
	return &cpu->l0[mode][write][gva >> PAGE_SHIFT & (L0_SIZE - 1)];
}

/* Drops what lies in the region. Local entries are all in the log, unless it has run over. */
static void l0_drop(struct cpu *cpu, gva_t gva, u32 shift)
{
	u64 pages = MIN(1ull << (shift - PAGE_SHIFT), (u64)L0_SIZE);
	gva_t first = gva >> shift << shift;

	if (!(gva >> 63) && cpu->nl0 <= L0_LOG) {
		for (u32 i = 0; i < cpu->nl0; i++)
			if (((u64)cpu->l0_log[i]->tag ^ gva) >> shift == 0)
				l0_empty(cpu->l0_log[i]);
		return;
	}
	for (unsigned m = 0; m < TLB_MODES; m++)
		for (unsigned w = 0; w < 2; w++)
			for (u64 i = 0; i < pages; i++)
				l0_empty(l0_of(cpu, m, w, first + (i << PAGE_SHIFT)));
}

static void l0_fill(struct cpu *cpu, unsigned mode, bool write, gva_t gva, const struct tlb_entry *e)
{
	struct l0_entry *l = l0_of(cpu, mode, write, gva);

	l->tag = (i64)(gva & PAGE_MASK);
	l->addend = e->addend;
	l->host = e->addend + (gva & PAGE_MASK);
	if (e->gen == GEN_GLOBAL && gva >> 63)
		return;
	if (cpu->nl0 < L0_LOG)
		cpu->l0_log[cpu->nl0] = l;
	if (cpu->nl0 <= L0_LOG)
		cpu->nl0++;
}

/* The site's pages change all the time: have its instruction translated for the L0 tables. */
static void make_plain(struct cpu *cpu, const struct site *s)
{
	const struct site_meta *meta = &cpu->site_meta[s - cpu->sites];
	struct codepage *p = &cpu->page_pool[meta->page];

	p->plain[meta->off >> 3] |= (u8)(1u << (meta->off & 7));
	frag_retranslate(cpu, p, meta->off);
	cpu->stats.plain_sites++;
}

static void fill_site(struct cpu *cpu, struct site *s, gva_t gva, const struct tlb_entry *e)
{
	s->tag = s->flags & SITE_CONST ? 0 : (i64)(gva & PAGE_MASK);
	s->addend = e->addend;
	s->host = e->addend + (gva & PAGE_MASK);
	log_site(cpu, s, e->gen == GEN_GLOBAL);
}

/* What a site needs to go on without C. */
static void fill_access(struct cpu *cpu, struct site *s, enum tlb_mode mode, gva_t gva, const struct tlb_entry *e)
{
	if (cpu->site_meta[s - cpu->sites].plain) {
		l0_fill(cpu, mode, s->flags & SITE_WRITE, gva, e);
		return;
	}
	fill_site(cpu, s, gva, e);
	if (s->misses < SITE_MISS_LIMIT || s->flags & SITE_CONST)
		return;
	s->misses = 0;
	make_plain(cpu, s);
	ras_apply(cpu);
}

/* ---- gathers ---- */

void tlb_note_lane(struct cpu *cpu, gva_t gva, unsigned size, bool write)
{
	enum tlb_mode mode = tlb_mode(cpu, PRIV_CPL);
	const struct tlb_entry *e = entry_of(cpu, mode, gva);

	if ((gva & 0xfff) + size <= PAGE_SIZE && entry_hits(cpu, e, gva, write) &&
	    l0_of(cpu, mode, write, gva)->tag != (i64)(gva & PAGE_MASK))
		l0_fill(cpu, mode, write, gva, e);
}

#define WINDOW_MAX MIB(4)
#define WINDOW_BIAS BIT(30) /* of 32-bit indexes: the lowest one must be that near to zero */

void window_clear(struct window *w)
{
	w->low = SITE_NONE;
	w->addend = 0;
	w->patience = 0;
}

static void windows_clear(struct cpu *cpu)
{
	for (u32 i = 0; i < cpu->nlive_windows; i++) {
		struct window *w = &cpu->windows[cpu->live_windows[i]];

		window_clear(w);
		w->live = false;
	}
	cpu->nlive_windows = 0;
}

/* The guest's page around gva, if all of it can be read at the addend; else 4 KiB of it. */
static u64 window_page(const struct cpu *cpu, const struct tlb_entry *e, gva_t gva, gva_t *start)
{
	u64 size = MIN(BIT(e->shift), (u64)MIB(2));
	u64 host = (gva & ~(size - 1)) + e->addend;

	for (unsigned i = 0; i < cpu->ram.n; i++) {
		const struct ram_range *r = &cpu->ram.range[i];

		if (host >= (u64)r->host && host + size <= (u64)r->host + (r->end - r->base)) {
			*start = gva & ~(size - 1);
			return size;
		}
	}
	*start = gva & PAGE_MASK;
	return PAGE_SIZE;
}

/* As far as the pages beside it are in the soft TLB and contiguous in the host. */
static void window_extent(struct cpu *cpu, gva_t gva, u64 *addend, gva_t *low, u64 *size)
{
	enum tlb_mode mode = tlb_mode(cpu, PRIV_CPL);
	const struct tlb_entry *e = entry_of(cpu, mode, gva);
	gva_t start, at;
	u64 n;

	*addend = e->addend;
	*size = window_page(cpu, e, gva, low);
	while (*size < WINDOW_MAX) {
		at = *low + *size;
		e = entry_of(cpu, mode, at);
		if (!entry_hits(cpu, e, at, false) || e->addend != *addend)
			break;
		n = window_page(cpu, e, at, &start);
		*size = start + n - *low;
	}
	while (*size < WINDOW_MAX) {
		at = *low - PAGE_SIZE;
		e = entry_of(cpu, mode, at);
		if (!entry_hits(cpu, e, at, false) || e->addend != *addend)
			break;
		window_page(cpu, e, at, &start);
		*size += *low - start;
		*low = start;
	}
}

/* Decides how to go on when the window is new, or patience has run out: one that never serves is passed by for long. */
static void window_judge(struct window *w)
{
	if (w->live && w->patience >= 0)
		return;
	w->scattered = w->live && !w->scattered && !w->hit;
	w->hit = 0;
	w->patience = w->scattered ? 1 << 15 : (i32)(64u << MIN(w->renewals, 10u));
	w->renewals++;
}

void window_set(struct cpu *cpu, struct window *w, gva_t gva, const struct gather_form *f, unsigned scale)
{
	gva_t low;
	u64 size, range;

	window_judge(w);
	if (!entry_hits(cpu, entry_of(cpu, tlb_mode(cpu, PRIV_CPL), gva), gva, false))
		return;
	window_extent(cpu, gva, &w->addend, &low, &size);
	/* the first index is rounded up, so the last one must be rounded down further */
	range = (size - f->lane - scale + 1) / scale;
	w->low = (i64)low + scale - 1;
	if (f->index_size == 4) {
		w->low += (i64)(WINDOW_BIAS * scale);
		range = (u32)(range - BIT(31));
		range |= range << 32;
	} else {
		range -= BIT(63);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(w->limit); i++)
		w->limit[i] = range;
	if (w->live)
		return;
	w->live = true;
	cpu->live_windows[cpu->nlive_windows++] = (u32)(w - cpu->windows);
}

int tlb_page(struct cpu *cpu, gva_t gva, bool write, enum x86_priv priv, u8 **host, gpa_t *gpa)
{
	enum tlb_mode mode = tlb_mode(cpu, priv);
	struct tlb_entry *e = entry_of(cpu, mode, gva);

	if (entry_hits(cpu, e, gva, write)) {
		*host = (u8 *)(e->addend + (gva & PAGE_MASK));
		return 0;
	}
	return fill(cpu, mode, gva, write, host, gpa);
}

bool tlb_direct_write(struct cpu *cpu, gva_t gva)
{
	return entry_hits(cpu, entry_of(cpu, tlb_mode(cpu, PRIV_CPL), gva), gva, true);
}

/* ---- devices ---- */

static u64 mmio_read(struct cpu *cpu, gpa_t gpa, unsigned size)
{
	fpu_save(cpu);
	cpu->stats.mmio_reads++;
	return space_read(&cpu->vm->mem, gpa, size);
}

static void mmio_write(struct cpu *cpu, gpa_t gpa, unsigned size, u64 value)
{
	fpu_save(cpu);
	cpu->stats.mmio_writes++;
	space_write(&cpu->vm->mem, gpa, size, value);
}

static unsigned chunk(unsigned len)
{
	return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

static void mmio_read_buf(struct cpu *cpu, gpa_t gpa, u8 *buf, unsigned len)
{
	while (len) {
		unsigned n = chunk(len);
		u64 v = mmio_read(cpu, gpa, n);

		for (unsigned i = 0; i < n; i++)
			buf[i] = (u8)(v >> 8 * i);
		gpa += n;
		buf += n;
		len -= n;
	}
}

static void mmio_write_buf(struct cpu *cpu, gpa_t gpa, const u8 *buf, unsigned len)
{
	while (len) {
		unsigned n = chunk(len);
		u64 v = 0;

		for (unsigned i = 0; i < n; i++)
			v |= (u64)buf[i] << 8 * i;
		mmio_write(cpu, gpa, n, v);
		gpa += n;
		buf += n;
		len -= n;
	}
}

/* ---- bounced accesses ---- */

static void copy(u8 *d, const u8 *s, unsigned n)
{
	switch (n) {
	case 1: *d = *s; return;
	case 2: *(u16 *)d = *(const u16 *)s; return;
	case 4: *(u32 *)d = *(const u32 *)s; return;
	case 8: *(u64 *)d = *(const u64 *)s; return;
	default: break;
	}
	if (n > 64 || n < 4) {
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	} else if (n < 8) { /* words that overlap are faster */
		*(u32 *)d = *(const u32 *)s;
		*(u32 *)(d + n - 4) = *(const u32 *)(s + n - 4);
	} else {
		for (unsigned i = 0; i + 8 < n; i += 8)
			*(u64 *)(d + i) = *(const u64 *)(s + i);
		*(u64 *)(d + n - 8) = *(const u64 *)(s + n - 8);
	}
}

/* One piece of the bounce buffer from or to guest memory. */
static void piece_load(struct cpu *cpu, unsigned piece, u8 *buf, unsigned len)
{
	gpa_t gpa = cpu->bounce_gpa[piece];
	u8 *host = cpu->bounce_host[piece];

	if (gpa == ~0ull)
		return;
	if (!host && ram_host(cpu, gpa, false))
		host = ram_host(cpu, gpa, false) + (gpa & 0xfff);
	if (host)
		copy(buf, host, len);
	else
		mmio_read_buf(cpu, gpa, buf, len);
}

static void store_masked(const struct cpu *cpu, u8 *host, const u8 *buf, unsigned len, u64 mask)
{
	if (!cpu->bounce_masked) {
		copy(host, buf, len);
		return;
	}
	for (unsigned i = 0; i < len; i++)
		if (mask >> i & 1)
			host[i] = buf[i];
}

static bool gpa_store(struct cpu *cpu, gpa_t gpa, const u8 *buf, unsigned len, u64 mask)
{
	u8 *host = ram_host(cpu, gpa, true);

	if (!len)
		return false;
	if (!host) {
		if (cpu->bounce_masked && !mask)
			return false;
		mmio_write_buf(cpu, gpa, buf, len);
		return false;
	}
	store_masked(cpu, host + (gpa & 0xfff), buf, len, mask);
	if (!(*page_flag(cpu, gpa) & PAGE_CODE))
		return false;
	cpu->stats.smc_stores++;
	return frag_invalidate(cpu, gpa, len);
}

/* True when code was dropped. */
static bool piece_store(struct cpu *cpu, unsigned piece, const u8 *buf, unsigned len, u64 mask)
{
	if (cpu->bounce_gpa[piece] == ~0ull)
		return false;
	if (!cpu->bounce_host[piece])
		return gpa_store(cpu, cpu->bounce_gpa[piece], buf, len, mask);
	store_masked(cpu, cpu->bounce_host[piece], buf, len, mask);
	return false;
}

static u64 read_kreg(unsigned k)
{
	u64 v = 0;

	switch (k) {
	case 1: __asm__("kmovq %%k1, %0" : "=r"(v)); break;
	case 2: __asm__("kmovq %%k2, %0" : "=r"(v)); break;
	case 3: __asm__("kmovq %%k3, %0" : "=r"(v)); break;
	case 4: __asm__("kmovq %%k4, %0" : "=r"(v)); break;
	case 5: __asm__("kmovq %%k5, %0" : "=r"(v)); break;
	case 6: __asm__("kmovq %%k6, %0" : "=r"(v)); break;
	case 7: __asm__("kmovq %%k7, %0" : "=r"(v)); break;
	default: break;
	}
	return v;
}

#define READ_YMM(n) case n: __asm__ volatile("vmovdqu %%ymm" #n ", %0" : "=m"(*(u8(*)[32])buf)); break

static void read_ymm(unsigned r, u8 *buf)
{
	switch (r) {
	READ_YMM(0); READ_YMM(1); READ_YMM(2); READ_YMM(3); READ_YMM(4); READ_YMM(5); READ_YMM(6); READ_YMM(7);
	READ_YMM(8); READ_YMM(9); READ_YMM(10); READ_YMM(11); READ_YMM(12); READ_YMM(13); READ_YMM(14); READ_YMM(15);
	default: break;
	}
}

/* As many low bits as k has bits. */
static u64 pack(u64 k)
{
	u64 low = 0;

	for (; k; k &= k - 1)
		low = low << 1 | 1;
	return low;
}

/* The bytes of a masked access that are really accessed. */
static u64 active_bytes(const struct site *s, const struct site_meta *meta)
{
	unsigned lane = meta->lane ? meta->lane : s->size, lanes = lane ? s->size / lane : 0;
	u64 one = lane >= 64 ? ~0ull : (1ull << lane) - 1, mask = 0, k = 0;
	u8 buf[32];

	if (meta->mask_reg & MASK_VECTOR) {
		read_ymm(meta->mask_reg & 15, buf);
		for (unsigned i = 0; i < lanes; i++)
			k |= (u64)(buf[i * lane + lane - 1] >> 7) << i;
	} else {
		k = read_kreg(meta->mask_reg & 7);
	}
	if (meta->mask_reg & MASK_FOLDED && (lane >= 4 || (meta->mask_reg >> 3 & 3) != 3))
		k &= (1u << (2u << (meta->mask_reg >> 3 & 3))) - 1;
	if (lanes <= 1 && !(meta->mask_reg & MASK_VECTOR))
		return !(meta->mask_reg & MASK_FOLDED ? k : k & 1) ? 0 : /* broadcast, scalar */
		       s->size >= 64 ? ~0ull : (1ull << s->size) - 1;
	if (meta->mask_reg & MASK_FOLDED)
		for (unsigned i = lanes; i < 64; i += lanes)
			k |= k >> i;
	if (lanes < 64)
		k &= (1ull << lanes) - 1;
	if (meta->mask_reg & MASK_PACKED)
		k = pack(k);
	for (unsigned i = 0; i < lanes; i++)
		if (k >> i & 1)
			mask |= one << i * lane;
	return mask;
}

static int record_fault(struct cpu *cpu, const struct site *s, gva_t gva)
{
	if (s->flags & SITE_MASKED && cpu->x.fault.vector == VEC_PF) {
		u64 mask = active_bytes(s, &cpu->site_meta[s - cpu->sites]);

		/* the address is that of the first lane that faults */
		for (unsigned i = 0; i < s->size && i < 64; i++)
			if (mask >> i & 1 && gva + i >= cpu->x.fault.address) {
				cpu->x.fault.address = gva + i;
				break;
			}
	}
	if (s->flags & SITE_SS && cpu->x.fault.vector == VEC_GP)
		cpu->x.fault.vector = VEC_SS;
	cpu->leave = LEAVE_FAULT;
	return 2;
}

/* Translates one piece of a bounced access. 0, or -1: fault. */
static int piece_translate(struct cpu *cpu, unsigned piece, gva_t gva, bool write)
{
	enum tlb_mode mode = tlb_mode(cpu, PRIV_CPL);
	const struct tlb_entry *e = entry_of(cpu, mode, gva);
	gpa_t gpa = 0;
	u8 *host;

	if (!entry_hits(cpu, e, gva, write) && fill(cpu, mode, gva, write, &host, &gpa))
		return -1;
	cpu->bounce_gpa[piece] = gpa;
	cpu->bounce_host[piece] = entry_hits(cpu, e, gva, write) ? (u8 *)(e->addend + gva) : NULL;
	return 0;
}

/* Both pieces can be accessed, and they lie together in the host: no need for a buffer. */
static bool pieces_join(struct cpu *cpu, unsigned first)
{
	return cpu->bounce_gpa[0] != ~0ull && cpu->bounce_gpa[1] != ~0ull && cpu->bounce_host[0] &&
	       cpu->bounce_host[0] + first == cpu->bounce_host[1];
}

static int bounce(struct cpu *cpu, struct site *s, gva_t gva)
{
	const struct site_meta *meta = &cpu->site_meta[s - cpu->sites];
	unsigned off = gva & 0xfff, first = MIN((unsigned)s->size, (unsigned)PAGE_SIZE - off), second = s->size - first;
	bool write = s->flags & SITE_WRITE;
	u8 *buf = cpu->bounce_buf + 64 + (gva & 63);
	u64 mask = ~0ull, low = first >= 64 ? ~0ull : (1ull << first) - 1;
	gva_t next = gva + first;

	cpu->stats.bounces++;
	cpu->bounce_masked = s->flags & SITE_MASKED;
	if (cpu->bounce_masked)
		mask = active_bytes(s, meta);
	if (cpu->mode & MODE_CODE32)
		next = (u32)next;
	cpu->bounce_gpa[0] = cpu->bounce_gpa[1] = ~0ull;
	if (unlikely((i64)gva >> 47 == 0 && (i64)(gva + s->size - 1) >> 47 == 1 && mask & ~low)) {
		x86_fault_code(&cpu->x, VEC_GP, 0); /* it runs over the edge: no page fault before that */
		return record_fault(cpu, s, gva);
	}
	if (mask & low && piece_translate(cpu, 0, gva, write))
		return record_fault(cpu, s, gva);
	if (second && (mask & ~low || s->size > 64) && piece_translate(cpu, 1, next, write))
		return record_fault(cpu, s, gva);
	if (second && pieces_join(cpu, first)) {
		buf = cpu->bounce_host[0];
		cpu->bounce_gpa[0] = cpu->bounce_gpa[1] = ~0ull;
	} else if (s->flags & SITE_READ || cpu->bounce_masked || !write) {
		piece_load(cpu, 0, buf, first);
		if (second)
			piece_load(cpu, 1, buf + first, second);
	}
	cpu->bounce = buf;
	cpu->bounce_gva = gva;
	cpu->bounce_size = s->size;
	cpu->bounce_split = first;
	cpu->bounce_mask = mask;
	cpu->slow_s1 = (u64)buf - (s->flags & SITE_CONST ? off : gva);
	fpu_restore(cpu);
	return 1;
}

static u64 site_rip(const struct cpu *cpu, const struct site *s)
{
	const struct site_meta *meta = &cpu->site_meta[s - cpu->sites];

	return cpu->page_pool[meta->page].vbase + meta->off;
}

/*
 * A group's check: whether the page can be used as it is. Sets no D bit and
 * never faults, since the accesses themselves are still to come.
 */
static int slow_group(struct cpu *cpu, struct site *s, gva_t gva)
{
	enum tlb_mode mode = tlb_mode(cpu, PRIV_CPL);
	struct tlb_entry *e = entry_of(cpu, mode, gva);
	struct x86_fault saved = cpu->x.fault;
	bool write = s->flags & SITE_WRITE;
	gpa_t gpa;
	u8 *host;

	cpu->bounce_gva = cpu->slow_s1 = 0;
	if ((gva & 0xfff) + s->size > PAGE_SIZE)
		return 1;
	if (!entry_hits(cpu, e, gva, write) && (fill(cpu, mode, gva, false, &host, &gpa) || !entry_hits(cpu, e, gva, write))) {
		cpu->x.fault = saved;
		return 1;
	}
	fill_access(cpu, s, mode, gva, e);
	return 0;
}

int tlb_slow_access(struct cpu *cpu, struct site *s, gva_t gva)
{
	enum tlb_mode mode = tlb_mode(cpu, PRIV_CPL);
	struct tlb_entry *e = entry_of(cpu, mode, gva);
	bool write = s->flags & SITE_WRITE;
	gpa_t gpa;
	u8 *host;

	cpu->stats.site_misses_c++;
	if (!s->insn_len)
		return slow_group(cpu, s, gva);
	cpu->x.s.rip = site_rip(cpu, s);
	if ((gva & 0xfff) + s->size > PAGE_SIZE)
		return bounce(cpu, s, gva);
	if (!entry_hits(cpu, e, gva, write)) {
		if (s->flags & SITE_MASKED && !active_bytes(s, &cpu->site_meta[s - cpu->sites]))
			return bounce(cpu, s, gva);
		if (fill(cpu, mode, gva, write, &host, &gpa))
			return record_fault(cpu, s, gva);
		if (!host || !entry_hits(cpu, e, gva, write))
			return bounce(cpu, s, gva);
	}
	fill_access(cpu, s, mode, gva, e);
	return 0;
}

int tlb_finish_write(struct cpu *cpu, struct site *s)
{
	unsigned first = cpu->bounce_split, second = cpu->bounce_size - first;
	bool changed;

	changed = piece_store(cpu, 0, cpu->bounce, first, cpu->bounce_mask);
	if (second)
		changed |= piece_store(cpu, 1, cpu->bounce + first, second, first < 64 ? cpu->bounce_mask >> first : 0);
	changed |= __atomic_load_n((u32 *)&cpu->pending, __ATOMIC_RELAXED); /* the device did it, perhaps */
	if (changed && s->flags & SITE_STACK) {
		cpu->poll = 1; /* the instruction is not over: leave soon after it */
	} else if (changed) {
		cpu->x.s.rip = site_rip(cpu, s) + s->insn_len;
		if (cpu->mode & MODE_CODE32)
			cpu->x.s.rip = (u32)cpu->x.s.rip;
		cpu->leave = LEAVE_HELPER;
		return 1;
	}
	fpu_restore(cpu);
	ras_apply(cpu);
	return 0;
}

/* ---- memory for C helpers ---- */

static int access_piece(struct cpu *cpu, gva_t gva, u8 *buf, unsigned len, bool write, enum x86_priv priv)
{
	gpa_t gpa;
	u8 *host;

	if (tlb_page(cpu, gva, write, priv, &host, &gpa))
		return -1;
	if (!host) {
		if (write)
			mmio_write_buf(cpu, gpa, buf, len);
		else
			mmio_read_buf(cpu, gpa, buf, len);
		return 0;
	}
	if (!write) {
		copy(buf, host + (gva & 0xfff), len);
		return 0;
	}
	if (entry_hits(cpu, entry_of(cpu, tlb_mode(cpu, priv), gva), gva, true)) {
		copy(host + (gva & 0xfff), buf, len);
		return 0;
	}
	cpu->bounce_masked = false;
	gpa_store(cpu, gpa, buf, len, ~0ull);
	return 0;
}

static int access_all(struct cpu *cpu, gva_t gva, u8 *buf, unsigned len, bool write, enum x86_priv priv)
{
	unsigned first = MIN(len, (unsigned)(PAGE_SIZE - (gva & 0xfff)));
	gpa_t gpa;
	u8 *host;

	/* A store is done as a whole or not at all; its first page's fault comes first. */
	if (write && first < len && tlb_page(cpu, gva, true, priv, &host, &gpa))
		return -1;
	for (gva_t p = (gva & PAGE_MASK) + PAGE_SIZE; write && p - gva < len; p += PAGE_SIZE)
		if (tlb_page(cpu, p, true, priv, &host, &gpa))
			return -1;
	while (len) {
		if (access_piece(cpu, gva, buf, first, write, priv))
			return -1;
		gva += first;
		buf += first;
		len -= first;
		first = MIN(len, (unsigned)PAGE_SIZE);
	}
	return 0;
}

int guest_read(struct cpu *cpu, gva_t gva, void *buf, unsigned len, enum x86_priv priv)
{
	const struct tlb_entry *e = entry_of(cpu, tlb_mode(cpu, priv), gva);

	if (likely((gva & 0xfff) + len <= PAGE_SIZE && entry_hits(cpu, e, gva, false))) {
		copy(buf, (const u8 *)(e->addend + gva), len);
		return 0;
	}
	return access_all(cpu, gva, buf, len, false, priv);
}

int guest_write(struct cpu *cpu, gva_t gva, const void *buf, unsigned len, enum x86_priv priv)
{
	const struct tlb_entry *e = entry_of(cpu, tlb_mode(cpu, priv), gva);

	if (likely((gva & 0xfff) + len <= PAGE_SIZE && entry_hits(cpu, e, gva, true))) {
		copy((u8 *)(e->addend + gva), buf, len);
		return 0;
	}
	return access_all(cpu, gva, (u8 *)(u64)buf, len, true, priv);
}

/* ---- write protection of code ---- */

static void purge_sites(struct cpu *cpu, const u32 *log, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		struct site *s = &cpu->sites[log[i]];

		if (s->flags & SITE_WRITE)
			site_clear(s);
	}
}

/*
 * Drops every write tag there is, so that all pages count as not written; a
 * page that holds code is seldom written again, so this is rare.
 */
static void purge_writes(struct cpu *cpu)
{
	cpu->stats.purges++;
	for (unsigned m = 0; m < TLB_MODES; m++)
		for (unsigned i = 0; i < TLB_SIZE; i++)
			cpu->tlbs[m][i].wtag = TAG_NONE;
	for (unsigned m = 0; m < TLB_MODES; m++)
		for (unsigned i = 0; i < L0_SIZE; i++)
			l0_empty(&cpu->l0[m][1][i]);
	purge_sites(cpu, cpu->log, cpu->nlog);
	purge_sites(cpu, cpu->log_global, cpu->nlog_global);
	if (++cpu->write_epoch <= WRITE_EPOCHS)
		return;
	cpu->write_epoch = 1;
	for (u64 i = 0; i < cpu->ram.nflags; i++)
		cpu->ram.flags[i] &= PAGE_CODE;
}

static u8 *code_mark(struct cpu *cpu, gpa_t gpa)
{
	return &cpu->code_marks[(u64)ram_host(cpu, gpa, false) >> PAGE_SHIFT & (CODE_MARKS - 1)];
}

void tlb_protect_page(struct cpu *cpu, gpa_t gpa)
{
	u8 *flag = page_flag(cpu, gpa);

	if (*flag & PAGE_CODE)
		return;
	if (*flag >> PAGE_EPOCH_SHIFT == cpu->write_epoch)
		purge_writes(cpu);
	*flag = PAGE_CODE;
	flag = code_mark(cpu, gpa);
	if (*flag != 0xff)
		__atomic_store_n(flag, *flag + 1, __ATOMIC_RELAXED);
	/* before the code is read: a device that writes now sees the mark, or its bytes are seen */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void tlb_unprotect_page(struct cpu *cpu, gpa_t gpa)
{
	u8 *flag = page_flag(cpu, gpa);

	if (!(*flag & PAGE_CODE))
		return;
	*flag &= (u8)~PAGE_CODE;
	flag = code_mark(cpu, gpa);
	if (*flag != 0xff) /* else it has lost count */
		__atomic_store_n(flag, *flag - 1, __ATOMIC_RELAXED);
}

/* ---- flushes ---- */

static void kill_log(struct cpu *cpu, u32 *log, u32 *n, u8 flag)
{
	for (u32 i = 0; i < *n; i++) {
		struct site *s = &cpu->sites[log[i]];

		site_clear(s);
		s->flags &= (u8)~flag;
		s->misses = 0;
	}
	*n = 0;
}

/* A constant-address site knows its address by its host page only. */
static void kill_page(struct cpu *cpu, u32 *log, u32 *n, u8 flag, gva_t gva, u32 shift)
{
	for (u32 i = 0; i < *n; i++) {
		struct site *s = &cpu->sites[log[i]];
		u64 page = s->host - s->addend;

		if (s->tag != SITE_NONE && (page ^ gva) >> shift == 0)
			site_clear(s);
	}
	cpu->scan_debt += *n;
	/* a site killed costs some 25 times what a look at it does */
	if (cpu->scan_debt > 4096 && cpu->scan_debt > 32 * *n) {
		kill_log(cpu, log, n, flag);
		cpu->scan_debt = 0;
	}
}

static void drop_constants(struct cpu *cpu, const u32 *log, u32 n, u32 page)
{
	for (u32 i = 0; i < n; i++)
		if (cpu->sites[log[i]].flags & SITE_CONST && cpu->site_meta[log[i]].page == page)
			site_clear(&cpu->sites[log[i]]);
}

void tlb_drop_constants(struct cpu *cpu, u32 page)
{
	drop_constants(cpu, cpu->log, cpu->nlog, page);
	drop_constants(cpu, cpu->log_global, cpu->nlog_global, page);
}

static void clear_tlb(struct cpu *cpu)
{
	for (unsigned m = 0; m < TLB_MODES; m++)
		for (unsigned i = 0; i < TLB_SIZE; i++)
			cpu->tlbs[m][i].rtag = cpu->tlbs[m][i].wtag = TAG_NONE;
}

static void new_gen(struct cpu *cpu)
{
	u32 pcid = cpu->x.s.cr4 & CR4_PCIDE ? cpu->x.s.cr3 & 0xfff : 0;

	if (++cpu->next_gen == GEN_GLOBAL) { /* wrapped: old numbers come again */
		clear_tlb(cpu);
		for (unsigned i = 0; i < ARRAY_SIZE(cpu->pcid_gen); i++)
			cpu->pcid_gen[i] = 0;
		cpu->next_gen++;
	}
	cpu->gen = cpu->pcid_gen[pcid] = cpu->next_gen;
}

void tlb_flush_all(struct cpu *cpu)
{
	cpu->low_global = false;
	cpu->stats.flush_all++;
	cpu->flushes++;
	windows_clear(cpu);
	clear_tlb(cpu);
	l0_clear(cpu);
	for (unsigned i = 0; i < ARRAY_SIZE(cpu->pcid_gen); i++)
		cpu->pcid_gen[i] = 0;
	new_gen(cpu);
	kill_log(cpu, cpu->log, &cpu->nlog, SITE_LOGGED);
	kill_log(cpu, cpu->log_global, &cpu->nlog_global, SITE_LOGGED_GLOBAL);
	for (unsigned i = 0; i < sizeof(cpu->large); i++)
		cpu->large[i] = 0;
	for (unsigned i = 0; i < sizeof(cpu->code_vpn); i++)
		cpu->code_vpn[i] = 0;
	frag_unlink_virtual(cpu, true);
}

static void clear_entries(struct cpu *cpu, gva_t gva, u32 shift)
{
	u64 pages = MIN(1ull << (shift - PAGE_SHIFT), (u64)TLB_SIZE);
	gva_t first = gva >> shift << shift;

	l0_drop(cpu, gva, shift);

	for (unsigned m = 0; m < TLB_MODES; m++) {
		for (u64 i = 0; i < pages; i++) {
			struct tlb_entry *e = entry_of(cpu, m, first + (i << PAGE_SHIFT));

			if (e->rtag != TAG_NONE && ((u64)e->rtag ^ gva) >> shift == 0)
				e->rtag = e->wtag = TAG_NONE;
		}
	}
}

static void flush_page(struct cpu *cpu, gva_t gva)
{
	bool global = gva >> 63 || cpu->low_global;
	u32 shift = PAGE_SHIFT;

	cpu->stats.flush_page++;
	windows_clear(cpu);
	if (bloom_has(cpu->large, LARGE_BITS, region_key(gva, 21)))
		shift = 21;
	if (bloom_has(cpu->large, LARGE_BITS, region_key(gva, 30)))
		shift = 30;
	if (shift != PAGE_SHIFT) {
		clear_entries(cpu, gva, shift);
	} else {
		l0_drop(cpu, gva, PAGE_SHIFT);
		for (unsigned m = 0; m < TLB_MODES; m++) {
			struct tlb_entry *e = entry_of(cpu, m, gva);

			if (e->rtag == (i64)(gva & PAGE_MASK))
				e->rtag = e->wtag = TAG_NONE;
		}
	}
	kill_page(cpu, cpu->log, &cpu->nlog, SITE_LOGGED, gva, shift);
	if (global)
		kill_page(cpu, cpu->log_global, &cpu->nlog_global, SITE_LOGGED_GLOBAL, gva, shift);
	if (bloom_has(cpu->code_vpn, CODE_VPN_BITS, region_key(gva, shift)))
		frag_unlink_virtual(cpu, global);
}

static void env_flush(struct x86_cpu *x, enum x86_flush kind, gva_t gva)
{
	struct cpu *cpu = (struct cpu *)x;
	u32 pcid = x->s.cr4 & CR4_PCIDE ? x->s.cr3 & 0xfff : 0;

	switch (kind) {
	case FLUSH_PAGE: flush_page(cpu, gva); return;
	case FLUSH_ALL: tlb_flush_all(cpu); return;
	case FLUSH_NONGLOBAL:
		cpu->stats.flush_nonglobal++;
		new_gen(cpu);
		break;
	case FLUSH_SWITCH:
		cpu->stats.flush_switch++;
		if (cpu->pcid_gen[pcid])
			cpu->gen = cpu->pcid_gen[pcid];
		else
			new_gen(cpu);
		break;
	}
	windows_clear(cpu);
	kill_log(cpu, cpu->log, &cpu->nlog, SITE_LOGGED);
	cpu->scan_debt = 0;
	cpu->flushes++;
	l0_flush_local(cpu);
	frag_unlink_virtual(cpu, false);
}

/* ---- modes ---- */

static bool flat(const struct x86_state *s)
{
	for (unsigned i = SEG_ES; i <= SEG_DS; i++)
		if (!(s->seg[i].attr & SEG_UNUSABLE) && (s->seg[i].base || s->seg[i].limit != 0xffffffff))
			return false;
	return true;
}

void mode_update(struct cpu *cpu)
{
	const struct x86_state *s = &cpu->x.s;
	u32 old = cpu->mode, mode = 0;

	if (s->cpl == 3)
		mode |= MODE_USER;
	else if (s->rflags & FL_AC && s->cr4 & CR4_SMAP)
		mode |= MODE_AC;
	if (!x86_code64(&cpu->x)) {
		mode |= MODE_CODE32;
		if (!flat(s))
			mode |= MODE_BASES;
	}
	if (s->cr0 & (CR0_TS | CR0_EM))
		mode |= MODE_NM;
	if (s->rflags & FL_TF || s->dr[7] & 0xff || cpu->step_once)
		mode |= MODE_STEP;
	if (unlikely(check_needed(cpu)))
		mode |= MODE_CHECK;
	vector_state_update(cpu);
	cpu->mode = mode;
	cpu->tlb = cpu->tlbs[tlb_mode(cpu, PRIV_CPL)];
	cpu->ras_lookup = cpu->fn_ibl[ibl_index(mode)];
	if ((old ^ mode) & (MODE_NM | MODE_BASES | MODE_CHECK) || ((old ^ mode) & MODE_AC && (old | mode) & MODE_CODE32))
		ibl_clear(cpu);
	if ((old ^ mode) & (MODE_AC | MODE_CODE32 | MODE_NM | MODE_BASES | MODE_STEP | MODE_CHECK))
		ras_void(cpu);
}

/* ---- the environment of x86/ ---- */

static int env_load(struct x86_cpu *x, gva_t gva, unsigned size, enum x86_priv priv, u64 *value)
{
	*value = 0;
	return guest_read((struct cpu *)x, gva, value, size, priv);
}

static int env_store(struct x86_cpu *x, gva_t gva, unsigned size, enum x86_priv priv, u64 value)
{
	return guest_write((struct cpu *)x, gva, &value, size, priv);
}

static u64 *env_entry(struct x86_cpu *x, gpa_t gpa)
{
	u8 *host = ram_host((struct cpu *)x, gpa, true);

	return host ? (u64 *)(host + (gpa & 0xff8)) : NULL;
}

static void env_mode_changed(struct x86_cpu *x)
{
	mode_update((struct cpu *)x);
}

static int env_rdmsr(struct x86_cpu *x, u32 index, u64 *value)
{
	struct cpu *cpu = (struct cpu *)x;

	fpu_save(cpu);
	return cpu->vm->intc->rdmsr(cpu->vcpu, index, value);
}

static int env_wrmsr(struct x86_cpu *x, u32 index, u64 value)
{
	struct cpu *cpu = (struct cpu *)x;

	fpu_save(cpu);
	cpu->vcpu->regs.tsc_offset = x->s.tsc_offset; /* the deadline is in guest TSC */
	return cpu->vm->intc->wrmsr(cpu->vcpu, index, value);
}

static u64 env_cr8(struct x86_cpu *x)
{
	struct cpu *cpu = (struct cpu *)x;

	fpu_save(cpu);
	return cpu->vm->intc->tpr(cpu->vcpu);
}

static void env_set_cr8(struct x86_cpu *x, u64 value)
{
	struct cpu *cpu = (struct cpu *)x;

	fpu_save(cpu);
	cpu->vm->intc->set_tpr(cpu->vcpu, value);
}

static u64 env_host_tsc(struct x86_cpu *x)
{
	(void)x;
	return __builtin_ia32_rdtsc();
}

static bool env_write_phys(struct x86_cpu *x, gpa_t gpa, const void *data, size_t len)
{
	struct cpu *cpu = (struct cpu *)x;
	u8 *host = ram_host(cpu, gpa, true);

	if (!host || (gpa & 0xfff) + len > PAGE_SIZE)
		return false;
	copy(host + (gpa & 0xfff), data, (unsigned)len);
	return true;
}

const struct x86_env translate_env = {
	.load = env_load,
	.store = env_store,
	.entry = env_entry,
	.flush = env_flush,
	.mode_changed = env_mode_changed,
	.rdmsr = env_rdmsr,
	.wrmsr = env_wrmsr,
	.cr8 = env_cr8,
	.set_cr8 = env_set_cr8,
	.host_tsc = env_host_tsc,
	.write_phys = env_write_phys,
};
