/* SPDX-License-Identifier: MIT */
/*
 * Memory that others change under the translate engine: devices that fill
 * translated code, and a memory space that gets another shape.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/translate/cpu.h"
#include "vm/dma.h"
#include "vm/vm.h"

/* The guest's memory, mapped one to one, with RAM_SIZE more for what appears and goes. */
enum {
	PML4 = 0x1000,
	CODE = 0x100000,
	FUNCTION = 0x140000,
	STACK = 0x180000,
	RAM_SIZE = 4 << 20,
	CARD = 8 << 20, /* the card's registers */
	PORT = 0x60,
	WINDOW = 16 << 20, /* where its memory may be */
	WINDOW_SIZE = 1 << 20,
};

struct card {
	struct device dev;
	struct vm *vm;
	struct region registers, port, memory;
	void (*written)(struct card *card, u64 value);
	u64 reads;
};

static struct vm vm;
static u8 *ram;
static struct region ram_region = {.name = "ram", .size = RAM_SIZE, .direct = DIRECT_READ | DIRECT_WRITE};

static u64 card_read(struct device *dev, u64 offset, unsigned size)
{
	struct card *card = container_of(dev, struct card, dev);

	(void)offset;
	(void)size;
	return ++card->reads;
}

static void card_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct card *card = container_of(dev, struct card, dev);

	(void)offset;
	(void)size;
	card->written(card, value);
}

static const struct region_ops card_ops = {.read = card_read, .write = card_write};
static const struct device_ops no_ops;
static struct card card;

/* ---- a machine ---- */

static void put64(u64 at, u64 value)
{
	memcpy(ram + at, &value, 8);
}

static struct x86_seg segment(u16 sel, u32 attr)
{
	return (struct x86_seg){.sel = sel, .attr = attr, .limit = 0xffffffff};
}

static void set_state(struct x86_state *s, u64 rip)
{
	*s = (struct x86_state){.rip = rip, .rflags = FL_ONE};
	for (unsigned i = SEG_ES; i <= SEG_DS; i++)
		s->seg[i] = segment(0x18, 0xc093);
	s->seg[SEG_CS] = segment(0x10, 0xa09b);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_LME | EFER_LMA;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->xcr0 = 1;
	s->gpr[RSP] = STACK;
	s->gpr[RBX] = CARD;
	s->gpr[RSI] = WINDOW;
}

/* Large pages, except where the test wants to see single ones. */
static void make_tables(void)
{
	put64(PML4, 0x2003);
	put64(0x2000, 0x3003);
	for (u64 i = 0; i < 512; i++)
		put64(0x3000 + 8 * i, i * MIB(2) | 0x83);
}

static int setup(void **state)
{
	(void)state;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(vm_init(&vm, "memory", &translate_engine, 1), 0);
	vm.tsc_khz = 2000000;
	ram_region.host = ram;
	assert_int_equal(space_add(&vm.mem, &ram_region), 0);
	card = (struct card){.dev.ops = &no_ops, .vm = &vm};
	card.registers = (struct region){
		.name = "card", .base = CARD, .size = 4096, .ops = &card_ops, .dev = &card.dev};
	card.port = card.registers;
	card.port.base = PORT;
	card.port.size = 4;
	card.memory = (struct region){.name = "card memory",
		.base = WINDOW,
		.size = WINDOW_SIZE,
		.host = malloc(WINDOW_SIZE + 4096),
		.direct = DIRECT_READ | DIRECT_WRITE};
	card.memory.host = (u8 *)ALIGN_UP((u64)card.memory.host, 4096);
	vm_add_device(&vm, &card.dev);
	assert_int_equal(space_add(&vm.mem, &card.registers), 0);
	assert_int_equal(space_add(&vm.io, &card.port), 0);
	assert_int_equal(vm.engine->vcpu_init(&vm.vcpu[0]), 0);
	vm.engine_ready = vm.vcpu[0].started = true; /* so that vcpu_kick reaches the engine */
	make_tables();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm.engine->vcpu_fini(&vm.vcpu[0]);
	vm_fini(&vm);
	munmap(ram, RAM_SIZE);
	return 0;
}

/* Runs code, which ends in HLT, and returns RAX. */
static u64 run(const u8 *code, size_t len)
{
	memcpy(ram + CODE, code, len);
	dma_wrote(&vm, ram + CODE, len);
	set_state(&vm.vcpu[0].regs, CODE);
	vm.vcpu[0].events = 0;
	vm.engine->regs_put(&vm.vcpu[0]);
	assert_int_equal(vm.engine->run(&vm.vcpu[0]), VCPU_EXIT_HLT);
	vm.engine->regs_get(&vm.vcpu[0]);
	return vm.vcpu[0].regs.gpr[RAX];
}
#define RUN(...) run((const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

