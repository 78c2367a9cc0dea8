/* SPDX-License-Identifier: MIT */
/*
 * The AHCI controller. Facts: Serial ATA AHCI 1.3.1; Serial ATA 3.1 for the FISes.
 *
 * What the guest lays out in memory (command list, tables, scatter lists) is
 * read once per command and checked; commands go to dev/ata.c. Queued commands that
 * complete together are told to the guest together.
 */
#include "dev/ahci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ata.h"
#include "host/iov.h"
#include "vm/dma.h"
#include "vm/vm.h"

#define REGISTERS KIB(4)
#define PORT_BASE 0x100
#define PORT_SIZE 0x80
#define SEGMENTS 1024u /* of one command, joined where they are neighbours */
#define PRDT_MAX SEGMENTS

enum {
	HBA_CAP = 0x00,
	HBA_GHC = 0x04,
	HBA_IS = 0x08,
	HBA_PI = 0x0c,
	HBA_VERSION = 0x10,

	CAP_SLOTS = (ATA_TAGS - 1) << 8,
	CAP_AHCI_ONLY = 1 << 18,
	CAP_SPEED_6G = 3 << 20,
	CAP_OVERRIDE = 1 << 24, /* PxCMD.CLO */
	CAP_QUEUEING = 1 << 30,

	GHC_RESET = 1 << 0,
	GHC_INTERRUPTS = 1 << 1,
	VERSION_1_3 = 0x00010300,
};

#define CAP_64BIT BIT(31)
#define GHC_AHCI BIT(31)

enum {
	PORT_CLB = 0x00,
	PORT_CLBU = 0x04,
	PORT_FB = 0x08,
	PORT_FBU = 0x0c,
	PORT_IS = 0x10,
	PORT_IE = 0x14,
	PORT_CMD = 0x18,
	PORT_TFD = 0x20,
	PORT_SIG = 0x24,
	PORT_SSTS = 0x28,
	PORT_SCTL = 0x2c,
	PORT_SERR = 0x30,
	PORT_SACT = 0x34,
	PORT_CI = 0x38,

	IS_REGISTER = 1 << 0, /* D2H register FIS */
	IS_PIO = 1 << 1,
	IS_SET_BITS = 1 << 3, /* set device bits FIS */
	IS_CONNECT = 1 << 6, /* shows SERR_EXCHANGED */
	IS_PHY_READY = 1 << 22, /* shows SERR_PHY_READY */
	IS_BUS_FATAL = 1 << 29,
	IS_TASK_FILE = 1 << 30,
	IS_STICKY = 0x7d80003f, /* what is cleared by writing ones */
	IE_MASK = 0x7dc0007f,

	CMD_START = 1 << 0,
	CMD_SPUN_UP = 1 << 1,
	CMD_POWERED = 1 << 2,
	CMD_OVERRIDE = 1 << 3,
	CMD_FIS_ENABLE = 1 << 4,
	CMD_FIS_RUNNING = 1 << 14,
	CMD_RUNNING = 1 << 15,
	CMD_ATAPI = 1 << 24,
	CMD_WRITABLE = CMD_START | CMD_FIS_ENABLE | CMD_ATAPI,
	CMD_SLOT_SHIFT = 8,

	SSTS_UP = 0x133, /* active, at 6 Gbit/s, a device is there */
	SCTL_DET = 0xf,
	SCTL_MASK = 0xfff,
	DET_NONE = 0,
	DET_RESET = 1,
	DET_OFF = 4,
	SERR_PHY_READY = 1 << 16,
	SERR_EXCHANGED = 1 << 26,
	TFD_NOTHING = 0x7f,
};

/* The command header and the table that it leads to. */
enum {
	HEADER_LEN = 32,
	HEADER_FIS_LEN = 0x1f, /* words */
	HEADER_ATAPI = 1 << 5,
	HEADER_WRITE = 1 << 6,
	TABLE_PACKET = 0x40,
	TABLE_PRDT = 0x80,
	PRD_LEN = 16,
	PRD_BYTES = 0x3fffff,

