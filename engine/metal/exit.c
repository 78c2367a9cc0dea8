/* SPDX-License-Identifier: MIT */
/* What each exit means: a table of short handlers over the exit record. */
#include <string.h>

#include "engine/metal/metal.h"
#include "host/log.h"

enum {
	STRING_BURST = 4096, /* iterations of a REP on devices before others get their turn */
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC = 0x800,
	MSR_X2APIC_END = 0x8ff,
};

#define DR6_BS BIT(14)

const char *const metal_reason_names[REASON_COUNT] = {
	[REASON_INTERRUPTED] = "interrupted",
	[REASON_IO] = "io",
	[REASON_MMIO] = "mmio",
	[REASON_CPUID] = "cpuid",
	[REASON_MSR] = "msr",
	[REASON_HLT] = "hlt",
	[REASON_WINDOW] = "window",
	[REASON_CR] = "cr",
	[REASON_XSETBV] = "xsetbv",
	[REASON_INSTRUCTION] = "instruction",
	[REASON_SHUTDOWN] = "shutdown",
	[REASON_ENTRY_FAILED] = "entry failed",
	[REASON_ENDED] = "ended",
};

/* ---- how an instruction ends ---- */

/* The exception that x86/ has recorded goes in with the next entry. */
static int inject_fault(struct metal_vcpu *m)
{
	const struct x86_fault *f = &m->x.fault;
	struct control_record *r = &m->page->record;

	if (f->vector == VEC_PF || f->vector == VEC_DB) {
		unsigned mask = f->vector == VEC_PF ? STATE_CONTROL : STATE_DEBUG;

		if (metal_pull(m, mask))
			return VCPU_EXIT_ERROR;
		if (f->vector == VEC_PF)
			m->x.s.cr2 = f->address;
		else
			m->x.s.dr[6] |= f->address;
		if (metal_push(m, mask))
			return VCPU_EXIT_ERROR;
	}
	r->inject_error = f->error;
	r->inject = INJECT_VALID | INJECT_EXCEPTION | (f->has_error ? INJECT_ERROR : 0) | f->vector;
	return EXIT_AGAIN;
}

static int inject_ud(struct metal_vcpu *m)
{
	x86_fault(&m->x, VEC_UD);
	return inject_fault(m);
}

static int inject_gp(struct metal_vcpu *m)
{
	x86_fault_code(&m->x, VEC_GP, 0);
	return inject_fault(m);
}

static bool code64(const struct control_record *r)
{
	return r->efer & EFER_LMA && r->cs_attr & SEG_L >> 4;
}

/* The instruction is done; a trap for TF is due as after any other. */
static int complete_at(struct metal_vcpu *m, u64 next)
{
	struct control_record *r = &m->page->record;
	bool step = r->rflags & FL_TF;

	r->rip = code64(r) ? next : (u32)next;
	r->rflags &= ~(u64)FL_RF;
	r->shadow = false;
	if (!step)
		return EXIT_AGAIN;
	x86_fault_record(&m->x, VEC_DB, false, 0, DR6_BS);
	return inject_fault(m);
}

/* length: when the hardware did not say where the next one is. */
static int complete(struct metal_vcpu *m, unsigned length)
{
	const struct control_record *r = &m->page->record;

	if (r->next_rip)
		return complete_at(m, r->next_rip);
	return complete_at(m, r->rip + (r->instruction_length ? r->instruction_length : length));
}

/* ---- instructions that the VMM does itself ---- */

static void port_in(struct x86_emul *e, u16 port, unsigned size, u64 *value)
{
	struct metal_vcpu *m = e->ctx;

	*value = space_read(&m->vcpu->vm->io, port, size);
}

static void port_out(struct x86_emul *e, u16 port, unsigned size, u64 value)
{
	struct metal_vcpu *m = e->ctx;

	space_write(&m->vcpu->vm->io, port, size, value);
}

/* FS or GS before the opcode: the only bases that 64-bit code sees. */
static bool has_segment_prefix(const u8 *code, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		switch (code[i]) {
		case 0x64:
		case 0x65:
			return true;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x66:
		case 0x67:
		case 0xf0:
		case 0xf2:
		case 0xf3:
			break;
		default:
			return false;
		}
	}
	return false;
}

struct fetched {
	u8 code[CODE_MAX];
	unsigned len;
	gva_t base; /* of CS */
};