/* mov $imm, %eax; ret */
static void make_function(u8 *code, u32 imm)
{
	code[0] = 0xb8;
	memcpy(code + 1, &imm, 4);
	code[5] = 0xc3;
}

static void set_function(u32 imm)
{
	make_function(ram + FUNCTION, imm);
	dma_wrote(&vm, ram + FUNCTION, 6);
}

#define CALL_FUNCTION(behind) /* call FUNCTION, from `behind` bytes after CODE */ \
	0xe8, (u8)(FUNCTION - CODE - (behind)), (u8)((FUNCTION - CODE - (behind)) >> 8), \
		(u8)((FUNCTION - CODE - (behind)) >> 16), 0
#define STORE_TO_CARD 0x89, 0x0b /* mov %ecx, (%rbx) */

/* ---- DMA ---- */

static void fill_function(struct card *c, u64 value)
{
	u8 code[6];

	make_function(code, (u32)value);
	assert_int_equal(dma_write(c->vm, FUNCTION, code, sizeof(code)), 0);
}

/* The device has done its work when the store to it is over. */
static void test_dma_at_once(void **state)
{
	(void)state;
	card.written = fill_function;
	set_function(1);
	/* r8 = 1000; ecx = 5: loop: call; sum += eax; ecx += 1; store; dec r8; jnz; eax = sum */
	assert_int_equal(RUN(0x41, 0xb8, 0xe8, 3, 0, 0, /* mov $1000, %r8d */
				 0x31, 0xd2, /* xor %edx, %edx */
				 0xb9, 5, 0, 0, 0, /* mov $5, %ecx */
				 CALL_FUNCTION(18), /* 13: */
				 0x01, 0xc2, /* add %eax, %edx */
				 0xff, 0xc1, /* inc %ecx */
				 STORE_TO_CARD, 0x41, 0xff, 0xc8, /* dec %r8d */
				 0x75, 0xf0, /* jnz 13 */
				 0x89, 0xd0, 0xf4),
		1 + 999 * 6 + 999 * 998 / 2);
}

/* The device changes a constant of the very block that stores to it, right behind the store. */
static void fill_ahead(struct card *c, u64 value)
{
	u32 imm = (u32)value;

	assert_int_equal(dma_write(c->vm, CODE + 9 + 5, &imm, sizeof(imm)), 0);
}

static void test_dma_in_the_block(void **state)
{
	(void)state;
	card.written = fill_ahead;
	assert_int_equal(RUN(0x31, 0xd2, /* xor %edx, %edx */
				 0xb9, 100, 0, 0, 0, /* mov $100, %ecx */
				 STORE_TO_CARD, /* 7: */
				 0x90, 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, /* mov $0, %eax: becomes ecx */
				 0x01, 0xc2, /* add %eax, %edx */
				 0xff, 0xc9, 0x75, 0xef, /* dec %ecx; jnz 7 */
				 0x89, 0xd0, 0xf4),
		5050);
}

/* The same by a port, which is a helper's work. */
static void fill_behind_out(struct card *c, u64 value)
{
	u32 imm = (u32)value;

	assert_int_equal(dma_write(c->vm, CODE + 9 + 5, &imm, sizeof(imm)), 0);
}

static void test_dma_by_port(void **state)
{
	(void)state;
	card.written = fill_behind_out;
	assert_int_equal(RUN(0x31, 0xf6, /* xor %esi, %esi */
				 0xba, PORT, 0, 0, 0, /* mov $PORT, %edx */
				 0x89, 0xc8, /* 7: mov %ecx, %eax */
				 0xef, 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, /* out %eax, %dx; mov $0, %eax: becomes ecx */
				 0x01, 0xc6, /* add %eax, %esi */
				 0xff, 0xc1, 0x83, 0xf9, 100, /* inc %ecx; cmp $100, %ecx */
				 0x7e, 0xec, /* jle 7 */
				 0x89, 0xf0, 0xf4),
		5050);
}

/* Many pages of code in pieces: more than the list of ranges holds. */
static void fill_many(struct card *c, u64 value)
{
	u8 code[6];

	make_function(code, (u32)value);
	for (u64 page = 0; page < 2 * WRITTEN_MAX; page++)
		assert_int_equal(dma_write(c->vm, FUNCTION + page * 8192, code, sizeof(code)), 0);
}