	FIS_COMMAND = 0x80, /* in its second byte: not only the control register */
	FIS_SOFT_RESET = 0x04,
	FIS_D2H = 0x34,
	FIS_PIO_SETUP = 0x5f,
	FIS_SET_BITS = 0xa1,
	FIS_INTERRUPT = 0x40,
	RECEIVED_PIO = 0x20, /* places in the received FIS area */
	RECEIVED_D2H = 0x40,
	RECEIVED_SET_BITS = 0x58,
};

struct ahci_port;

struct ahci_slot {
	struct ata_command command;
	struct ahci_port *port;
	u64 header; /* its address */
	struct iovec iov[SEGMENTS];
};

struct ahci_port {
	struct ahci *ahci;
	unsigned index;
	struct ata_drive drive;
	struct ahci_slot *slot; /* ATA_TAGS of them */
	u64 list, received; /* CLB, FB */
	u32 is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	u32 busy; /* slots that the drive has */
	u32 queued; /* of these: queued commands */
	u32 done; /* tags to be told by a set device bits FIS */
	unsigned current, next; /* slots: of the latest command, and the first to look at */
	bool halted; /* after an error, until the guest stops the port */
	bool dropping; /* what ends now is not told */
	bool in_reset; /* a soft reset's first half has come */
};

struct ahci {
	struct pci_function pci;
	struct region region;
	struct vm *vm;
	u32 ghc, is;
	unsigned nports;
	struct ahci_port *port[AHCI_PORTS];
};

/* ---- interrupts ---- */

static u32 port_is(const struct ahci_port *p)
{
	return p->is | (p->serr & SERR_EXCHANGED ? IS_CONNECT : 0) |
	       (p->serr & SERR_PHY_READY ? IS_PHY_READY : 0);
}

/* `again`: the guest has acknowledged, and what is left is to be told once more. */
static void update_irq(struct ahci *a, bool again)
{
	u32 before = again ? 0 : a->is;

	for (unsigned i = 0; i < a->nports; i++) {
		if (port_is(a->port[i]) & a->port[i]->ie)
			a->is |= 1u << i;
	}
	if (a->ghc & GHC_INTERRUPTS && a->is & ~before)
		pci_send_msi(&a->pci, 0);
	pci_set_intx(&a->pci, a->ghc & GHC_INTERRUPTS && a->is);
}

static void raise(struct ahci_port *p, u32 bits)
{
	p->is |= bits;
	update_irq(p->ahci, false);
}

/* ---- FISes to the guest ---- */

/* A wrong address is the guest's loss. */
static void put(const struct ahci_port *p, u64 gpa, const void *data, size_t len)
{
	if (pci_bus_master(&p->ahci->pci))
		dma_write(p->ahci->vm, gpa, data, len);
}

static void receive(struct ahci_port *p, unsigned offset, const u8 *fis, size_t len)
{
	if (p->cmd & CMD_FIS_ENABLE)
		put(p, p->received + offset, fis, len);
}

static void fill_registers(const struct ata_command *c, u8 *fis)
{
	fis[2] = c->status;
	fis[3] = c->error;
	fis[4] = (u8)c->lba;
	fis[5] = (u8)(c->lba >> 8);
	fis[6] = (u8)(c->lba >> 16);
	fis[7] = c->fis[7];
	fis[8] = (u8)(c->lba >> 24);
	fis[9] = (u8)(c->lba >> 32);
	fis[10] = (u8)(c->lba >> 40);
	fis[12] = (u8)c->count;
	fis[13] = (u8)(c->count >> 8);
}

static void receive_registers(struct ahci_port *p, const struct ata_command *c)
{
	u8 fis[20] = {FIS_D2H, FIS_INTERRUPT};

	fill_registers(c, fis);
	receive(p, RECEIVED_D2H, fis, sizeof(fis));
}

