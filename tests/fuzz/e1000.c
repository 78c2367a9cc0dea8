/* SPDX-License-Identifier: MIT */
/*
 * The e1000: registers at random, rings laid roughly as they should be, then bent; frames are sent and
 * received when the input says so.
 */
#include "tests/fuzz/net_fake.h"

#include "dev/e1000.h"
#include "dev/e1000_internal.h"
#include "dev/pci/host.h"

#define TX_RING 0x1000
#define RX_RING 0x2000
#define RING 32u
#define DATA 0x10000

static struct vm vm;
static struct pci_host *host;
static struct pci_function *fn;

static void wr(u32 offset, u32 value)
{
	const struct region *region = fn->bar[0].region;

	region->ops->write(region->dev, offset, 4, value);
}

static u32 rd(u32 offset)
{
	const struct region *region = fn->bar[0].region;

	return (u32)region->ops->read(region->dev, offset, 4);
}

static void start(struct fuzz *fuzz)
{
	wr(TDBAL, TX_RING);
	wr(TDBAH, 0);
	wr(TDLEN, RING * 16);
	wr(TDH, 0);
	wr(TDT, 0);
	wr(RDBAL, RX_RING);
	wr(RDBAH, 0);
	wr(RDLEN, RING * 16);
	wr(RDH, 0);
	wr(RDT, RING - 1);
	wr(RCTL, RCTL_EN | RCTL_UPE | RCTL_BAM | (fuzz_u32(fuzz) & 0x06070300));
	wr(TCTL, TCTL_EN);
	wr(RXCSUM, 0x300);
	wr(CTRL, CTRL_SLU | (fuzz_u8(fuzz) & 1 ? (u32)CTRL_VME : 0));
	for (unsigned i = 0; i < RING; i++) {
		u64 desc[2] = {DATA + i * 0x800, 0};

		memcpy(fuzz_ram + RX_RING + i * 16, desc, sizeof(desc));
	}
}

/* A descriptor behind the last one. */
static void lay(struct fuzz *fuzz, unsigned *at)
{
	u8 what = fuzz_u8(fuzz);
	u32 desc[4] = {DATA + fuzz_u16(fuzz), 0, 0, fuzz_u16(fuzz)};

	switch (what & 3) {
	case 0: /* a context */
		desc[0] = fuzz_u32(fuzz);
		desc[1] = fuzz_u32(fuzz);
		desc[2] = 0x20000000 | (u32)(what & 0xfc) << 22;
		desc[3] = fuzz_u32(fuzz);
		break;
	case 1:
		desc[2] = fuzz_u16(fuzz) | 0x20100000 | (u32)(what & 0xfc) << 22;
		break;
	case 2:
		desc[2] = (fuzz_u16(fuzz) & 0x7ff) | (u32)(what & 0xdc) << 24 | 1u << 24;
		break;
	case 3: /* a context as Linux has it, for segmentation */
		desc[0] = 14 | 24 << 8 | 33 << 16;
		desc[1] = 34 | 50 << 8;
		desc[2] = 0x27000000;
		desc[3] = 54 << 8 | (u32)fuzz_u16(fuzz) << 16;
		memcpy(fuzz_ram + DATA + 12, "\x08\x00\x45", 3);
		fuzz_ram[DATA + 23] = 6;
		break;
	}
	memcpy(fuzz_ram + TX_RING + *at * 16, desc, sizeof(desc));
	*at = (*at + 1) % RING;
}

static void step(struct fuzz *fuzz, unsigned *at)
{
	u8 what = fuzz_u8(fuzz);

	switch (what & 15) {
	case 0:
		start(fuzz);
		*at = 0;
		break;
	case 1:
	case 2:
	case 3:
		for (unsigned i = 0; i <= (what >> 4 & 7u); i++)
			lay(fuzz, at);
		wr(TDT, *at);
		break;
	case 4:
	case 5:
		fake_pull();
		break;
	case 6:
		fake_sent(what >> 4 ? what >> 4 : 100);
		break;
	case 7:
	case 8:
		fake_receive(fuzz, what & 0x10 ? 60 + fuzz_u8(fuzz) : fuzz_u16(fuzz));
		break;
	case 9:
		wr(RDT, fuzz_u8(fuzz) % RING);
		break;
	case 10:
		wr(fuzz_u16(fuzz) & 0x7ffc, fuzz_u32(fuzz));
		break;
	case 11:
		rd(fuzz_u16(fuzz) & 0x7ffc);
		break;
	case 12:
		fuzz_bytes(fuzz, fuzz_ram + (fuzz_u16(fuzz) & 0x3fff), fuzz_u8(fuzz) & 31);
		break;
	case 13: {
		const struct region *ports = fn->bar[1].region;

		ports->ops->write(ports->dev, fuzz_u8(fuzz) & 0x3c, 4, fuzz_u32(fuzz));
		break;
	}
	case 14:
		wr(EECD, fuzz_u8(fuzz));
		wr(EECD, fuzz_u8(fuzz));
		rd(EECD);
		wr(MDIC, fuzz_u32(fuzz));
		break;
	case 15:
		if (what & 0x10)
			pci_function_write(fn, 4, 2, fuzz_u8(fuzz) & 7);
		else
			fake.net.device->link(fake.net.arg, fake.net.up = what & 0x20);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	const struct pci_wiring wiring = {0};
	unsigned at = 0;

	fuzz_vm_init(&vm);
	fake_net_init(&vm);
	fuzz_check(!pci_host_create(&vm, &wiring, &host));
	fuzz_check(!e1000_create(&vm, &fake.net, NULL, 0, &fn));
	fuzz_check(!pci_plug(host, fn, PCI_ANY));
	pci_function_write(fn, 4, 2, 7);
	start(&fuzz);
	while (fuzz_more(&fuzz))
		step(&fuzz, &at);
	fake_pull();
	fake_sent(FAKE_BATCH);
	vm_fini(&vm);
	fuzz_check(!fake.net.device);
	return 0;
}
