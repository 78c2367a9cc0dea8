/* SPDX-License-Identifier: MIT */
/* What the parts of the 82540EM share: its registers, and the frames under way. */
#pragma once

#include "dev/e1000.h"
#include "vm/clock.h"
#include "vm/vm.h"

#define E1000_MMIO_SIZE KIB(128)
#define E1000_REGS 0x6000u /* all that is kept lies below */
#define E1000_EEPROM_WORDS 64u

enum e1000_reg {
	CTRL = 0x0000,
	STATUS = 0x0008,
	EECD = 0x0010,
	EERD = 0x0014,
	MDIC = 0x0020,
	VET = 0x0038,
	ICR = 0x00c0,
	ITR = 0x00c4,
	ICS = 0x00c8,
	IMS = 0x00d0,
	IMC = 0x00d8,
	RCTL = 0x0100,
	TCTL = 0x0400,
	PBA = 0x1000,
	RDBAL = 0x2800,
	RDBAH = 0x2804,
	RDLEN = 0x2808,
	RDH = 0x2810,
	RDT = 0x2818,
	TDBAL = 0x3800,
	TDBAH = 0x3804,
	TDLEN = 0x3808,
	TDH = 0x3810,
	TDT = 0x3818,
	STATS = 0x4000, /* cleared by reading */
	MPC = 0x4010,
	GPRC = 0x4074,
	BPRC = 0x4078,
	MPRC = 0x407c,
	GPTC = 0x4080,
	GORCL = 0x4088,
	GOTCL = 0x4090,
	TORL = 0x40c0,
	TOTL = 0x40c8,
	TPR = 0x40d0,
	TPT = 0x40d4,
	STATS_END = 0x4100,
	RXCSUM = 0x5000,
	MTA = 0x5200,
	RAL = 0x5400,
	RAH = 0x5404,
	VFTA = 0x5600,
	VFTA_END = 0x5800,
};

enum { CTRL_SLU = BIT(6), CTRL_RST = BIT(26), CTRL_VME = BIT(30), CTRL_PHY_RST = BIT(31) };
enum { STATUS_FD = BIT(0), STATUS_LU = BIT(1), STATUS_SPEED_1000 = BIT(7) };

enum { /* interrupt causes */
	CAUSE_TXDW = BIT(0),
	CAUSE_TXQE = BIT(1),
	CAUSE_LSC = BIT(2),
	CAUSE_RXDMT0 = BIT(4),
	CAUSE_RXO = BIT(6),
	CAUSE_RXT0 = BIT(7),
	CAUSES = 0x1ffff,
};

enum {
	RCTL_EN = BIT(1),
	RCTL_UPE = BIT(3),
	RCTL_MPE = BIT(4),
	RCTL_LPE = BIT(5),
	RCTL_BAM = BIT(15),
	RCTL_VFE = BIT(18),
	RCTL_BSEX = BIT(25),
	RCTL_SECRC = BIT(26),
	TCTL_EN = BIT(1),
};

#define E1000_SLOTS 64u /* frames under way */
#define E1000_PIECES 64u /* of memory, to one frame */
#define E1000_HEADER 256u

struct e1000_tx { /* a frame that was pulled */
	struct iovec iov[E1000_PIECES + 2];
	u8 header[E1000_HEADER + 4];
	u16 end; /* the ring's index behind its last descriptor */
};

struct e1000_context { /* offsets from the last context descriptor */
	u8 ipcss, ipcso, tucss, tucso, hdr_len;
	u16 ipcse, mss;
	bool tcp, ipv4, tse;
};

struct e1000 {
	struct pci_function pci;
	struct vm *vm;
	struct net *net;
	struct region mmio, ports;
	u32 reg[E1000_REGS / 4];
	u32 io_addr; /* IOADDR, of the ports */
	u16 phy[32];

	u16 eeprom[E1000_EEPROM_WORDS];
	u32 eecd; /* as written */
	unsigned bits_in, bits_out; /* clocked through the EEPROM's wires */
	u32 shift_in, shift_out;

	struct timer throttle;
	u64 next_interrupt; /* not before */
	bool asserted;

	struct e1000_tx *slots; /* E1000_SLOTS */
	unsigned head, busy; /* the oldest slot under way, and how many */
	u16 tx_next; /* the first descriptor that was not pulled */
	bool tx_skip; /* to the end of a frame with too many pieces */
	struct e1000_context context; /* for other frames */
	bool starved;
	u32 told; /* causes for the end of the batch */
	struct e1000_counters counters;
};

static inline u32 e1000_reg(const struct e1000 *e, u32 offset)
{
	return e->reg[offset / 4];
}

/* e1000.c */
void e1000_raise(struct e1000 *e, u32 causes);

/* e1000_ring.c */
extern const struct net_device_ops e1000_net_ops;
bool e1000_rx_room(const struct e1000 *e);
void e1000_forget_frames(struct e1000 *e);