/* With the record pulled: the bytes at RIP, up to the page's end. 0, or -1 with a fault. */
static int fetch(struct metal_vcpu *m, struct fetched *f)
{
	struct x86_state *s = &m->x.s;
	bool wide = x86_code64(&m->x);
	int n;

	if (!wide && metal_pull(m, STATE_SEGMENTS))
		return -1;
	f->base = wide ? 0 : s->seg[SEG_CS].base;
	n = metal_fetch(m, wide ? s->rip : (u32)(f->base + s->rip), f->code, CODE_MAX);
	if (n < 0)
		return -1;
	f->len = (unsigned)n;
	return 0;
}

/* The instruction crosses into the next page. */
static int fetch_rest(struct metal_vcpu *m, struct fetched *f)
{
	gva_t gva = f->base + m->x.s.rip + f->len;
	int n = metal_fetch(m, x86_code64(&m->x) ? gva : (u32)gva, f->code + f->len, CODE_MAX - f->len);

	if (n < 0)
		return -1;
	f->len += (unsigned)n;
	return 0;
}

/* What of it stays the same. */
void metal_exit_init(struct metal_vcpu *m)
{
	m->emul = (struct x86_emul){
		.gpr = m->page->gpr,
		.load = metal_emul_load,
		.store = metal_emul_store,
		.in = port_in,
		.out = port_out,
		.ctx = m,
	};
}

static unsigned code_bits(const struct x86_state *s)
{
	return s->seg[SEG_CS].attr & SEG_DB ? 32 : 16;
}

static int set_up(struct metal_vcpu *m, const struct fetched *f)
{
	const struct x86_state *s = &m->x.s;
	struct x86_emul *e = &m->emul;
	bool wide = x86_code64(&m->x);

	e->code = f->code;
	e->len = f->len;
	e->bits = wide ? 64 : code_bits(s);
	e->rip = s->rip;
	e->rflags = s->rflags;
	if (wide && !has_segment_prefix(f->code, f->len))
		return 0;
	if (wide && metal_pull(m, STATE_SEGMENTS))
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(e->seg_base); i++)
		e->seg_base[i] = s->seg[i].base;
	return 0;
}

/* Once, and again for the iterations of a REP until something else is due. */
static int repeat(struct metal_vcpu *m, struct x86_emul *e)
{
	u64 rip = e->rip;
	int ret = x86_emulate(e);

	for (unsigned i = 1; !ret && e->rip == rip && i < STRING_BURST; i++) {
		if (atomic_load_explicit(&m->vcpu->events, memory_order_relaxed))
			break;
		ret = x86_emulate(e);
		if (ret) /* the iterations before it stand */
			m->page->record.rflags = e->rflags;
	}
	return ret;
}

static int report_unknown(struct metal_vcpu *m, const struct fetched *f)
{
	const u8 *c = f->code;

	if (!m->reported)
		log_line("vcpu %u: an instruction on device memory that is not known, at %#llx: %02x %02x "
			 "%02x %02x %02x %02x %02x %02x; it gets #UD",
			m->vcpu->id, (unsigned long long)m->x.s.rip, c[0], c[1], c[2], c[3], c[4], c[5], c[6],
			c[7]);
	m->reported = true;
	return inject_ud(m);
}

static int emulate(struct metal_vcpu *m)
{
	struct x86_emul *e = &m->emul;
	struct fetched f;
	int ret;

	if (fetch(m, &f) || set_up(m, &f))
		return inject_fault(m);
	ret = repeat(m, e);
	if (ret == EMUL_SHORT && f.len < CODE_MAX) {
		if (fetch_rest(m, &f) || set_up(m, &f))
			return inject_fault(m);
		ret = repeat(m, e);
	}
	if (ret == EMUL_FAULT)
		return inject_fault(m);
	if (ret)
		return report_unknown(m, &f);
	m->page->record.rflags = e->rflags;
	if (e->rip == m->x.s.rip)
		return EXIT_AGAIN;
	return complete_at(m, e->rip);
}

/* ---- ports and memory ---- */

static void set_rax(struct metal_vcpu *m, unsigned size, u64 value)
{
	u64 *rax = &m->page->gpr[RAX], mask = BIT(8 * size) - 1;

	*rax = (size == 4 ? 0 : *rax & ~mask) | (value & mask);
}

