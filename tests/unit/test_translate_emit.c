/* SPDX-License-Identifier: MIT */
/* The emitter: what it writes is read back by the decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "engine/translate/emit.h"

static u8 code[64];
static ZydisDecodedInstruction insn;
static ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

/* Decodes what stands in code; its length must be what was emitted. */
static void read_back(const struct emit *e, ZydisMnemonic mnemonic)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, (size_t)(e->p - code), &insn, ops)));
	assert_int_equal(insn.length, e->p - code);
	assert_int_equal(insn.mnemonic, mnemonic);
}

static void test_register_pairs(void **state)
{
	(void)state;
	for (unsigned d = 0; d < 16; d++)
		for (unsigned s = 0; s < 16; s++) {
			struct emit e = { code };

			mov_rr(&e, d, s);
			read_back(&e, ZYDIS_MNEMONIC_MOV);
			assert_int_equal(ops[0].reg.value, ZYDIS_REGISTER_RAX + d);
			assert_int_equal(ops[1].reg.value, ZYDIS_REGISTER_RAX + s);
		}
}

static void check_memory(unsigned reg, int base, int index, unsigned scale, i64 disp)
{
	struct emit e = { code };
	struct mem m = { (i8)base, (i8)index, (u8)scale, disp };

	ld(&e, reg, m);
	read_back(&e, ZYDIS_MNEMONIC_MOV);
	assert_int_equal(ops[0].reg.value, ZYDIS_REGISTER_RAX + reg);
	assert_int_equal(ops[1].mem.base, base < 0 ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RAX + base);
	assert_int_equal(ops[1].mem.index, index < 0 ? ZYDIS_REGISTER_NONE : ZYDIS_REGISTER_RAX + index);
	if (index >= 0)
		assert_int_equal(ops[1].mem.scale, scale);
	assert_int_equal(ops[1].mem.disp.value, disp);
}

static void test_memory_operands(void **state)
{
	static const i64 disps[] = { 0, 1, -128, 127, 128, -129, 0x12345678, -0x12345678 };

	(void)state;
	for (int base = MEM_ABS; base < 16; base++)
		for (int index = -1; index < 16; index++)
			for (unsigned scale = 1; scale <= 8; scale *= 2)
				for (unsigned i = 0; i < ARRAY_SIZE(disps); i++)
					if (index != RSP) /* not encodable */
						check_memory((unsigned)(base + 1) & 15, base, index, scale, disps[i]);
}

static void test_rip_relative(void **state)
{
	struct emit e = { code };

	(void)state;
	st32_imm(&e, mem_at(code + 48), 0x11223344);
	read_back(&e, ZYDIS_MNEMONIC_MOV);
	assert_int_equal(ops[0].mem.base, ZYDIS_REGISTER_RIP);
	/* counted from the end of the instruction, its immediate included */
	assert_ptr_equal(e.p + ops[0].mem.disp.value, code + 48);
	assert_int_equal(ops[1].imm.value.u, 0x11223344);
}

static void check_constant(unsigned reg, u64 value, unsigned max_len)
{
	struct emit e = { code };

	mov_imm(&e, reg, value);
	read_back(&e, ZYDIS_MNEMONIC_MOV);
	assert_in_range(insn.length, 1, max_len);
	if (ops[0].size == 32)
		assert_int_equal(ops[1].imm.value.u & 0xffffffff, value);
	else
		assert_int_equal(ops[1].imm.value.u, value);
}

static void test_constants(void **state)
{
	(void)state;
	for (unsigned reg = 0; reg < 16; reg++) {
		check_constant(reg, 0, 6);
		check_constant(reg, 0xffffffff, 6);
		check_constant(reg, 0xffffffff80000000, 7);
		check_constant(reg, 0x8000000000000001, 10);
	}
}

static void test_branches(void **state)
{
	struct emit e = { code };
	u8 *patch = jcc_fwd(&e, CC_NE);

	(void)state;
	read_back(&e, ZYDIS_MNEMONIC_JNZ);
	fix_to(patch, code + 40);
	read_back(&e, ZYDIS_MNEMONIC_JNZ);
	assert_ptr_equal(e.p + ops[0].imm.value.s, code + 40);
	e.p = code;
	patch = jmp_fwd(&e);
	fix_to(patch, code);
	read_back(&e, ZYDIS_MNEMONIC_JMP);
	assert_ptr_equal(e.p + ops[0].imm.value.s, code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register_pairs), cmocka_unit_test(test_memory_operands),
		cmocka_unit_test(test_rip_relative),   cmocka_unit_test(test_constants),
		cmocka_unit_test(test_branches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
