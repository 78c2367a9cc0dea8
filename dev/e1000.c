/* SPDX-License-Identifier: MIT */
/*
 * The 82540EM's registers: control and status, interrupts with throttling, EEPROM, PHY. Most registers are
 * plain memory; what does something has a case in the two switches.
 */
#include "dev/e1000.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/e1000_internal.h"

#define VENDOR 0x8086
#define DEVICE 0x100e
#define SUBSYSTEM 0x001e
#define PORTS_SIZE 64
#define THROTTLE_UNIT 256u /* ns */

static struct e1000 *of_dev(struct device *dev)
{
	return container_of(dev, struct e1000, pci.dev);
}

static struct e1000 *of_fn(const struct pci_function *fn)
{
	return container_of((struct pci_function *)(uintptr_t)fn, struct e1000, pci);
}

/* ---- interrupts ---- */

/* INTx is up while an unmasked cause is there, but does not rise more often than ITR allows. */
static void update_interrupt(struct e1000 *e)
{
	bool wanted = e1000_reg(e, ICR) & e1000_reg(e, IMS);
	u64 now;

	if (wanted == e->asserted)
		return;
	if (wanted) {
		now = clock_now(&e->vm->clock);
		if (now < e->next_interrupt) {
			if (e->throttle.deadline == CLOCK_NEVER)
				timer_arm(&e->vm->clock, &e->throttle, e->next_interrupt);
			e->counters.throttled++;
			return;
		}
		e->next_interrupt = now + e1000_reg(e, ITR) * (u64)THROTTLE_UNIT;
		e->counters.interrupts++;
	}
	e->asserted = wanted;
	pci_set_intx(&e->pci, wanted);
}

static void throttle_over(void *arg)
{
	update_interrupt(arg);
}

void e1000_raise(struct e1000 *e, u32 causes)
{
	if (!causes)
		return;
	e->reg[ICR / 4] |= causes;
	update_interrupt(e);
}

static u32 read_causes(struct e1000 *e)
{
	u32 causes = e1000_reg(e, ICR);

	e->counters.cause_reads++;
	e->reg[ICR / 4] = 0;
	update_interrupt(e);
	return causes;
}

/* ---- EEPROM: 64 words on three wires (Microwire), or by EERD ---- */

enum {
	EECD_SK = BIT(0),
	EECD_CS = BIT(1),
	EECD_DI = BIT(2),
	EECD_DO = BIT(3),
	EECD_REQ = BIT(6),
	EECD_GNT = BIT(7),
	EECD_PRES = BIT(8),
	EECD_WRITABLE = EECD_SK | EECD_CS | EECD_DI | EECD_REQ | 0x30,
	EERD_START = BIT(0),
	EERD_DONE = BIT(4),
};

#define EEPROM_READ 6u /* start bit and opcode; an address of 6 bits follows */

static void fill_eeprom(struct e1000 *e)
{
	u16 sum = 0;

	memset(e->eeprom, 0, sizeof(e->eeprom));
	memcpy(e->eeprom, e->net->mac, 6);
	e->eeprom[0x0a] = 0x4000; /* initialization control */
	e->eeprom[0x0b] = SUBSYSTEM;
	e->eeprom[0x0c] = VENDOR;
	e->eeprom[0x0d] = DEVICE;
	e->eeprom[0x0e] = VENDOR;
	for (unsigned i = 0; i < E1000_EEPROM_WORDS - 1; i++)
		sum = (u16)(sum + e->eeprom[i]);
	e->eeprom[E1000_EEPROM_WORDS - 1] = (u16)(0xbaba - sum);
}

/* A rising clock: a bit goes in, and once the command is complete, one comes out. */
static void eeprom_clock(struct e1000 *e, bool in)
{
	if (e->bits_out) {
		e->bits_out--;
		return;
	}
	if (!e->bits_in && !in)
		return; /* before the start bit */
	e->shift_in = e->shift_in << 1 | in;
	if (++e->bits_in < 9)
		return;
	if (e->shift_in >> 6 == EEPROM_READ) {
		e->shift_out = e->eeprom[e->shift_in & (E1000_EEPROM_WORDS - 1)];
		e->bits_out = 17; /* a zero comes first */
	}
	e->bits_in = 0;
	e->shift_in = 0;
}