static void test_dma_overflow(void **state)
{
	u8 code[512] = {0x31, 0xd2};
	size_t n = 2;

	(void)state;
	card.written = fill_many;
	fill_many(&card, 3);
	for (unsigned round = 0; round < 2; round++) {
		for (u64 page = 0; page < 24; page++) {
			u64 target = FUNCTION + page * 8192;
			u32 rel = (u32)(target - (CODE + n + 5));

			code[n++] = 0xe8;
			memcpy(code + n, &rel, 4);
			n += 4;
			code[n++] = 0x01, code[n++] = 0xc2;
		}
		if (!round) {
			memcpy(code + n, (u8[]){0xb9, 4, 0, 0, 0, STORE_TO_CARD}, 7);
			n += 7;
		}
	}
	memcpy(code + n, (u8[]){0x89, 0xd0, 0xf4}, 3);
	assert_int_equal(run(code, n + 3), 24 * 3 + 24 * 4);
}

/* A function that another thread rewrites, then tells; the guest looks at the word and synchronises by CPUID. */
struct filler {
	_Atomic bool stop;
	u64 rounds;
};

enum { TOLD = 0x1f0000, ANSWER = 0x1f1000 };

static void *fill_and_tell(void *arg)
{
	struct filler *filler = arg;
	volatile u32 *told = (u32 *)(ram + TOLD), *answer = (u32 *)(ram + ANSWER);

	time_t end = time(NULL) + 2; /* on a busy host each round may wait for the other thread's turn */

	for (u32 i = 1; i < 20000 && !filler->stop && (i < 20 || time(NULL) < end); i++) {
		make_function(ram + FUNCTION, i);
		dma_wrote(&vm, ram + FUNCTION, 6);
		*told = i;
		while (*answer != i && !filler->stop)
			;
		filler->rounds = i;
	}
	*told = ~0u;
	return NULL;
}

static void test_dma_from_another_thread(void **state)
{
	struct filler filler = {0};
	pthread_t thread;
	u64 wrong;

	(void)state;
	memset(ram + TOLD, 0, 4);
	set_function(0);
	assert_int_equal(pthread_create(&thread, NULL, fill_and_tell, &filler), 0);
	wrong = RUN(0xbd, 0, 0, 0x1f, 0, /* mov $TOLD, %ebp */
		0x31, 0xff, /* xor %edi, %edi: the last one seen */
		0x45, 0x31, 0xc0, /* xor %r8d, %r8d: wrong answers */
		0x44, 0x8b, 0x4d, 0, /* 10: mov (%rbp), %r9d */
		0x41, 0x39, 0xf9, /* cmp %edi, %r9d */
		0x74, 0xf7, /* je 10 */
		0x44, 0x89, 0xcf, /* mov %r9d, %edi */
		0x83, 0xff, 0xff, /* cmp $-1, %edi */
		0x74, 0x18, /* je out */
		0x31, 0xc0, 0x0f, 0xa2, /* xor %eax, %eax; cpuid */
		CALL_FUNCTION(36), 0x39, 0xf8, /* cmp %edi, %eax */
		0x74, 0x03, /* je 43 */
		0x41, 0xff, 0xc0, /* inc %r8d */
		0x89, 0xbd, 0x00, 0x10, 0, 0, /* 43: mov %edi, 0x1000(%rbp) */
		0xeb, 0xd7, /* jmp 10 */
		0x44, 0x89, 0xc0, 0xf4); /* out: mov %r8d, %eax; hlt */
	filler.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(wrong, 0);
	assert_true(filler.rounds >= 19);
}

/* Pages whose code has gone are not looked at for ever. */
static void test_marks_go(void **state)
{
	struct cpu *cpu = vm.vcpu[0].engine;
	u64 seen = cpu->stats.dma_over_code;

	(void)state;
	card.written = fill_function;
	set_function(1);
	assert_int_equal(RUN(CALL_FUNCTION(5), 0xf4), 1);
	for (unsigned i = 0; i < 100; i++) { /* beside the function: patience ends some day */
		vm.engine->ram_written(&vm, ram + FUNCTION + 64, 8);
		RUN(0x31, 0xc0, 0xf4);
	}
	seen = cpu->stats.dma_over_code - seen;
	vm.engine->ram_written(&vm, ram + FUNCTION + 64, 8);
	assert_int_equal(cpu->pending, 0);
	assert_in_range(seen, 100, 150); /* 100 for the code that RUN wrote */
}

/* ---- vector state ---- */