static void receive_pio(struct ahci_port *p, const struct ata_command *c)
{
	u8 fis[20] = {FIS_PIO_SETUP, FIS_INTERRUPT | 0x20}; /* towards the host */

	fill_registers(c, fis);
	fis[15] = c->status;
	fis[16] = (u8)c->moved;
	fis[17] = (u8)(c->moved >> 8);
	receive(p, RECEIVED_PIO, fis, sizeof(fis));
}

static void receive_set_bits(struct ahci_port *p, u8 status, u8 error, u32 tags)
{
	u8 fis[8] = {FIS_SET_BITS, FIS_INTERRUPT, status & 0x77, error};

	memcpy(fis + 4, &tags, sizeof(tags));
	receive(p, RECEIVED_SET_BITS, fis, sizeof(fis));
}

static void set_task_file(struct ahci_port *p, u8 status, u8 error)
{
	p->tfd = (u32)error << 8 | status;
}

/* After a reset the drive shows its signature and is ready. */
static void receive_signature(struct ahci_port *p)
{
	u32 sig = ata_signature(&p->drive);
	u8 fis[20] = {FIS_D2H, 0, p->drive.packet ? 0 : ATA_STATUS_OK, 1};

	fis[12] = (u8)sig;
	fis[4] = (u8)(sig >> 8);
	fis[5] = (u8)(sig >> 16);
	fis[6] = (u8)(sig >> 24);
	receive(p, RECEIVED_D2H, fis, sizeof(fis));
	p->sig = sig;
	set_task_file(p, fis[2], fis[3]);
}

/* ---- the end of a command ---- */

static void store_count(const struct ahci_slot *slot)
{
	u32 moved = (u32)slot->command.moved;

	put(slot->port, slot->header + 4, &moved, sizeof(moved));
}

static void fail(struct ahci_port *p, u32 bits)
{
	p->halted = true;
	raise(p, bits);
}

/* Queued commands that ended well. */
static void tell_done(struct ahci_port *p)
{
	u32 done = p->done;

	if (!done || p->halted)
		return;
	p->done = 0;
	p->sact &= ~done;
	receive_set_bits(p, ATA_STATUS_OK, 0, done);
	raise(p, IS_SET_BITS);
}

static void end_queued(struct ahci_port *p, const struct ata_command *c, unsigned n)
{
	if (!(c->status & ATA_STATUS_ERR)) {
		p->done |= 1u << n;
		return;
	}
	tell_done(p); /* those before it are not to be done again */
	ata_note_queued_error(c);
	set_task_file(p, c->status, c->error);
	receive_set_bits(p, c->status, c->error, 0);
	fail(p, IS_SET_BITS | IS_TASK_FILE);
}

static void end_single(struct ahci_port *p, const struct ata_command *c, unsigned n)
{
	bool error = c->status & ATA_STATUS_ERR;

	set_task_file(p, c->status, c->error);
	store_count(&p->slot[n]);
	if (c->protocol == ATA_PIO_IN && !error)
		receive_pio(p, c);
	else
		receive_registers(p, c);
	if (error) {
		fail(p, IS_REGISTER | IS_TASK_FILE);
		return;
	}
	p->ci &= ~(1u << n);
	raise(p, c->protocol == ATA_PIO_IN ? IS_PIO : IS_REGISTER);
}

/* From the drive. */
static void complete(struct ata_command *c)
{
	struct ahci_slot *slot = container_of(c, struct ahci_slot, command);
	struct ahci_port *p = slot->port;
	unsigned n = (unsigned)(slot - p->slot);

	p->busy &= ~(1u << n);
	p->queued &= ~(1u << n);
	if (!c->from_host) /* all of it: a read that failed may have filled a part */
		dma_wrote_iov(p->ahci->vm, slot->iov, c->niov, c->len);
	if (p->dropping || p->halted)
		return;
	if (c->protocol == ATA_QUEUED)
		end_queued(p, c, n);
	else
		end_single(p, c, n);
}

