/* SPDX-License-Identifier: MIT */
/* See vmm.h. */
#include "vmm.h"

volatile const struct control_page *control = (void *)BAR_ADDRESS;
u64 ticks;
static u64 key;

/* ---- the control function ---- */
u32 config_in(u8 slot, u8 reg)
{
	outl(0xcf8, 0x80000000 | slot << 11 | reg);
	return inl(0xcfc);
}

void config_out(u8 slot, u8 reg, u32 value)
{
	outl(0xcf8, 0x80000000 | slot << 11 | reg);
	outl(0xcfc, value);
}

u8 find_control(void)
{
	for (u8 slot = 0; slot < 32; slot++) {
		if (config_in(slot, 0) != (CONTROL_DEVICE << 16 | CONTROL_VENDOR))
			continue;
		config_out(slot, 0x10, BAR_ADDRESS);
		config_out(slot, 0x14, BAR_ADDRESS >> 32);
		config_out(slot, 0x04, 2);
		key = control->key;
		return slot;
	}
	return 0;
}

i64 call_with(u64 key, u64 nr, u64 a, u64 b, u64 c, u64 d)
{
	register u64 r8 __asm__("r8") = d;
	i64 ret;

	__asm__ volatile("vmmcall"
		: "=a"(ret)
		: "a"(nr), "D"(key), "S"(a), "d"(b), "c"(c), "r"(r8)
		: "memory");
	return ret;
}

i64 call(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
	return call_with(key, nr, a, b, c, d);
}

i64 call_again(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
	i64 ret;

	do
		ret = call(nr, a, b, c, d);
	while (ret == -CONTROL_AGAIN);
	return ret;
}

i64 map_one(i64 vm, u64 gpa, u64 frame)
{
	static u64 *frames;

	if (!frames)
		frames = (u64 *)page_alloc();
	frames[0] = frame;
	return call_again(CALL_VM_MAP, vm, gpa, (u64)frames, 1);
}

/* ---- guests ---- */
void guest_make(struct guest *g, u64 flags, u64 cpuid_page, u64 entries)
{
	if (!key)
		find_control();
	g->ram = (u8 *)pages_alloc(GUEST_SIZE / PAGE_SIZE, 21);
	g->page = (struct control_vcpu *)page_alloc();
	g->xsave = (u8 *)page_alloc();
	g->vm = call(CALL_VM_CREATE, flags, 0, 0, 0);
	if (entries)
		check("guest/cpuid", call(CALL_VM_CPUID, g->vm, cpuid_page, entries, 0), 0);
	g->vcpu = call(CALL_VCPU_CREATE, g->vm, (u64)g->page, (u64)g->xsave, 0);
}

void guest_end(struct guest *g)
{
	call_again(CALL_VM_DESTROY, g->vm, 0, 0, 0);
}

void guest_tables(struct guest *g)
{
	u8 *ram = g->ram;
	u64 *pd = (u64 *)(ram + GUEST_PD);

	*(u64 *)(ram + GUEST_PML4) = GUEST_PDPT | P | W | U;
	*(u64 *)(ram + GUEST_PDPT) = GUEST_PD | P | W | U;
	for (u64 i = 0; i < 512; i++)
		pd[i] = i * MIB(2) | P | W | U | PS;
}

void guest_reset(struct guest *g)
{
	struct control_state *s = &g->page->state;
	const struct control_segment data = {0x18, 0xc93, 0xffffffff, 0};

	call(CALL_VCPU_GET, g->vcpu, STATE_ALL & ~STATE_XSAVE, 0, 0);
	s->es = s->ss = s->ds = s->fs = s->gs = data;
	s->cs = (struct control_segment){0x10, 0xa9b, 0xffffffff, 0};
	s->gdtr.base = s->idtr.base = 0;
	s->gdtr.limit = s->idtr.limit = 0;
	memset(&s->star, 0, offsetof(struct control_state, cpl) - offsetof(struct control_state, star));
	s->pat = 0x0007040600070406;
	s->xcr0 = 1;
	s->cpl = 0;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	s->cr3 = GUEST_PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE;
	s->rip = GUEST_CODE;
	s->rflags = 2;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	check("guest/state", call(CALL_VCPU_SET, g->vcpu, STATE_ALL & ~STATE_XSAVE, 0, 0), 0);
	g->page->record.inject = g->page->record.want_window = g->page->record.kick = 0;
	g->page->record.shadow = false;
	g->page->record.tpr = 0;
	g->page->gpr[RSP] = GUEST_STACK;
}

void guest_load(struct guest *g, const void *from, const void *to)
{
	guest_tables(g);
	memcpy(g->ram + GUEST_CODE, from, (u64)to - (u64)from);
	map_one(g->vm, 0, (u64)g->ram | FRAME_WRITE | FRAME_2M);
	guest_reset(g);
}

i64 guest_run(struct guest *g)
{
	return call(CALL_VCPU_RUN, g->vcpu, 0, 0, 0);
}

/* ---- a clock ---- */
enum { TIMER_VECTOR = 0x40 };

static volatile u32 *lapic(unsigned reg)
{
	return (volatile u32 *)(0xfee00000ull + reg);
}

static bool tick(struct frame *f)
{
	(void)f;
	ticks++;
	*lapic(0xb0) = 0;
	return true;
}

void timer_start(u32 count)
{
	hooks[TIMER_VECTOR] = tick;
	*lapic(0xf0) = 0x1ff;
	*lapic(0x3e0) = 0xb; /* divide by 1 */
	*lapic(0x320) = 0x20000 | TIMER_VECTOR;
	*lapic(0x380) = count;
	__asm__ volatile("sti");
}

void timer_stop(void)
{
	__asm__ volatile("cli");
	*lapic(0x320) = 0x10000;
	*lapic(0x380) = 0;
}

void put_number(u64 n)
{
	char text[24], *p = text + sizeof(text);

	*--p = 0;
	do
		*--p = '0' + n % 10;
	while (n /= 10);
	put(p);
}

/* ---- chance, the same in every run ---- */
static u64 random_state = 88172645463325252ull;

u64 random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}