static void use_vectors(struct card *c, u64 value)
{
	const struct cpu *cpu = c->vm->vcpu[0].engine;

	(void)value;
	__asm__ volatile("pcmpeqb %%xmm0, %%xmm0; pcmpeqb %%xmm15, %%xmm15" : : : "xmm0", "xmm15");
	if (cpu->xcr0 & 4)
		__asm__ volatile("vcmptrueps %ymm3, %ymm3, %ymm3; vcmptrueps %ymm8, %ymm8, %ymm8");
	if (cpu->xcr0 & XCR0_ZMM)
		__asm__ volatile("vpternlogd $255, %zmm1, %zmm1, %zmm1; vpternlogd $255, %zmm20, %zmm20, %zmm20;"
				 "kxnord %k3, %k3, %k3");
}

static void check_component(const struct cpu *cpu, const u8 *before, unsigned bit, size_t at, size_t size)
{
	bool was = *(const u64 *)(before + 512) >> bit & 1, is = *(const u64 *)(cpu->xsave + 512) >> bit & 1;

	for (size_t i = at; i < at + size; i++)
		assert_int_equal(is ? cpu->xsave[i] : 0, was ? before[i] : 0);
}

/* Whatever is in use, a device may use what it likes. */
static void test_vectors_across_a_device(void **state)
{
	static const u64 used[] = {3, 2, 7, 0x87, 0xe7, 0};
	struct cpu *cpu = vm.vcpu[0].engine;
	static u8 before[sizeof(cpu->xsave)];

	(void)state;
	card.written = use_vectors;
	for (size_t k = 0; k < ARRAY_SIZE(used); k++) {
		memset(cpu->xsave, 0, sizeof(cpu->xsave));
		for (size_t i = 0; i < sizeof(cpu->xsave); i++)
			if (i < 24 || (i >= 32 && (i - 32) % 16 < 8 && i < 160) || (i >= 160 && i < 416) || i >= 576)
				cpu->xsave[i] = (u8)(i * 7 + i / 256);
		*(u16 *)cpu->xsave = 0x37f;
		memset(cpu->xsave + 2, 0, 22);
		*(u32 *)(cpu->xsave + 24) = 0x1fa0;
		*(u64 *)(cpu->xsave + 512) = used[k] & cpu->xcr0;
		memcpy(before, cpu->xsave, sizeof(before));
		cpu->fpu = FPU_STORED;
		RUN(STORE_TO_CARD, STORE_TO_CARD, 0xf4);
		assert_int_equal(cpu->fpu, FPU_STORED);
		check_component(cpu, before, 0, 32, 128);
		check_component(cpu, before, 1, 160, 256);
		if (used[k] & 6)
			assert_int_equal(*(u32 *)(cpu->xsave + 24), 0x1fa0);
		for (unsigned bit = 2; bit < 8; bit++)
			if (cpu->xcr0 >> bit & 1)
				check_component(cpu, before, bit, cpu->xoffset[bit], cpu->xsize[bit]);
	}
}

/* ---- the map ---- */

static void toggle_memory(struct card *c, u64 value)
{
	if (value & 1)
		assert_int_equal(space_add(&c->vm->mem, &c->memory), 0);
	else
		space_remove(&c->vm->mem, &c->memory);
	vm_map_changed(c->vm);
}

/* A window that is opened, read, closed and read, all in one loop: never a stale byte. */
static void test_window_comes_and_goes(void **state)
{
	struct cpu *cpu = vm.vcpu[0].engine;
	u64 bounces;

	(void)state;
	card.written = toggle_memory;
	memset(card.memory.host, 0x11, WINDOW_SIZE);
	/* loop 1000: ecx = 1, store; edx += (rsi); ecx = 0, store; edx -= (rsi) (all ones) */
	assert_int_equal(RUN(0x31, 0xd2, /* xor %edx, %edx */
				 0x41, 0xb8, 0xe8, 3, 0, 0, /* mov $1000, %r8d */
				 0xb9, 1, 0, 0, 0, STORE_TO_CARD, /* 8: */
				 0x0f, 0xb6, 0x06, /* movzbl (%rsi), %eax */
				 0x01, 0xc2, 0x0f, 0xb6, 0x46, 8, 0x01, 0xc2, /* a group with the one before */
				 0x31, 0xc9, STORE_TO_CARD, 0x0f, 0xb6, 0x06, 0x01, 0xc2, 0x41, 0xff, 0xc8, /* dec %r8d */
				 0x75, 0xe0, /* jnz 8 */
				 0x89, 0xd0, 0xf4),
		1000 * (0x11 + 0x11 + 0xff));
	/* open, then many accesses: none of them goes the slow way */
	RUN(0xb9, 1, 0, 0, 0, STORE_TO_CARD, 0x8b, 0x06, 0x89, 0x06, 0xf4);
	bounces = cpu->stats.bounces;
	RUN(0xb9, 0, 0, 1, 0, /* mov $0x10000, %ecx */
		0x01, 0x0e, 0x03, 0x06, /* 5: add %ecx, (%rsi); add (%rsi), %eax */
		0x66, 0x01, 0x4e, 0x40, /* add %cx, 0x40(%rsi) */
		0xff, 0xc9, 0x75, 0xf4, 0xf4); /* dec %ecx; jnz 5; hlt */
	assert_int_equal(cpu->stats.bounces, bounces);
	space_remove(&vm.mem, &card.memory);
	vm_map_changed(&vm);
}

