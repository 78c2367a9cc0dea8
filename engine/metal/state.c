/* SPDX-License-Identifier: MIT */
/* A vCPU's state between struct x86_state and the hypervisor's struct control_state. */
#include <errno.h>

#include "engine/metal/metal.h"
#include "host/log.h"

/* The VMCB keeps a descriptor's attributes without the limit's bits between them. */
static u16 pack_attr(u32 attr)
{
	if (attr & SEG_UNUSABLE)
		attr &= ~(u32)SEG_P;
	return (u16)((attr & 0xff) | (attr >> 4 & 0xf00));
}

static u32 unpack_attr(u16 attr)
{
	u32 wide = (attr & 0xffu) | (attr & 0xf00u) << 4;

	return wide & SEG_P ? wide : wide | SEG_UNUSABLE;
}

static struct control_segment pack_segment(const struct x86_seg *s)
{
	return (struct control_segment){
		.selector = s->sel, .attr = pack_attr(s->attr), .limit = s->limit, .base = s->base};
}

static struct x86_seg unpack_segment(const struct control_segment *c)
{
	return (struct x86_seg){
		.sel = c->selector, .attr = unpack_attr(c->attr), .limit = c->limit, .base = c->base};
}

static void pack_segments(const struct x86_state *s, struct control_state *c)
{
	c->es = pack_segment(&s->seg[SEG_ES]);
	c->cs = pack_segment(&s->seg[SEG_CS]);
	c->ss = pack_segment(&s->seg[SEG_SS]);
	c->ds = pack_segment(&s->seg[SEG_DS]);
	c->fs = pack_segment(&s->seg[SEG_FS]);
	c->gs = pack_segment(&s->seg[SEG_GS]);
	c->ldtr = pack_segment(&s->seg[SEG_LDTR]);
	c->tr = pack_segment(&s->seg[SEG_TR]);
	c->gdtr = (struct control_segment){.base = s->gdt.base, .limit = s->gdt.limit};
	c->idtr = (struct control_segment){.base = s->idt.base, .limit = s->idt.limit};
	c->cpl = s->cpl;
}

static void unpack_segments(struct x86_state *s, const struct control_state *c)
{
	s->seg[SEG_ES] = unpack_segment(&c->es);
	s->seg[SEG_CS] = unpack_segment(&c->cs);
	s->seg[SEG_SS] = unpack_segment(&c->ss);
	s->seg[SEG_DS] = unpack_segment(&c->ds);
	s->seg[SEG_FS] = unpack_segment(&c->fs);
	s->seg[SEG_GS] = unpack_segment(&c->gs);
	s->seg[SEG_LDTR] = unpack_segment(&c->ldtr);
	s->seg[SEG_TR] = unpack_segment(&c->tr);
	s->gdt = (struct x86_table){.base = c->gdtr.base, .limit = c->gdtr.limit};
	s->idt = (struct x86_table){.base = c->idtr.base, .limit = c->idtr.limit};
	s->cpl = c->cpl;
}

static void pack_control(const struct x86_state *s, struct control_state *c)
{
	c->cr0 = s->cr0;
	c->cr2 = s->cr2;
	c->cr3 = s->cr3;
	c->cr4 = s->cr4;
	c->efer = s->efer;
	c->rip = s->rip;
	c->rflags = s->rflags;
	c->xcr0 = s->xcr0;
}

static void unpack_control(struct x86_state *s, const struct control_state *c)
{
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->efer = c->efer;
	s->rip = c->rip;
	s->rflags = c->rflags;
	s->xcr0 = c->xcr0;
}

static void pack_debug(const struct x86_state *s, struct control_state *c)
{
	c->dr0 = s->dr[0];
	c->dr1 = s->dr[1];
	c->dr2 = s->dr[2];
	c->dr3 = s->dr[3];
	c->dr6 = s->dr[6];
	c->dr7 = s->dr[7];
}

static void unpack_debug(struct x86_state *s, const struct control_state *c)
{
	s->dr[0] = c->dr0;
	s->dr[1] = c->dr1;
	s->dr[2] = c->dr2;
	s->dr[3] = c->dr3;
	s->dr[6] = c->dr6;
	s->dr[7] = c->dr7;
}

static void pack_msrs(const struct x86_state *s, struct control_state *c)
{
	c->star = s->star;
	c->lstar = s->lstar;
	c->cstar = s->cstar;
	c->sfmask = s->sfmask;
	c->kernel_gs_base = s->kernel_gs_base;
	c->sysenter_cs = s->sysenter_cs;
	c->sysenter_esp = s->sysenter_esp;
	c->sysenter_eip = s->sysenter_eip;
	c->pat = s->pat;
	c->tsc_aux = s->tsc_aux;
	c->tsc_offset = s->tsc_offset;
	c->spec_ctrl = s->spec_ctrl;
}

static void unpack_msrs(struct x86_state *s, const struct control_state *c)
{
	s->star = c->star;
	s->lstar = c->lstar;
	s->cstar = c->cstar;
	s->sfmask = c->sfmask;
	s->kernel_gs_base = c->kernel_gs_base;
	s->sysenter_cs = c->sysenter_cs;
	s->sysenter_esp = c->sysenter_esp;
	s->sysenter_eip = c->sysenter_eip;
	s->pat = c->pat;
	s->tsc_aux = c->tsc_aux;
	s->tsc_offset = c->tsc_offset;
	s->spec_ctrl = c->spec_ctrl;
}

static int state_call(struct metal_vcpu *m, u64 call, unsigned mask)
{
	i64 ret = metal_call(&m->vm->dev, call, m->handle, mask, 0, 0);

	m->stats.state_calls++;
	if (ret >= 0)
		return 0;
	log_line("the hypervisor refuses a vCPU's state: %s", metal_error(ret));
	return -EIO;
}

void metal_pull_record(struct metal_vcpu *m)
{
	const struct control_record *r = &m->page->record;
	struct x86_state *s = &m->x.s;

	s->rip = r->rip;
	s->rflags = r->rflags;
	s->cr0 = r->cr0;
	s->cr3 = r->cr3;
	s->cr4 = r->cr4;
	s->efer = r->efer;
	s->cpl = r->cpl;
	s->seg[SEG_CS].attr = unpack_attr((u16)r->cs_attr);
}

/* The record's RIP and RFLAGS are newer than the state's: they are the ones that RUN takes. */
int metal_pull(struct metal_vcpu *m, unsigned mask)
{
	struct x86_state *s = &m->x.s;
	int ret = state_call(m, CALL_VCPU_GET, mask);

	if (ret)
		return ret;
	if (mask & STATE_SEGMENTS)
		unpack_segments(s, &m->page->state);
	if (mask & STATE_CONTROL)
		unpack_control(s, &m->page->state);
	if (mask & STATE_DEBUG)
		unpack_debug(s, &m->page->state);
	if (mask & STATE_MSRS)
		unpack_msrs(s, &m->page->state);
	s->rip = m->page->record.rip;
	s->rflags = m->page->record.rflags;
	return 0;
}

int metal_push(struct metal_vcpu *m, unsigned mask)
{
	const struct x86_state *s = &m->x.s;
	struct control_record *r = &m->page->record;

	if (mask & STATE_SEGMENTS)
		pack_segments(s, &m->page->state);
	if (mask & STATE_CONTROL)
		pack_control(s, &m->page->state);
	if (mask & STATE_DEBUG)
		pack_debug(s, &m->page->state);
	if (mask & STATE_MSRS)
		pack_msrs(s, &m->page->state);
	r->rip = s->rip;
	r->rflags = s->rflags;
	return state_call(m, CALL_VCPU_SET, mask);
}
