/* SPDX-License-Identifier: MIT */
/*
 * The memory of VMs: pages of the primary VM that it lends them. Who owns a page
 * stands in the primary VM's nested tables; a private page is not present
 * there. An entry of a VM's tables whose page names another owner, or none, is
 * stale: the primary VM has taken the page back by touching it.
 */
#include <stdatomic.h>

#include "hv/exit.h"
#include "hv/guest.h"
#include "lib/string.h"

enum { STEPS = 8 * CONTROL_BATCH }; /* table entries that one call looks at */

#define GPA_END BIT(48)
#define LARGE_PAGE MIB(2)

static _Atomic bool structure_taken;

/* Of the call under way; structure_try() guards them. */
static u64 frames[CONTROL_BATCH];
static struct {
	hpa_t hpa;
	u64 size;
	bool private;
} leaving[CONTROL_BATCH];

bool structure_try(void)
{
	return !atomic_exchange_explicit(&structure_taken, true, memory_order_acquire);
}

void structure_release(void)
{
	atomic_store_explicit(&structure_taken, false, memory_order_release);
}

/* ---- owners ---- */
static unsigned owner_number(const struct domain *d)
{
	return d - domains + 1;
}

/* The primary VM's entry of a page: flags, and the size that it covers. */
static unsigned primary_entry(hpa_t hpa, u64 *size)
{
	unsigned flags = 0;
	hpa_t found;

	lock(&primary_domain.lock);
	found = npt_lookup(&primary_domain, hpa, &flags, size);
	unlock(&primary_domain.lock);
	return found == hpa ? flags : 0;
}

static int primary_map_page(hpa_t hpa, u64 size, unsigned flags)
{
	int err;

	lock(&primary_domain.lock);
	err = npt_map(&primary_domain, hpa, hpa, size, flags);
	unlock(&primary_domain.lock);
	return err;
}

static bool is_ram(hpa_t hpa, u64 size)
{
	return hpa < GPA_END && memmap_is(&primary_map, hpa, size, MEM_RAM);
}

static bool owned_by(const struct domain *d, hpa_t hpa, u64 *size, unsigned *flags)
{
	*flags = primary_entry(hpa, size);
	return NPT_OWNER_OF(*flags) == owner_number(d);
}

bool page_usable(u64 pa)
{
	u64 size;

	return !(pa & ~PAGE_MASK) && is_ram(pa, PAGE_SIZE) && primary_entry(pa, &size) & NPT_READ;
}

/* 0 when nobody owns any page of the range, else an error; another VM's end is a step nearer then. */
static i64 range_free(const struct domain *d, hpa_t hpa, u64 range)
{
	u64 size;

	if (!is_ram(hpa, range))
		return -CONTROL_BAD_ADDRESS;
	for (hpa_t end = hpa + range; hpa < end; hpa = ALIGN_DOWN(hpa, size) + size) {
		unsigned owner = NPT_OWNER_OF(primary_entry(hpa, &size));

		if (owner == owner_number(d))
			return -CONTROL_BAD_ADDRESS;
		if (owner) {
			domain_end(&domains[owner - 1]);
			return -CONTROL_AGAIN;
		}
	}
	return 0;
}

static i64 claim(struct domain *d, hpa_t hpa, u64 size, bool private)
{
	i64 err = range_free(d, hpa, size);

	if (err)
		return err;
	if (primary_map_page(hpa, size, NPT_OWNER(owner_number(d)) | (private ? 0 : NPT_RWX)))
		return -CONTROL_NO_MEMORY;
	return 0;
}

/* The tables have been split as far as this needs when the page was claimed, so it cannot fail. */
static void disown(hpa_t hpa, u64 size)
{
	primary_map_page(hpa, size, NPT_RWX);
}

i64 page_claim(struct domain *d, u64 pa)
{
	return pa & ~PAGE_MASK ? -CONTROL_BAD_ADDRESS : claim(d, pa, PAGE_SIZE, false);
}

void page_release(struct domain *d, u64 pa)
{
	u64 size;
	unsigned flags;

	if (owned_by(d, pa, &size, &flags))
		disown(pa, PAGE_SIZE);
}

/* ---- VM_MAP ---- */
static u64 frame_size(u64 frame)
{
	return frame & FRAME_2M ? LARGE_PAGE : PAGE_SIZE;
}

static bool gpa_free(const struct domain *d, u64 gpa, u64 range)
{
	unsigned flags;
	u64 size;

	for (u64 end = gpa + range; gpa < end; gpa = ALIGN_DOWN(gpa, size) + size) {
		if (npt_lookup(d, gpa, &flags, &size) != (hpa_t)-1)
			return false;
	}
	return true;
}