static void write_eecd(struct e1000 *e, u32 value)
{
	u32 before = e->eecd;

	e->eecd = value & EECD_WRITABLE;
	if (!(value & EECD_CS)) {
		e->bits_in = e->bits_out = 0;
		e->shift_in = e->shift_out = 0;
	} else if (!(before & EECD_SK) && (value & EECD_SK)) {
		eeprom_clock(e, value & EECD_DI);
	}
}

static u32 read_eecd(const struct e1000 *e)
{
	u32 value = e->eecd | EECD_PRES | (e->eecd & EECD_REQ ? EECD_GNT : 0);

	/* Ready, unless a word is on its way out. */
	if (!e->bits_out || (e->bits_out <= 16 && e->shift_out >> (e->bits_out - 1) & 1))
		value |= EECD_DO;
	return value;
}

static u32 eeprom_word(const struct e1000 *e, u32 eerd)
{
	if (!(eerd & EERD_START))
		return eerd;
	return (eerd & 0xff00) | EERD_DONE | (u32)e->eeprom[eerd >> 8 & (E1000_EEPROM_WORDS - 1)] << 16;
}

/* ---- PHY: an 88E1011 ---- */

enum {
	PHY_CONTROL = 0,
	PHY_STATUS = 1,
	PHY_SPECIFIC_STATUS = 17,
	PHY_CONTROL_RESET = BIT(15) | BIT(9), /* reset, restart negotiation: over at once */
	PHY_STATUS_LINK = BIT(2) | BIT(5), /* and negotiation is complete */
	PHY_SPECIFIC_LINK = BIT(10) | BIT(11) | BIT(13) | BIT(15), /* up, resolved, full duplex, 1000 Mb/s */
	MDIC_WRITE = BIT(26),
	MDIC_READ = BIT(27),
	MDIC_READY = BIT(28),
	MDIC_ERROR = BIT(30),
};

static void reset_phy(struct e1000 *e)
{
	static const u16 power_on[32] = {[0] = 0x1140,
		[1] = 0x7949,
		[2] = 0x0141,
		[3] = 0x0c20,
		[4] = 0x0de1,
		[5] = 0x45e1,
		[6] = 0x0001,
		[9] = 0x0e00,
		[10] = 0x3c00,
		[15] = 0x3000,
		[16] = 0x0360,
		[17] = 0x0000,
		[20] = 0x0d60};

	memcpy(e->phy, power_on, sizeof(e->phy));
}

static u16 read_phy(const struct e1000 *e, unsigned reg)
{
	u16 value = e->phy[reg];

	if (reg == PHY_STATUS && e->net->up)
		value |= PHY_STATUS_LINK;
	if (reg == PHY_SPECIFIC_STATUS && e->net->up)
		value |= (u16)PHY_SPECIFIC_LINK;
	return value;
}

static void write_phy(struct e1000 *e, unsigned reg, u16 value)
{
	static const u32 writable = BIT(0) | BIT(4) | BIT(9) | BIT(16) | BIT(18) | BIT(20) | BIT(24) |
				    BIT(25) | BIT(29) | BIT(30);

	if (reg == PHY_CONTROL && value & BIT(15))
		reset_phy(e);
	if (reg == PHY_CONTROL)
		value &= (u16)~PHY_CONTROL_RESET;
	if (writable >> reg & 1)
		e->phy[reg] = value;
}

static u32 use_mdic(struct e1000 *e, u32 value)
{
	unsigned reg = value >> 16 & 31;

	if ((value >> 21 & 31) != 1)
		return value | MDIC_ERROR | MDIC_READY;
	if (value & MDIC_READ)
		value = (value & 0xffff0000) | read_phy(e, reg);
	else if (value & MDIC_WRITE)
		write_phy(e, reg, (u16)value);
	return value | MDIC_READY;
}

/* ---- reset ---- */