/* ---- the beginning of a command ---- */

static u32 get32(const u8 *p)
{
	u32 value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static u64 get64(const u8 *p)
{
	return get32(p) | (u64)get32(p + 4) << 32;
}

/* The scatter list, of which the host memory is found; 0 or -errno. */
static int map_buffers(struct ahci_slot *slot, u64 table, unsigned n)
{
	struct ata_command *c = &slot->command;
	struct vm *vm = slot->port->ahci->vm;
	u8 prd[64 * PRD_LEN];
	int ret = 0;

	c->iov = slot->iov;
	c->niov = 0;
	c->len = 0;
	for (unsigned i = 0; !ret && i < n; i++) {
		const u8 *entry = prd + i % 64 * PRD_LEN;
		u32 bytes;

		if (i % 64 == 0)
			ret = dma_read(vm, table + TABLE_PRDT + i * PRD_LEN, prd, MIN(n - i, 64u) * PRD_LEN);
		if (ret)
			return ret;
		bytes = (get32(entry + 12) & PRD_BYTES) + 1;
		c->len += bytes;
		ret = dma_map(vm, get64(entry), bytes, !c->from_host, slot->iov, &c->niov, SEGMENTS);
	}
	return ret;
}

/* Reads command n from the guest's memory. 0 or -errno. */
static int fetch(struct ahci_port *p, unsigned n)
{
	struct ahci_slot *slot = &p->slot[n];
	struct ata_command *c = &slot->command;
	struct vm *vm = p->ahci->vm;
	u8 header[HEADER_LEN];
	u32 flags, entries;
	u64 table;
	int ret;

	slot->header = p->list + n * HEADER_LEN;
	ret = dma_read(vm, slot->header, header, sizeof(header));
	if (ret)
		return ret;
	flags = get32(header);
	entries = flags >> 16;
	table = get64(header + 8) & ~0x7full;
	memset(c->packet, 0, sizeof(c->packet));
	ret = dma_read(vm, table, c->fis, sizeof(c->fis));
	if (!ret && flags & HEADER_ATAPI)
		ret = dma_read(vm, table + TABLE_PACKET, c->packet, sizeof(c->packet));
	if (ret)
		return ret;
	if ((flags & HEADER_FIS_LEN) < 2 || entries > PRDT_MAX)
		return -EINVAL;
	c->from_host = flags & HEADER_WRITE;
	return map_buffers(slot, table, entries);
}

/* The control register alone: a soft reset, in two halves. */
static void control(struct ahci_port *p, unsigned n)
{
	bool reset = p->slot[n].command.fis[15] & FIS_SOFT_RESET;

	p->ci &= ~(1u << n);
	if (!reset && p->in_reset) {
		ata_reset(&p->drive);
		receive_signature(p); /* which asks for no interrupt */
	}
	p->in_reset = reset;
}

/* A queued command's slot is free for the guest's eyes as soon as the drive has it; its tag is not. */
static void hand_over(struct ahci_port *p, unsigned n)
{
	struct ata_command *c = &p->slot[n].command;
	u32 bit = 1u << n;

	p->busy |= bit;
	c->drive = &p->drive;
	if (!ata_is_queued(c)) {
		ata_execute(&p->drive, c);
		return;
	}
	p->ci &= ~bit;
	p->queued |= bit;
	if (ata_tag(c) == n && p->sact & bit) {
		ata_execute(&p->drive, c);
		return;
	}
	c->protocol = ATA_NO_DATA; /* it breaks the rules of queueing */
	c->moved = 0;
	ata_abort(c);
}

static void begin(struct ahci_port *p, unsigned n)
{
	const u8 *fis = p->slot[n].command.fis;
	int ret = fetch(p, n);

	p->current = n;
	p->next = (n + 1) % ATA_TAGS;
	if (ret || fis[0] != ATA_FIS_H2D)
		fail(p, IS_BUS_FATAL);
	else if (fis[1] & FIS_COMMAND)
		hand_over(p, n);
	else
		control(p, n);
}

/* The drive takes one command, or as many as there are queued ones. */
static bool may_begin(struct ahci_port *p, unsigned n)
{
	if (!p->busy)
		return true;
	if (p->busy != p->queued)
		return false;
	/* Whether it is a queued one is known for sure only when it has been read. */
	return p->sact & 1u << n;
}

/* In the order of the slots, from the latest one on. */
static bool begin_next(struct ahci_port *p)
{
	for (unsigned i = 0; i < ATA_TAGS; i++) {
		unsigned n = (p->next + i) % ATA_TAGS;

		if (p->ci & ~p->busy & 1u << n && may_begin(p, n)) {
			begin(p, n);
			return true;
		}
	}
	return false;
}

static void work(struct ahci_port *p)
{
	if (!pci_bus_master(&p->ahci->pci) || p->ssts != SSTS_UP)
		return;
	while (p->cmd & CMD_RUNNING && !p->halted && p->ci & ~p->busy && begin_next(p))
		;
	p->drive.disk->ops->kick(p->drive.disk);
}

/* The disk has completed what it can for now. */
static void settled(void *arg)
{
	struct ahci_port *p = arg;

	if (p->dropping)
		return;
	tell_done(p);
	if (p->ci & ~p->busy)
		work(p);
}

/* ---- starting, stopping, resetting ---- */

/* What the drive has ends, and nobody is told. */
static void drop_all(struct ahci_port *p)
{
	p->dropping = true;
	if (p->busy)
		p->drive.disk->ops->drain(p->drive.disk);
	p->dropping = false;
	p->done = 0;
}

static void stop(struct ahci_port *p)
{
	drop_all(p);
	p->cmd &= ~(u32)CMD_RUNNING;
	p->ci = p->sact = 0;
	p->halted = false;
	p->current = p->next = 0;
}

static void write_command(struct ahci_port *p, u32 value)
{
	u32 before = p->cmd;

	p->cmd = (p->cmd & ~(u32)CMD_WRITABLE) | (value & CMD_WRITABLE);
	if (value & CMD_OVERRIDE)
		p->tfd &= ~(u32)(ATA_STATUS_BUSY | ATA_STATUS_DRQ);
	if (p->cmd & CMD_FIS_ENABLE)
		p->cmd |= CMD_FIS_RUNNING;
	else
		p->cmd &= ~(u32)CMD_FIS_RUNNING;
	if (!(p->cmd & CMD_START) && before & CMD_START)
		stop(p);
	if (p->cmd & CMD_START && !(before & CMD_START))
		p->cmd |= CMD_RUNNING;
}

static void link_up(struct ahci_port *p)
{
	ata_reset(&p->drive);
	p->ssts = SSTS_UP;
	p->serr |= SERR_EXCHANGED | SERR_PHY_READY;
	p->in_reset = false;
	receive_signature(p);
	update_irq(p->ahci, false);
}

/* COMRESET lasts as long as the guest says. */
static void write_control(struct ahci_port *p, u32 value)
{
	u32 before = p->sctl & SCTL_DET, now = value & SCTL_DET;

	p->sctl = value & SCTL_MASK;
	if (now == before)
		return;
	if (now == DET_RESET || now == DET_OFF) {
		drop_all(p);
		p->ci = p->sact = 0;
		p->ssts = now == DET_OFF ? 4 : 0;
		p->tfd = TFD_NOTHING;
		p->sig = 0xffffffff;
	} else if (now == DET_NONE) {
		link_up(p);
	}
}

static void reset_port(struct ahci_port *p)
{
	stop(p);
	p->is = p->ie = p->sctl = p->serr = 0;
	p->cmd = CMD_SPUN_UP | CMD_POWERED;
	link_up(p);
	p->serr = 0;
}

/* The guest's (GHC.HR) leaves the ports' addresses as they are. */
static void reset(struct ahci *a)
{
	for (unsigned i = 0; i < a->nports; i++)
		reset_port(a->port[i]);
	a->ghc = (u32)GHC_AHCI;
	a->is = 0;
	update_irq(a, false);
}

/* ---- registers ---- */

static u32 read_command(const struct ahci_port *p)
{
	return p->cmd | p->current << CMD_SLOT_SHIFT;
}

static u32 port_read(const struct ahci_port *p, unsigned offset)
{
	switch (offset) {
	case PORT_CLB:
		return (u32)p->list;
	case PORT_CLBU:
		return (u32)(p->list >> 32);
	case PORT_FB:
		return (u32)p->received;
	case PORT_FBU:
		return (u32)(p->received >> 32);
	case PORT_IS:
		return port_is(p);
	case PORT_IE:
		return p->ie;
	case PORT_CMD:
		return read_command(p);
	case PORT_TFD:
		return p->tfd;
	case PORT_SIG:
		return p->sig;
	case PORT_SSTS:
		return p->ssts;
	case PORT_SCTL:
		return p->sctl;
	case PORT_SERR:
		return p->serr;
	case PORT_SACT:
		return p->sact;
	case PORT_CI:
		return p->ci;
	default:
		return 0;
	}
}

static void set_low(u64 *to, u32 value, u32 mask)
{
	*to = (*to & ~0xffffffffull) | (value & mask);
}

static void set_high(u64 *to, u32 value)
{
	*to = (*to & 0xffffffff) | (u64)value << 32;
}

static void port_write(struct ahci_port *p, unsigned offset, u32 value)
{
	switch (offset) {
	case PORT_CLB:
		set_low(&p->list, value, 0xfffffc00);
		break;
	case PORT_CLBU:
		set_high(&p->list, value);
		break;
	case PORT_FB:
		set_low(&p->received, value, 0xffffff00);
		break;
	case PORT_FBU:
		set_high(&p->received, value);
		break;
	case PORT_IS:
		p->is &= ~(value & (u32)IS_STICKY);
		update_irq(p->ahci, false);
		break;
	case PORT_IE:
		p->ie = value & (u32)IE_MASK;
		update_irq(p->ahci, false);
		break;
	case PORT_CMD:
		write_command(p, value);
		work(p);
		break;
	case PORT_SCTL:
		write_control(p, value);
		work(p);
		break;
	case PORT_SERR:
		p->serr &= ~value;
		update_irq(p->ahci, false);
		break;
	case PORT_SACT:
		if (p->cmd & CMD_START)
			p->sact |= value;
		break;
	case PORT_CI:
		if (p->cmd & CMD_START)
			p->ci |= value;
		work(p);
		break;
	}
}

static u32 hba_read(const struct ahci *a, unsigned offset)
{
	switch (offset) {
	case HBA_CAP:
		return (MAX(a->nports, 1u) - 1) | CAP_SLOTS | CAP_AHCI_ONLY | CAP_SPEED_6G | CAP_OVERRIDE |
		       CAP_QUEUEING | (u32)CAP_64BIT;
	case HBA_GHC:
		return a->ghc;
	case HBA_IS:
		return a->is;
	case HBA_PI:
		return (1u << a->nports) - 1;
	case HBA_VERSION:
		return VERSION_1_3;
	default:
		return 0;
	}
}

static void hba_write(struct ahci *a, unsigned offset, u32 value)
{
	switch (offset) {
	case HBA_GHC:
		if (value & GHC_RESET) {
			reset(a);
			return;
		}
		a->ghc = (u32)GHC_AHCI | (value & GHC_INTERRUPTS);
		update_irq(a, true);
		break;
	case HBA_IS:
		a->is &= ~value;
		update_irq(a, true);
		break;
	}
}

static struct ahci *of(struct device *dev)
{
	return container_of(dev, struct ahci, pci.dev);
}

static struct ahci_port *port_at(struct ahci *a, u64 offset)
{
	u64 n = (offset - PORT_BASE) / PORT_SIZE;

	return offset >= PORT_BASE && n < a->nports ? a->port[n] : NULL;
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	struct ahci *a = of(dev);
	struct ahci_port *p = port_at(a, offset);

	(void)size;
	if (p)
		return port_read(p, offset % PORT_SIZE);
	return offset < PORT_BASE ? hba_read(a, (unsigned)offset) : 0;
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct ahci *a = of(dev);
	struct ahci_port *p = port_at(a, offset);

	(void)size;
	if (p)
		port_write(p, offset % PORT_SIZE, (u32)value);
	else if (offset < PORT_BASE)
		hba_write(a, (unsigned)offset, (u32)value);
}

static const struct region_ops region_ops = {region_read, region_write, 4, 4};

/* ---- life ---- */

static void function_reset(struct pci_function *fn)
{
	struct ahci *a = container_of(fn, struct ahci, pci);

	reset(a);
	for (unsigned i = 0; i < a->nports; i++)
		a->port[i]->list = a->port[i]->received = 0;
}

/* It may have become a bus master, with commands that wait for that. */
static void function_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct ahci *a = container_of(fn, struct ahci, pci);

	(void)offset;
	(void)size;
	for (unsigned i = 0; i < a->nports; i++)
		work(a->port[i]);
}