static int on_io(struct metal_vcpu *m)
{
	struct control_record *r = &m->page->record;
	struct space *io = &m->vcpu->vm->io;
	unsigned size = r->io.size;

	if (r->io.string) {
		metal_pull_record(m);
		return emulate(m);
	}
	if (r->io.in)
		set_rax(m, size, space_read(io, r->io.port, size));
	else
		space_write(io, r->io.port, size, m->page->gpr[RAX] & (BIT(8 * size) - 1));
	return complete(m, r->io.port > 0xff ? 1 : 2);
}

static int on_mmio(struct metal_vcpu *m)
{
	const struct control_record *r = &m->page->record;

	if (r->inject & INJECT_VALID) {
		log_line("vcpu %u: an event was being delivered through device memory, at %#llx", m->vcpu->id,
			(unsigned long long)r->mmio.gpa);
		return VCPU_EXIT_TRIPLE_FAULT;
	}
	if (m->vm->private) {
		log_line("vcpu %u: an access to device memory, at %#llx, by an instruction in private memory",
			m->vcpu->id, (unsigned long long)r->mmio.gpa);
		return VCPU_EXIT_ERROR;
	}
	metal_pull_record(m);
	return emulate(m);
}

/* ---- registers ---- */

static u64 edx_eax(const struct metal_vcpu *m)
{
	return m->page->gpr[RDX] << 32 | (u32)m->page->gpr[RAX];
}

static int on_cpuid(struct metal_vcpu *m)
{
	struct x86_cpuid_regs out;
	u64 *gpr = m->page->gpr;

	if (metal_pull(m, STATE_CONTROL))
		return VCPU_EXIT_ERROR;
	x86_cpuid(&m->x, (u32)gpr[RAX], (u32)gpr[RCX], &out);
	gpr[RAX] = out.eax;
	gpr[RBX] = out.ebx;
	gpr[RCX] = out.ecx;
	gpr[RDX] = out.edx;
	return complete(m, 2);
}

/* The local APIC's registers need nothing of the vCPU's state, and are most of what there is. */
static bool is_apic(u32 index)
{
	return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
	       (index >= MSR_X2APIC && index <= MSR_X2APIC_END);
}

static int read_msr(struct metal_vcpu *m, u32 index)
{
	u64 value;

	if (!is_apic(index) && metal_pull(m, STATE_REGS))
		return VCPU_EXIT_ERROR;
	if (is_apic(index))
		m->x.s.cpl = 0; /* else there was no exit */
	if (x86_rdmsr(&m->x, index, &value))
		return inject_fault(m);
	m->page->gpr[RAX] = (u32)value;
	m->page->gpr[RDX] = value >> 32;
	return complete(m, 2);
}

static int write_msr(struct metal_vcpu *m, u32 index)
{
	if (is_apic(index)) {
		m->x.s.cpl = 0;
		return x86_wrmsr(&m->x, index, edx_eax(m)) ? inject_fault(m) : complete(m, 2);
	}
	if (metal_pull(m, STATE_REGS))
		return VCPU_EXIT_ERROR;
	if (x86_wrmsr(&m->x, index, edx_eax(m)))
		return inject_fault(m);
	m->vcpu->regs.tsc_offset = m->x.s.tsc_offset; /* deadlines are in guest TSC */
	return metal_push(m, STATE_REGS) ? VCPU_EXIT_ERROR : complete(m, 2);
}

static int on_msr(struct metal_vcpu *m)
{
	const struct control_record *r = &m->page->record;

	return r->msr.write ? write_msr(m, r->msr.index) : read_msr(m, r->msr.index);
}

static int on_xsetbv(struct metal_vcpu *m)
{
	if (metal_pull(m, STATE_CONTROL | STATE_SEGMENTS))
		return VCPU_EXIT_ERROR;
	if (x86_xsetbv(&m->x, (u32)m->page->gpr[RCX], edx_eax(m)))
		return inject_fault(m);
	return metal_push(m, STATE_CONTROL) ? VCPU_EXIT_ERROR : complete(m, 3);
}

/* ---- instructions ---- */

/* What an intercepted system instruction is: its opcode behind 0f, its ModRM, where it ends. */
struct system_insn {
	u8 op, modrm, rex;
	unsigned len;
};

