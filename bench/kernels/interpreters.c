/* SPDX-License-Identifier: MIT */
/* Integer kernels ruled by indirect jumps: a bytecode machine, virtual calls, a parser. */
#include "bench/bench.h"

/* ---- a stack machine ---- */

enum op { PUSH, LOAD, STORE, ADD, SUB, XOR, MUL, SHR, DUP, SWAP, LESS, JNZ, END };

static const u8 program[] = {
	PUSH,
	1,
	STORE,
	0, /* v0 = 1 */
	LOAD,
	1,
	LOAD,
	0,
	ADD,
	STORE,
	1, /* 4: v1 += v0 */
	LOAD,
	1,
	PUSH,
	7,
	SHR,
	LOAD,
	1,
	XOR,
	STORE,
	1,
	LOAD,
	2,
	PUSH,
	3,
	MUL,
	LOAD,
	1,
	ADD,
	STORE,
	2,
	LOAD,
	2,
	DUP,
	SWAP,
	SUB,
	LOAD,
	2,
	ADD,
	STORE,
	2,
	LOAD,
	0,
	PUSH,
	1,
	ADD,
	DUP,
	STORE,
	0,
	PUSH,
	100,
	LESS,
	JNZ,
	4,
	END,
};

static NOINLINE u64 execute(const u8 *code, u64 *v)
{
	u64 stack[16], *sp = stack;
	const u8 *pc = code;

	for (;;) {
		switch (*pc++) {
		case PUSH:
			*sp++ = *pc++;
			break;
		case LOAD:
			*sp++ = v[*pc++];
			break;
		case STORE:
			v[*pc++] = *--sp;
			break;
		case ADD:
			sp--;
			sp[-1] += sp[0];
			break;
		case SUB:
			sp--;
			sp[-1] -= sp[0];
			break;
		case XOR:
			sp--;
			sp[-1] ^= sp[0];
			break;
		case MUL:
			sp--;
			sp[-1] *= sp[0];
			break;
		case SHR:
			sp--;
			sp[-1] >>= sp[0];
			break;
		case DUP:
			sp[0] = sp[-1];
			sp++;
			break;
		case SWAP: {
			u64 t = sp[-1];
			sp[-1] = sp[-2];
			sp[-2] = t;
			break;
		}
		case LESS:
			sp--;
			sp[-1] = sp[-1] < sp[0];
			break;
		case JNZ:
			pc = *--sp ? code + *pc : pc + 1;
			break;
		default:
			return v[2];
		}
	}
}

static u64 interpreter(u64 n)
{
	u64 v[8] = {0}, sum = 0;

	for (; n; n--)
		sum += execute(program, v);
	return sum;
}

/* ---- objects ---- */

struct shape {
	u32 (*area)(const struct shape *);
	u32 a, b;
};

static u32 square(const struct shape *s)
{
	return s->a * s->a;
}

static u32 rectangle(const struct shape *s)
{
	return s->a * s->b;
}

static u32 frame(const struct shape *s)
{
	return 2 * (s->a + s->b);
}

static u32 diagonal(const struct shape *s)
{
	return s->a ^ s->b;
}

static u64 virtual_calls(u64 n)
{
	static u32 (*const kinds[])(const struct shape *) = {square, rectangle, frame, diagonal};
	struct shape *shapes = (struct shape *)arena;
	u32 seed = 31, i;
	u64 sum = 0;

	for (i = 0; i < 1000; i++)
		shapes[i] = (struct shape){kinds[next_random(&seed) & 3], i, i ^ 21};
	for (; n; n--)
		for (i = 0; i < 1000; i++)
			sum += shapes[i].area(&shapes[i]);
	return sum;
}

/* ---- arithmetic expressions by recursive descent ---- */

static i64 expression(const char **p);

static NOINLINE i64 factor(const char **p)
{
	i64 v = 0;

	if (**p == '(') {
		++*p;
		v = expression(p);
		++*p;
		return v;
	}
	if (**p == '-') {
		++*p;
		return -factor(p);
	}
	while (**p >= '0' && **p <= '9')
		v = v * 10 + *(*p)++ - '0';
	return v;
}

static NOINLINE i64 term(const char **p)
{
	i64 v = factor(p), d;

	while (**p == '*' || **p == '/') {
		if (*(*p)++ == '*')
			v *= factor(p);
		else
			v /= (d = factor(p)) ? d : 1;
	}
	return v;
}

static NOINLINE i64 expression(const char **p)
{
	i64 v = term(p);

	while (**p == '+' || **p == '-') {
		if (*(*p)++ == '+')
			v += term(p);
		else
			v -= term(p);
	}
	return v;
}

static u64 parser(u64 n)
{
	static const char *const texts[] = {
		"(12+34)*(56-78)/9+1000*(2+3*(4-5*(6+7)))",
		"1+2+3+4+5+6+7+8+9+10+11+12*13*14*15",
		"-(5*(3+(2*(9-(4+(1+(8*7)))))))",
		"100/7*3-99/(5-2)+65536*2-1",
		"((((((((42))))))))*((1))",
	};
	u64 sum = 0, i;

	for (i = 0; i < n; i++) {
		const char *p = texts[i % 5];

		sum = sum * 31 + expression(&p);
	}
	return sum;
}

const struct row interpreter_rows[] = {
	{.name = "interpreter", .class = "int", .run = interpreter, .n = 4000},
	{.name = "virtual-calls", .class = "int", .run = virtual_calls, .n = 10000},
	{.name = "parser", .class = "int", .run = parser, .n = 200000},
	{.name = NULL},
};