static void function_free(struct pci_function *fn)
{
	struct ahci *a = container_of(fn, struct ahci, pci);

	for (unsigned i = 0; i < a->nports; i++) {
		drop_all(a->port[i]);
		a->port[i]->drive.disk->settled = NULL;
		free(a->port[i]->slot);
		free(a->port[i]);
	}
	free(a);
}

static const struct pci_function_ops function_ops = {
	.config_written = function_written,
	.reset = function_reset,
	.free = function_free,
};

struct pci_function *ahci_function(struct ahci *ahci)
{
	return &ahci->pci;
}

int ahci_create(struct vm *vm, struct ahci **out)
{
	static const struct pci_ident ident = {.vendor = 0x8086,
		.device = 0x2922,
		.revision = 2,
		.class = 0x010601,
		.legacy = true}; /* ICH9 */
	struct ahci *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return -ENOMEM;
	a->vm = vm;
	a->ghc = (u32)GHC_AHCI;
	ret = pci_function_init(&a->pci, vm, "ahci", &ident, &function_ops);
	if (ret) {
		free(a);
		return ret;
	}
	a->region = (struct region){.name = "ahci", .ops = &region_ops, .dev = &a->pci.dev};
	ret = pci_add_bar(&a->pci, 5, PCI_BAR_MEM32, REGISTERS, &a->region);
	if (!ret)
		ret = pci_add_msi(&a->pci, 1);
	if (ret) {
		pci_function_fini(&a->pci);
		free(a);
		return ret;
	}
	*out = a;
	return 0;
}

int ahci_attach(struct ahci *a, struct disk *disk, bool cdrom, const char *serial)
{
	struct ahci_port *p;

	if (a->nports == AHCI_PORTS)
		return -ENOSPC;
	p = calloc(1, sizeof(*p));
	if (p)
		p->slot = calloc(ATA_TAGS, sizeof(*p->slot)); /* large, and touched as far as it is used */
	if (!p || !p->slot) {
		free(p);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < ATA_TAGS; i++)
		p->slot[i].port = p;
	p->ahci = a;
	p->index = a->nports;
	ata_init(&p->drive, disk, cdrom, serial, complete);
	disk->settled = settled;
	disk->settled_arg = p;
	reset_port(p);
	a->port[a->nports++] = p;
	return 0;
}