static i64 claim_frame(struct domain *d, u64 gpa, u64 frame)
{
	u64 size = frame_size(frame), hpa = frame & PAGE_MASK;

	if (frame & ~PAGE_MASK & ~(u64)(FRAME_WRITE | FRAME_2M))
		return -CONTROL_BAD_ARGUMENT;
	if ((gpa | hpa) & (size - 1) || gpa > GPA_END - size || !gpa_free(d, gpa, size))
		return -CONTROL_BAD_ADDRESS;
	return claim(d, hpa, size, d->flags & VM_PRIVATE);
}

/* All frames or none; *done: how many are d's now. */
static i64 claim_frames(struct domain *d, u64 gpa, unsigned n, unsigned *done)
{
	i64 err = 0;

	for (*done = 0; *done < n; ++*done) {
		err = claim_frame(d, gpa, frames[*done]);
		if (err)
			break;
		gpa += frame_size(frames[*done]);
	}
	return err;
}

static void count_pages(struct domain *d, u64 size, bool private, bool more)
{
	u64 pages = size / PAGE_SIZE;

	d->pages += more ? pages : -pages;
	if (private)
		d->private_pages += more ? pages : -pages;
}

/* *done: how many entries are mapped. */
static i64 map_frames(struct domain *d, u64 gpa, unsigned n, unsigned *done)
{
	for (*done = 0; *done < n; ++*done) {
		u64 size = frame_size(frames[*done]);
		unsigned flags = NPT_READ | NPT_EXEC | (frames[*done] & FRAME_WRITE ? NPT_WRITE : 0);

		if (npt_map(d, gpa, frames[*done] & PAGE_MASK, size, flags))
			return -CONTROL_NO_MEMORY;
		count_pages(d, size, d->flags & VM_PRIVATE, true);
		gpa += size;
	}
	return 0;
}

/* Undoes a map that could not be finished: the VM may have used its part already. */
static void unmap_frames(struct domain *d, u64 gpa, unsigned mapped, unsigned claimed)
{
	bool private = d->flags & VM_PRIVATE;

	for (unsigned i = 0; i < mapped; i++) {
		npt_unmap(d, gpa, frame_size(frames[i]));
		count_pages(d, frame_size(frames[i]), private, false);
		gpa += frame_size(frames[i]);
	}
	if (mapped)
		domain_flush(d);
	for (unsigned i = 0; i < claimed; i++) {
		hpa_t hpa = frames[i] & PAGE_MASK;

		if (private && i < mapped)
			memset((void *)hpa, 0, frame_size(frames[i]));
		disown(hpa, frame_size(frames[i]));
	}
}

i64 call_vm_map(const u64 arg[4])
{
	unsigned claimed, mapped = 0;
	u64 gpa = arg[1], n = arg[3];
	struct domain *d;
	i64 err = domain_living(arg[0], &d);

	if (err)
		return err;
	if (!n || n > CONTROL_BATCH)
		return -CONTROL_BAD_ARGUMENT;
	if (gpa & ~PAGE_MASK || !page_usable(arg[2]))
		return -CONTROL_BAD_ADDRESS;
	memcpy(frames, (const void *)arg[2], n * sizeof(frames[0]));
	d->walk_from = (u64)-1;
	err = claim_frames(d, gpa, n, &claimed);
	if (claimed && d->flags & VM_PRIVATE)
		domain_flush(&primary_domain);
	if (!err)
		err = map_frames(d, gpa, n, &mapped);
	if (err)
		unmap_frames(d, gpa, mapped, claimed);
	return err;
}

/* ---- giving back ---- */
/* Where a call over [from, end) goes on. */
static u64 walk_start(const struct domain *d, u64 from, u64 end)
{
	return d->walk_from == from && d->walk_next <= end ? d->walk_next : from;
}

static i64 walk_end(struct domain *d, u64 from, u64 next, u64 end)
{
	d->walk_from = next < end ? from : (u64)-1;
	d->walk_next = next;
	return next < end ? -CONTROL_AGAIN : 0;
}

/*
 * Takes one entry of d's tables out and notes its page in leaving[]. Its size, or 0:
 * [gpa, end) ends within it. A hole has no page.
 */
static u64 take_out(struct domain *d, u64 gpa, u64 end, unsigned *noted, u64 *work)
{
	u64 size, primary_size;
	unsigned flags;
	hpa_t hpa = npt_lookup(d, gpa, &flags, &size);

	if (hpa == (hpa_t)-1)
		return ALIGN_DOWN(gpa, size) + size - gpa;
	if (gpa & (size - 1) || size > end - gpa)
		return 0;
	npt_unmap(d, gpa, size);
	if (!owned_by(d, hpa, &primary_size, &flags)) /* stale */
		return size;
	leaving[*noted].hpa = hpa;
	leaving[*noted].size = size;
	leaving[*noted].private = !(flags & NPT_READ);
	*work += leaving[*noted].private ? size / PAGE_SIZE : 1;
	++*noted;
	return size;
}