static int decode_system(struct metal_vcpu *m, struct system_insn *in)
{
	struct fetched f;
	unsigned i = 0;

	*in = (struct system_insn){0};
	metal_pull_record(m);
	if (fetch(m, &f) || (f.len < CODE_MAX && fetch_rest(m, &f) && f.len < 3))
		return -1;
	while (i + 3 < f.len && f.code[i] != 0x0f) {
		in->rex = x86_code64(&m->x) && (f.code[i] & 0xf0) == 0x40 ? f.code[i] : 0;
		i++;
	}
	if (f.code[i] == 0x0f) {
		in->op = f.code[i + 1];
		in->modrm = f.code[i + 2];
		in->len = i + 2;
	}
	return 0;
}

/* MOV to and from a control register, and CLTS. */
static int on_cr(struct metal_vcpu *m)
{
	struct system_insn in;
	unsigned nr, reg;
	int ret;

	if (decode_system(m, &in))
		return inject_fault(m);
	if (metal_pull(m, STATE_CONTROL | STATE_SEGMENTS))
		return VCPU_EXIT_ERROR;
	nr = (in.modrm >> 3 & 7) | (in.rex & 4 ? 8 : 0);
	reg = (in.modrm & 7) | (in.rex & 1 ? 8 : 0);
	if (in.op == 0x20)
		ret = x86_read_cr(&m->x, nr, &m->page->gpr[reg]);
	else if (in.op == 0x22)
		ret = x86_write_cr(&m->x, nr, m->page->gpr[reg]);
	else if (in.op == 0x06)
		ret = x86_clts(&m->x);
	else
		return inject_ud(m);
	if (ret)
		return inject_fault(m);
	if (metal_push(m, STATE_CONTROL))
		return VCPU_EXIT_ERROR;
	return complete_at(m, m->page->record.rip + in.len + (in.op == 0x06 ? 0 : 1));
}

/* Caches stay coherent without the guest's help; what is not offered is #UD. */
static int on_instruction(struct metal_vcpu *m)
{
	struct system_insn in;

	if (decode_system(m, &in))
		return inject_fault(m);
	switch (in.op) {
	case 0x08: /* INVD */
	case 0x09: /* WBINVD */
		return m->x.s.cpl ? inject_gp(m) : complete_at(m, m->page->record.rip + in.len);
	case 0x33: /* RDPMC: there are no counters */
		return inject_gp(m);
	default:
		return inject_ud(m);
	}
}

/* ---- those without an instruction ---- */

static int on_nothing(struct metal_vcpu *m)
{
	(void)m;
	return EXIT_AGAIN;
}

static int on_hlt(struct metal_vcpu *m)
{
	struct control_record *r = &m->page->record;

	m->halted = !(r->inject & INJECT_VALID); /* stepping, it is a trap that comes next */
	r->shadow = false;
	return EXIT_AGAIN;
}

static int on_shutdown(struct metal_vcpu *m)
{
	(void)m;
	return VCPU_EXIT_TRIPLE_FAULT;
}

static int on_entry_failed(struct metal_vcpu *m)
{
	log_line("vcpu %u: the CPU refuses its state (%#llx)", m->vcpu->id,
		(unsigned long long)m->page->record.qualification[0]);
	return VCPU_EXIT_ERROR;
}

static int on_ended(struct metal_vcpu *m)
{
	(void)m;
	log_line("the hypervisor has ended this VM: its memory was used for something else");
	return VCPU_EXIT_ERROR;
}

static int (*const handlers[REASON_COUNT])(struct metal_vcpu *) = {
	[REASON_INTERRUPTED] = on_nothing,
	[REASON_IO] = on_io,
	[REASON_MMIO] = on_mmio,
	[REASON_CPUID] = on_cpuid,
	[REASON_MSR] = on_msr,
	[REASON_HLT] = on_hlt,
	[REASON_WINDOW] = on_nothing,
	[REASON_CR] = on_cr,
	[REASON_XSETBV] = on_xsetbv,
	[REASON_INSTRUCTION] = on_instruction,
	[REASON_SHUTDOWN] = on_shutdown,
	[REASON_ENTRY_FAILED] = on_entry_failed,
	[REASON_ENDED] = on_ended,
};

int metal_exit(struct metal_vcpu *m)
{
	u32 reason = m->page->record.reason;

	if (reason >= REASON_COUNT) {
		log_line("the hypervisor gives a reason that is not known: %u", reason);
		return VCPU_EXIT_ERROR;
	}
	m->stats.exits[reason]++;
	return handlers[reason](m);
}