static void move_memory(struct card *c, u64 value)
{
	assert_int_equal(space_move(&c->vm->mem, &c->memory, WINDOW + (value & 1) * WINDOW_SIZE), 0);
	vm_map_changed(c->vm);
}

/* Code in a card's memory goes with it, and code elsewhere stays. */
static void test_code_in_a_window(void **state)
{
	struct cpu *cpu = vm.vcpu[0].engine;
	u64 before;

	(void)state;
	card.written = move_memory;
	assert_int_equal(space_add(&vm.mem, &card.memory), 0);
	vm_map_changed(&vm);
	make_function(card.memory.host, 7);
	make_function(card.memory.host + 4096, 8);
	set_function(1);
	assert_int_equal(RUN(CALL_FUNCTION(5), 0xff, 0xd6, 0xf4), 7); /* call *%rsi */
	before = cpu->stats.fragments;
	/* ecx = 1, store; call *0x100000(%rsi) by lea; add 0x1000 */
	assert_int_equal(RUN(0xb9, 1, 0, 0, 0, STORE_TO_CARD, 0x48, 0x8d, 0xbe, 0x00, 0x10, 0x10, 0, /* lea 0x101000(%rsi), %rdi */
				 0xff, 0xd7, 0x89, 0xc2, /* call *%rdi; mov %eax, %edx */
				 0x48, 0x81, 0xef, 0x00, 0x10, 0, 0, /* sub $0x1000, %rdi */
				 0xff, 0xd7, 0x01, 0xd0, 0xf4), /* call *%rdi; add %edx, %eax; hlt */
		15);
	assert_in_range(cpu->stats.fragments - before, 3, 12);
	/* the moved window's memory is written by the device: its code goes, where it is now */
	make_function(card.memory.host, 9);
	dma_wrote(&vm, card.memory.host, 6);
	assert_int_equal(RUN(0x48, 0x8d, 0xbe, 0, 0, 0x10, 0, 0xff, 0xd7, 0xf4), 9);
	space_remove(&vm.mem, &card.memory);
	vm_map_changed(&vm);
}

/* A window over RAM hides it, also code in it. */
static void cover_function(struct card *c, u64 value)
{
	(void)value;
	c->memory.base = FUNCTION & ~(WINDOW_SIZE - 1ull);
	assert_int_equal(space_add(&c->vm->mem, &c->memory), 0);
	vm_map_changed(c->vm);
}

static void test_window_over_code(void **state)
{
	(void)state;
	card.written = cover_function;
	set_function(1);
	memcpy(card.memory.host, ram + CODE, WINDOW_SIZE);
	/* the running code is covered, too: by the same bytes */
	memcpy(card.memory.host, (u8[]){CALL_FUNCTION(5), STORE_TO_CARD, 0x89, 0xc2, CALL_FUNCTION(14), 0x01, 0xd0, 0xf4}, 17);
	make_function(card.memory.host + (FUNCTION - CODE), 50);
	assert_int_equal(RUN(CALL_FUNCTION(5), STORE_TO_CARD, 0x89, 0xc2, CALL_FUNCTION(14), 0x01, 0xd0, 0xf4), 51);
	space_remove(&vm.mem, &card.memory);
	vm_map_changed(&vm);
	card.memory.base = WINDOW;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dma_at_once),
		cmocka_unit_test(test_dma_in_the_block),
		cmocka_unit_test(test_dma_by_port),
		cmocka_unit_test(test_dma_overflow),
		cmocka_unit_test(test_dma_from_another_thread),
		cmocka_unit_test(test_marks_go),
		cmocka_unit_test(test_vectors_across_a_device),
		cmocka_unit_test(test_window_comes_and_goes),
		cmocka_unit_test(test_code_in_a_window),
		cmocka_unit_test(test_window_over_code),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
