/* SPDX-License-Identifier: MIT */
/*
 * Guests of random code in random states. They must not be able to do more than
 * leave with a reason. This image runs by real time: a guest whose every
 * instruction faults goes nowhere where only instructions that complete count, so no
 * timer would end it.
 */
#include "vmm.h"

static struct guest g;

SNIP(code_hlt, "hlt\n");

/*
 * Random instructions, in a random state; the timer ends what loops. After an
 * exception the guest goes on one byte behind, 16 times.
 */
enum { GUEST_GDT = 0x4000, GUEST_IDT = 0x5000, GUEST_HANDLERS = 0x6000, GUEST_COUNT = 0x7000 };

SNIP(handler, "decl 0x7000\n js 1f\n incq (%rsp)\n iretq\n 1: hlt\n");
SNIP(handler_error, "decl 0x7000\n js 1f\n add $8, %rsp\n incq (%rsp)\n iretq\n 1: hlt\n");

static void make_gate(u16 *gate, u64 at)
{
	gate[0] = at;
	gate[1] = 0x10;
	gate[2] = 0x8e00;
	gate[3] = at >> 16;
	gate[4] = gate[5] = gate[6] = gate[7] = 0;
}

static void make_descriptors(void)
{
	u64 *table = (u64 *)(g.ram + GUEST_GDT);

	table[2] = 0x00af9b000000ffff;
	table[3] = 0x00cf93000000ffff;
	*(u32 *)(g.ram + GUEST_COUNT) = 16;
	memcpy(g.ram + GUEST_HANDLERS, handler, 32);
	memcpy(g.ram + GUEST_HANDLERS + 32, handler_error, 32);
	for (int vector = 0; vector < 256; vector++) {
		bool error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;

		make_gate((u16 *)(g.ram + GUEST_IDT + vector * 16), GUEST_HANDLERS + (error ? 32 : 0));
	}
	g.page->state.gdtr = (struct control_segment){.limit = 0xff, .base = GUEST_GDT};
	g.page->state.idtr = (struct control_segment){.limit = 0xfff, .base = GUEST_IDT};
}

static void random_bytes(void *at, u64 n)
{
	for (u64 *p = at; n >= 8; n -= 8)
		*p++ = random_u64();
}

/* Half of it is what a hypervisor meets. */
static void random_code(u8 *at, u64 n)
{
	static const u8 starts[][2] = {{0x0f, 0x01}, {0x0f, 0x20}, {0x0f, 0x22}, {0x0f, 0x21}, {0x0f, 0x30},
		{0x0f, 0x32}, {0x0f, 0xa2}, {0x0f, 0x09}, {0x0f, 0x08}, {0x0f, 0x33}, {0x0f, 0xc7}, {0x0f, 0x00}, {0x0f, 0x06},
		{0x0f, 0xae}, {0x0f, 0x05}, {0x0f, 0x07}, {0x0f, 0x34}, {0x0f, 0x35}, {0x48, 0x8b}, {0x48, 0x89}, {0x0f, 0x31},
		{0xfb, 0x90}, {0xfa, 0x90}, {0xf4, 0x90}, {0xee, 0xec}, {0xef, 0xed}, {0xe4, 0x70}, {0xf3, 0x6e}, {0xcd, 0x20},
		{0xf3, 0xa4}, {0x48, 0xcf}, {0x9d, 0x9c}, {0x8e, 0xd8}, {0x8e, 0xd0}, {0x66, 0x0f}};

	random_bytes(at, n);
	for (u64 i = 0; i + 2 < n; i += 1 + random_u64() % 6)
		memcpy(at + i, starts[random_u64() % ARRAY_SIZE(starts)], 2);
	/* QEMU 7.2 itself crashes when DR7 was changed by VMRUN and then is by MOV. */
	for (u64 i = 0; i + 1 < n; i++)
		if (at[i] == 0x0f && at[i + 1] == 0x23)
			at[i + 1] = 0x0b;
}

static void random_guest_state(struct control_state *s)
{
	const struct control_segment tr = s->tr;
	u64 *words = (u64 *)s;

	for (u64 n = random_u64() % 6; n--;)
		words[random_u64() % (sizeof(*s) / 8)] = random_u64() >> random_u64() % 64;
	if (random_u64() % 4 == 0)
		s->cs.attr ^= random_u64() & 0xfff;
	if (random_u64() % 4 == 0)
		s->cr0 ^= BIT(random_u64() % 32);
	if (random_u64() % 4 == 0)
		s->efer ^= BIT(random_u64() % 16);
	if (random_u64() % 4 == 0)
		s->rflags ^= BIT(random_u64() % 22);
	s->dr7 = 0x400; /* see random_code */
	s->tr = tr; /* QEMU ends itself when an exception meets a TSS that is not present */
}

static void random_record(struct control_record *r)
{
	u8 *bytes = (u8 *)r;

	if (random_u64() % 8 == 0)
		for (unsigned i = 0; i < sizeof(*r); i++)
			bytes[i] = random_u64();
	if (random_u64() % 8 == 0)
		r->inject = 0x80000000 | (random_u64() & 0xfff);
	r->kick = 0;
}

static void random_guests(void)
{
	struct control_state good;
	u32 reasons[REASON_COUNT] = {0}, wrong = 0, refused = 0;

	guest_make(&g, 0, 0, 0);
	GUEST_LOAD(&g, code_hlt);
	make_descriptors();
	memcpy(&good, &g.page->state, sizeof(good));
	timer_start(50000);
	for (int i = 0; i < 1000; i++) {
		memcpy(&g.page->state, &good, sizeof(good));
		guest_tables(&g);
		make_descriptors();
		random_code(g.ram + GUEST_CODE, 256);
		if (i & 1)
			random_guest_state(&g.page->state);
		random_bytes(g.page->gpr, sizeof(g.page->gpr));
		g.page->gpr[RSP] = GUEST_STACK;
		if (call(CALL_VCPU_SET, g.vcpu, STATE_ALL & ~STATE_XSAVE, 0, 0)) {
			refused++;
			memcpy(&g.page->state, &good, sizeof(good));
			call(CALL_VCPU_SET, g.vcpu, STATE_ALL & ~STATE_XSAVE, 0, 0);
		}
		random_record(&g.page->record);
		for (int round = 0; round < 6; round++) {
			i64 reason = guest_run(&g);

			g.page->record.rip = g.page->record.next_rip ? g.page->record.next_rip : g.page->record.rip + 1;

			if (reason < 0 ? reason != -CONTROL_BAD_ARGUMENT : reason >= REASON_COUNT)
				wrong++;
			else if (reason >= 0)
				reasons[reason]++;
			g.page->record.inject = 0;
			if (reason == REASON_SHUTDOWN)
				break;
		}
	}
	timer_stop();
	check("wrong", wrong, 0);
	check("some-refused", refused > 10, true);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		put("reason ");
		put_number(i);
		put(": ");
		put_number(reasons[i]);
		put("\n");
	}
	check("alive", call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
	call_again(CALL_VM_UNMAP, g.vm, 0, 512, 0);
	GUEST_LOAD(&g, code_hlt);
	check("still-runs", guest_run(&g), REASON_HLT);
	guest_end(&g);
}

const struct section sections[] = {
	{"random", random_guests},
	{0},
};