static void give_back_noted(struct domain *d, unsigned noted)
{
	for (unsigned i = 0; i < noted; i++) {
		if (leaving[i].private)
			memset((void *)leaving[i].hpa, 0, leaving[i].size);
		disown(leaving[i].hpa, leaving[i].size);
		count_pages(d, leaving[i].size, leaving[i].private, false);
	}
}

static i64 give_back(struct domain *d, u64 from, u64 end)
{
	u64 gpa = walk_start(d, from, end), work = 0, size = 1;
	unsigned noted = 0;

	for (unsigned steps = 0; gpa < end && work < CONTROL_BATCH && steps < STEPS; steps++) {
		size = take_out(d, gpa, end, &noted, &work);
		if (!size)
			break;
		gpa += size;
	}
	if (noted)
		domain_flush(d);
	give_back_noted(d, noted);
	if (primary_domain.retired) /* of pages merged again */
		domain_flush(&primary_domain);
	if (!size)
		return -CONTROL_BAD_ADDRESS;
	return walk_end(d, from, gpa, end);
}

i64 memory_give_back(struct domain *d)
{
	return give_back(d, 0, GPA_END);
}

/* RSI vm, RDX gpa, RCX pages: the range, checked. */
static i64 range_of(const u64 arg[4], struct domain **d)
{
	i64 err = domain_living(arg[0], d);

	if (err)
		return err;
	if (arg[1] & ~PAGE_MASK || arg[1] > GPA_END || arg[2] > (GPA_END - arg[1]) / PAGE_SIZE)
		return -CONTROL_BAD_ADDRESS;
	return 0;
}

i64 call_vm_unmap(const u64 arg[4])
{
	struct domain *d;
	i64 err = range_of(arg, &d);

	return err ? err : give_back(d, arg[1], arg[1] + arg[2] * PAGE_SIZE);
}

/* ---- VM_SHARE ---- */
static u64 share(struct domain *d, u64 gpa, u64 end)
{
	u64 size, primary_size;
	unsigned flags;
	hpa_t hpa = npt_lookup(d, gpa, &flags, &size);

	if (hpa == (hpa_t)-1)
		return ALIGN_DOWN(gpa, size) + size - gpa;
	if (gpa & (size - 1) || size > end - gpa)
		return 0;
	if (owned_by(d, hpa, &primary_size, &flags) && !(flags & NPT_READ)) {
		primary_map_page(hpa, size, NPT_RWX | NPT_OWNER(owner_number(d)));
		d->private_pages -= size / PAGE_SIZE;
	}
	return size;
}

i64 call_vm_share(const u64 arg[4])
{
	u64 gpa, end, size;
	struct domain *d;
	i64 err = range_of(arg, &d);

	if (err)
		return err;
	end = arg[1] + arg[2] * PAGE_SIZE;
	gpa = walk_start(d, arg[1], end);
	for (unsigned steps = 0; gpa < end && steps < STEPS; steps++, gpa += size) {
		size = share(d, gpa, end);
		if (!size)
			return -CONTROL_BAD_ADDRESS;
	}
	return walk_end(d, arg[1], gpa, end);
}

/* ---- the primary VM touches a private page ---- */
static bool take_back(u64 gpa)
{
	hpa_t hpa = gpa & PAGE_MASK;
	u64 size = PAGE_SIZE;
	unsigned flags = primary_entry(hpa, &size), owner = NPT_OWNER_OF(flags);
	struct domain *d;

	if (!owner || flags & NPT_READ) /* with an owner: it has just been given back, or shared */
		return owner;
	d = &domains[owner - 1];
	domain_end(d);
	flags = primary_entry(hpa, &size);
	if (NPT_OWNER_OF(flags) != owner || flags & NPT_READ || d->running)
		return true;
	size = MIN(size, LARGE_PAGE);
	hpa = ALIGN_DOWN(hpa, size);
	memset((void *)hpa, 0, size);
	disown(hpa, size);
	count_pages(d, size, true, false);
	return true;
}

/*
 * Its owner has lost the page (its VMM has died), or attacks: in both cases the VM
 * that has the page ends, and the primary VM gets a page of zeroes.
 */
bool guest_page_touched(u64 gpa)
{
	bool known;

	if (!structure_try())
		return true;
	known = take_back(gpa);
	structure_release();
	return known;
}
