/* SPDX-License-Identifier: MIT */
/*
 * The page pool: a row of never used pages, which shrinks, and a list of those
 * given back, linked through their first words.
 */
#include "hv/page.h"

#include "hv/lock.h"
#include "lib/string.h"

struct free_page {
	struct free_page *next;
};

static struct spinlock pool_lock;
static hpa_t pool, pool_end;
static struct free_page *free_list;
static u64 free_pages;

void page_pool_init(hpa_t base, hpa_t end)
{
	pool = ALIGN_UP(base, PAGE_SIZE);
	pool_end = ALIGN_DOWN(end, PAGE_SIZE);
	free_pages = (pool_end - pool) / PAGE_SIZE;
}

/* From the pool's end, so that its start stays aligned for stacks. */
static void *take_fresh(void)
{
	if (pool == pool_end)
		return NULL;
	pool_end -= PAGE_SIZE;
	return (void *)pool_end;
}

void *page_alloc(void)
{
	void *page;

	lock(&pool_lock);
	page = free_list;
	if (page)
		free_list = free_list->next;
	else
		page = take_fresh();
	if (page)
		free_pages--;
	unlock(&pool_lock);
	return page ? memset(page, 0, PAGE_SIZE) : NULL;
}

void page_free(void *page)
{
	struct free_page *p = page;

	lock(&pool_lock);
	p->next = free_list;
	free_list = p;
	free_pages++;
	unlock(&pool_lock);
}

void *page_alloc_row(unsigned count)
{
	void *row = NULL;

	lock(&pool_lock);
	if (count <= (pool_end - pool) / PAGE_SIZE) {
		row = (void *)pool;
		pool += count * PAGE_SIZE;
		free_pages -= count;
	}
	unlock(&pool_lock);
	return row ? memset(row, 0, count * PAGE_SIZE) : NULL;
}

u64 page_free_bytes(void)
{
	return free_pages * PAGE_SIZE;
}