static void reset(struct e1000 *e)
{
	u32 low;
	u16 high;

	e1000_forget_frames(e);
	timer_cancel(&e->vm->clock, &e->throttle);
	memset(e->reg, 0, sizeof(e->reg));
	e->next_interrupt = 0;
	e->asserted = false;
	pci_set_intx(&e->pci, false);
	reset_phy(e);
	e->eecd = e->io_addr = 0;
	e->bits_in = e->bits_out = 0;
	memcpy(&low, e->net->mac, 4);
	memcpy(&high, e->net->mac + 4, 2);
	e->reg[RAL / 4] = low;
	e->reg[RAH / 4] = high | BIT(31);
	e->reg[CTRL / 4] = 0x201; /* full duplex, 1000 Mb/s */
	e->reg[PBA / 4] = 0x00100030;
	e->reg[VET / 4] = 0x8100;
	/* What waits for room is dropped. */
	if (e->starved)
		e->net->ops->rx_ready(e->net);
	e->starved = false;
}

/* ---- registers ---- */

static u32 read_status(const struct e1000 *e)
{
	bool up = e->net->up && (e1000_reg(e, CTRL) & CTRL_SLU);

	return STATUS_FD | STATUS_SPEED_1000 | (up ? STATUS_LU : 0);
}

static u32 read_reg(struct e1000 *e, u32 offset)
{
	u32 value;

	if (offset >= E1000_REGS)
		return 0;
	switch (offset) {
	case STATUS:
		return read_status(e);
	case EECD:
		return read_eecd(e);
	case ICR:
		return read_causes(e);
	case ICS:
	case IMC:
		return 0;
	}
	value = e1000_reg(e, offset);
	if (offset >= STATS && offset < STATS_END)
		e->reg[offset / 4] = 0;
	return value;
}

static void write_control(struct e1000 *e, u32 value)
{
	u32 before = e1000_reg(e, CTRL);

	if (value & CTRL_RST) {
		reset(e);
		return;
	}
	if (value & CTRL_PHY_RST)
		reset_phy(e);
	e->reg[CTRL / 4] = value & ~(u32)(CTRL_RST | CTRL_PHY_RST);
	if (~before & value & CTRL_SLU)
		e1000_raise(e, CAUSE_LSC);
}

static void room_appeared(struct e1000 *e)
{
	if (!e->starved || !e1000_rx_room(e))
		return;
	e->starved = false;
	e->net->ops->rx_ready(e->net);
}

static void transmit(struct e1000 *e)
{
	e->counters.tail_writes++;
	if (e1000_reg(e, TCTL) & TCTL_EN)
		e->net->ops->tx_ready(e->net);
}

/* Another ring, or another place in it. */
static void move_transmit_ring(struct e1000 *e)
{
	u16 head = (u16)e1000_reg(e, TDH);

	e1000_forget_frames(e);
	e->tx_next = head;
}

static void write_ring_reg(struct e1000 *e, u32 offset, u32 value)
{
	switch (offset) {
	case RDBAL:
	case TDBAL:
		value &= ~15u;
		break;
	case RDLEN:
	case TDLEN:
		value &= 0xfff80;
		break;
	case RDH:
	case RDT:
	case TDH:
	case TDT:
		value &= 0xffff;
		break;
	}
	e->reg[offset / 4] = value;
	if (offset == RDT)
		room_appeared(e);
	else if (offset == TDT)
		transmit(e);
	else if (offset >= TDBAL && offset <= TDH)
		move_transmit_ring(e);
}

static void write_reg(struct e1000 *e, u32 offset, u32 value)
{
	if (offset >= E1000_REGS)
		return;
	if ((offset >= RDBAL && offset <= RDT) || (offset >= TDBAL && offset <= TDT)) {
		write_ring_reg(e, offset, value);
		return;
	}
	switch (offset) {
	case CTRL:
		write_control(e, value);
		return;
	case STATUS:
		return;
	case EECD:
		write_eecd(e, value);
		return;
	case EERD:
		value = eeprom_word(e, value);
		break;
	case MDIC:
		value = use_mdic(e, value);
		break;
	case ICR:
		e->reg[ICR / 4] &= ~value;
		update_interrupt(e);
		return;
	case ICS:
		e1000_raise(e, value & CAUSES);
		return;
	case IMS:
		e->reg[IMS / 4] |= value & CAUSES;
		update_interrupt(e);
		return;
	case IMC:
		e->reg[IMS / 4] &= ~value;
		update_interrupt(e);
		return;
	case ITR:
		value &= 0xffff;
		break;
	}
	e->reg[offset / 4] = value;
	if (offset == TCTL)
		transmit(e);
	if (offset == RCTL)
		room_appeared(e);
}

