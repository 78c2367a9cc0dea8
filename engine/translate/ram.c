/* SPDX-License-Identifier: MIT */
/*
 * Where guest RAM is in the host, and what is done when others change it: the
 * memory space gets another shape, or a device fills memory that code was
 * translated from. Both are noted here and seen to at the next safe point. DMA
 * into page tables is the guest's to flush, as on silicon.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/translate/cpu.h"
#include "vm/vm.h"

/* ---- the map ---- */

static void list_ranges(struct ram_map *ram, const struct space *mem)
{
	memset(ram, 0, sizeof(*ram));
	ram->nflags = 1;
	for (unsigned i = 0; i < mem->nextents && ram->n < RAM_RANGES; i++) {
		const struct extent *e = &mem->extents[i];
		const struct region *r = e->region;
		gpa_t base = ALIGN_UP(e->base, PAGE_SIZE), end = ALIGN_DOWN(e->end, PAGE_SIZE);

		if (!r->host || !(r->direct & DIRECT_READ) || base >= end)
			continue;
		ram->range[ram->n++] = (struct ram_range){
			base, end, r->host + (base - r->base), ram->nflags, r->direct & DIRECT_WRITE
		};
		ram->nflags += (end - base) >> PAGE_SHIFT;
	}
}

static int map_flags(struct ram_map *ram)
{
	ram->flags = mmap(NULL, ram->nflags, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram->flags != MAP_FAILED)
		return 0;
	ram->flags = NULL;
	return -ENOMEM;
}

int ram_init(struct cpu *cpu)
{
	pthread_mutex_init(&cpu->written.lock, NULL);
	list_ranges(&cpu->ram, &cpu->vm->mem);
	return map_flags(&cpu->ram);
}

void ram_fini(struct cpu *cpu)
{
	if (cpu->ram.flags)
		munmap(cpu->ram.flags, cpu->ram.nflags);
}

static bool same_ranges(const struct ram_map *a, const struct ram_map *b)
{
	for (unsigned i = 0; i < a->n && a->n == b->n; i++) {
		const struct ram_range *x = &a->range[i], *y = &b->range[i];

		if (x->base != y->base || x->end != y->end || x->host != y->host || x->writable != y->writable)
			return false;
	}
	return a->n == b->n;
}

/* Code stays where its memory stays. */
static void keep_code(struct cpu *cpu, const struct ram_map *now)
{
	for (u32 i = 0; i < cpu->npages; i++) {
		gpa_t gpa = cpu->page_pool[i].gfn << PAGE_SHIFT;

		if (!(*page_flag(cpu, gpa) & PAGE_CODE))
			continue;
		if (ram_host(cpu, gpa, false) == ram_map_host(now, gpa, false)) {
			*ram_map_flag(now, gpa) = PAGE_CODE;
		} else {
			frag_invalidate(cpu, gpa, PAGE_SIZE);
			tlb_unprotect_page(cpu, gpa);
		}
	}
}

static void update_map(struct cpu *cpu)
{
	struct ram_map now;

	list_ranges(&now, &cpu->vm->mem);
	if (same_ranges(&cpu->ram, &now))
		return; /* devices are looked up at each access */
	if (map_flags(&now)) {
		cpu->bug = "no memory for the flags of guest pages";
		return;
	}
	keep_code(cpu, &now);
	ram_fini(cpu);
	cpu->ram = now;
	cpu->stats.map_changes++;
	tlb_flush_all(cpu);
}

static void ask(struct cpu *cpu, u32 what)
{
	__atomic_or_fetch((u32 *)&cpu->pending, what, __ATOMIC_SEQ_CST);
	__atomic_store_n((u32 *)&cpu->poll, 1, __ATOMIC_SEQ_CST);
}

void ram_map_changed(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (vm->vcpu[i].engine)
			ask(vm->vcpu[i].engine, PENDING_MAP);
}

/* ---- memory that devices filled ---- */

static bool marked(const struct cpu *cpu, u64 page)
{
	return __atomic_load_n(&cpu->code_marks[page & (CODE_MARKS - 1)], __ATOMIC_RELAXED);
}

static void note(struct written *w, u64 host, u64 len)
{
	struct written_range *last;

	pthread_mutex_lock(&w->lock);
	last = w->n && w->n <= WRITTEN_MAX ? &w->range[w->n - 1] : NULL;
	if (last && last->host + last->len == host)
		last->len += len;
	else if (w->n < WRITTEN_MAX)
		w->range[w->n++] = (struct written_range){ host, len };
	else
		w->n = WRITTEN_MAX + 1;
	pthread_mutex_unlock(&w->lock);
}

static void look_for_code(struct cpu *cpu, u64 host, u64 len)
{
	u64 first = host >> PAGE_SHIFT, last = (host + len - 1) >> PAGE_SHIFT;

	while (first <= last && !marked(cpu, first))
		first++;
	if (first > last)
		return;
	while (last > first && !marked(cpu, last)) /* the first may have lost its mark meanwhile */
		last--;
	first = MAX(first << PAGE_SHIFT, host);
	last = MIN((last + 1) << PAGE_SHIFT, host + len);
	note(&cpu->written, first, last - first);
	ask(cpu, PENDING_WRITTEN);
}

void ram_written(struct vm *vm, const void *host, size_t len)
{
	if (!len)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* see tlb_protect_page */
	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (vm->vcpu[i].engine)
			look_for_code(vm->vcpu[i].engine, (u64)host, len);
}

static void drop_code(struct cpu *cpu, gpa_t gpa, gpa_t end)
{
	for (gpa_t next; gpa < end; gpa = next) {
		next = MIN((gpa & PAGE_MASK) + PAGE_SIZE, end);
		if (*page_flag(cpu, gpa) & PAGE_CODE)
			frag_invalidate(cpu, gpa, (unsigned)(next - gpa));
	}
}

/* The same memory may be seen at several places. */
static void drop_written(struct cpu *cpu, const struct written_range *w)
{
	for (unsigned i = 0; i < cpu->ram.n; i++) {
		const struct ram_range *r = &cpu->ram.range[i];
		u64 start = (u64)r->host, lo = MAX(w->host, start), hi = MIN(w->host + w->len, start + (r->end - r->base));

		if (lo < hi)
			drop_code(cpu, r->base + (lo - start), r->base + (hi - start));
	}
}

static void see_written(struct cpu *cpu)
{
	struct written_range range[WRITTEN_MAX];
	struct written *w = &cpu->written;
	unsigned n;

	pthread_mutex_lock(&w->lock);
	n = w->n;
	memcpy(range, w->range, sizeof(range));
	w->n = 0;
	pthread_mutex_unlock(&w->lock);
	cpu->stats.dma_over_code++;
	if (n > WRITTEN_MAX)
		frag_flush_all(cpu);
	for (unsigned i = 0; n <= WRITTEN_MAX && i < n; i++)
		drop_written(cpu, &range[i]);
}

void ram_attend(struct cpu *cpu)
{
	u32 what = __atomic_exchange_n((u32 *)&cpu->pending, 0, __ATOMIC_SEQ_CST);

	if (what & PENDING_MAP)
		update_map(cpu);
	if (what & PENDING_WRITTEN)
		see_written(cpu);
}