static u64 mmio_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return read_reg(of_dev(dev), (u32)offset);
}

static void mmio_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	write_reg(of_dev(dev), (u32)offset, (u32)value);
}

static const struct region_ops mmio_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.min_size = 4,
	.max_size = 4,
};

/* The same registers by two ports: IOADDR and IODATA. */
static u64 port_read(struct device *dev, u64 offset, unsigned size)
{
	struct e1000 *e = of_dev(dev);

	(void)size;
	if (offset == 0)
		return e->io_addr;
	return offset == 4 ? read_reg(e, e->io_addr & ~3u) : 0;
}

static void port_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct e1000 *e = of_dev(dev);

	(void)size;
	if (offset == 0)
		e->io_addr = (u32)value & (E1000_MMIO_SIZE - 1);
	else if (offset == 4)
		write_reg(e, e->io_addr & ~3u, (u32)value);
}

static const struct region_ops port_ops = {
	.read = port_read,
	.write = port_write,
	.min_size = 4,
	.max_size = 4,
};

/* ---- life ---- */

static void fn_reset(struct pci_function *fn)
{
	reset(of_fn(fn));
}

static void fn_free(struct pci_function *fn)
{
	struct e1000 *e = of_fn(fn);

	pthread_mutex_lock(e->net->lock);
	e->net->ops->reset(e->net);
	e->net->device = NULL;
	timer_cancel(&e->vm->clock, &e->throttle);
	pthread_mutex_unlock(e->net->lock);
	free(e->slots);
	free(e);
}

/* It may have become a bus master, with frames that wait for that. */
static void fn_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct e1000 *e = of_fn(fn);

	(void)offset;
	(void)size;
	if (e1000_reg(e, TCTL) & TCTL_EN)
		e->net->ops->tx_ready(e->net);
}

static const struct pci_function_ops fn_ops = {
	.config_written = fn_written,
	.reset = fn_reset,
	.free = fn_free,
};

static int init(struct e1000 *e, const void *rom, size_t rom_len)
{
	static const struct pci_ident ident = {.vendor = VENDOR,
		.device = DEVICE,
		.subvendor = VENDOR,
		.subsystem = SUBSYSTEM,
		.class = 0x020000,
		.revision = 3,
		.legacy = true};
	int ret = pci_function_init(&e->pci, e->vm, "e1000", &ident, &fn_ops);

	e->mmio = (struct region){.name = "e1000", .ops = &mmio_ops, .dev = &e->pci.dev};
	e->ports = (struct region){.name = "e1000 ports", .ops = &port_ops, .dev = &e->pci.dev};
	if (!ret)
		ret = pci_add_bar(&e->pci, 0, PCI_BAR_MEM32, E1000_MMIO_SIZE, &e->mmio);
	if (!ret)
		ret = pci_add_bar(&e->pci, 1, PCI_BAR_IO, PORTS_SIZE, &e->ports);
	if (!ret && rom)
		ret = pci_add_rom(&e->pci, rom, rom_len);
	return ret;
}

int e1000_create(struct vm *vm, struct net *net, const void *rom, size_t rom_len, struct pci_function **out)
{
	struct e1000 *e = calloc(1, sizeof(*e));
	int ret = -ENOMEM;

	if (!e)
		return ret;
	e->vm = vm;
	e->net = net;
	timer_init(&e->throttle, throttle_over, e);
	e->slots = calloc(E1000_SLOTS, sizeof(*e->slots));
	if (e->slots)
		ret = init(e, rom, rom_len);
	if (ret) {
		pci_function_fini(&e->pci);
		free(e->slots);
		free(e);
		return ret;
	}
	fill_eeprom(e);
	reset(e);
	net->arg = e;
	net->device = &e1000_net_ops;
	*out = &e->pci;
	return 0;
}

const struct e1000_counters *e1000_counters(const struct pci_function *fn)
{
	return &of_fn(fn)->counters;
}
