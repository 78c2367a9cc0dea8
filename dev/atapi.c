/* SPDX-License-Identifier: MIT */
/* ATAPI CD-ROM drives: the packet commands. Facts: MMC-5, SPC-3, ACS-3 for IDENTIFY PACKET DEVICE. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dev/ata.h"
#include "host/iov.h"

enum {
	OP_TEST_READY = 0x00,
	OP_REQUEST_SENSE = 0x03,
	OP_INQUIRY = 0x12,
	OP_MODE_SENSE_6 = 0x1a,
	OP_START_STOP = 0x1b,
	OP_PREVENT_REMOVAL = 0x1e,
	OP_READ_CAPACITY = 0x25,
	OP_READ_10 = 0x28,
	OP_SEEK = 0x2b,
	OP_SYNCHRONIZE = 0x35,
	OP_READ_TOC = 0x43,
	OP_GET_CONFIGURATION = 0x46,
	OP_GET_EVENT = 0x4a,
	OP_READ_DISC_INFO = 0x51,
	OP_MODE_SENSE_10 = 0x5a,
	OP_READ_12 = 0xa8,
	OP_SET_SPEED = 0xbb,
	OP_MECHANISM_STATUS = 0xbd,

	SENSE_NOT_READY = 2,
	SENSE_MEDIUM_ERROR = 3,
	SENSE_ILLEGAL = 5,
	SENSE_ATTENTION = 6,

	ASC_READ_ERROR = 0x11,
	ASC_BAD_OPCODE = 0x20,
	ASC_OUT_OF_RANGE = 0x21,
	ASC_BAD_FIELD = 0x24,
	ASC_NEW_MEDIUM = 0x28,
	ASC_NO_MEDIUM = 0x3a,
	ASCQ_TRAY_OPEN = 2,
	ASC_LOCKED = 0x53,
	ASCQ_REMOVAL_PREVENTED = 2,

	EVENT_MEDIA = 4,
	EVENT_MEDIA_NEW = 2,
	EVENT_MEDIA_REMOVED = 3,

	PROFILE_CDROM = 8,
	PROFILE_DVDROM = 0x10,
	CD_BLOCKS = 405000, /* 90 minutes: more is a DVD */
	LEAD_OUT = 0xaa,
};

static void put16(u8 *p, u32 value)
{
	p[0] = (u8)(value >> 8);
	p[1] = (u8)value;
}

static void put32(u8 *p, u32 value)
{
	put16(p, value >> 16);
	put16(p + 2, value);
}

static u32 get16(const u8 *p)
{
	return (u32)(p[0] << 8 | p[1]);
}

static u32 get32(const u8 *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* ---- ends ---- */

static void end_well(struct ata_command *c)
{
	c->drive->sense_key = c->drive->sense_code = c->drive->sense_qualifier = 0;
	ata_end(c, ATA_STATUS_OK, 0);
}

/* CHECK CONDITION: the key is in the error register, the rest is asked for by REQUEST SENSE. */
static void end_badly(struct ata_command *c, u8 key, u8 code, u8 qualifier)
{
	c->drive->sense_key = key;
	c->drive->sense_code = code;
	c->drive->sense_qualifier = qualifier;
	c->moved = 0;
	ata_end(c, ATA_STATUS_READY | ATA_STATUS_ERR,
		(u8)(key << 4 | (key == SENSE_ILLEGAL ? ATA_ERROR_ABORT : 0)));
}

/* The reply, of which the host wants `wanted` bytes at most. */
static void reply(struct ata_command *c, const void *data, size_t len, u32 wanted)
{
	if (c->from_host && MIN(len, wanted)) {
		end_badly(c, SENSE_ILLEGAL, ASC_BAD_FIELD, 0);
		return;
	}
	c->moved = iov_from_buf(c->iov, c->niov, 0, data, MIN(MIN(len, wanted), c->len));
	end_well(c);
}

/* ---- reading ---- */

void atapi_moved(struct ata_command *c, int error)
{
	if (error)
		end_badly(c, SENSE_MEDIUM_ERROR, ASC_READ_ERROR, 0);
	else
		end_well(c);
}

static void read_blocks(struct ata_command *c, u32 block, u32 n)
{
	u64 len = (u64)n * ATAPI_SECTOR;

	if (block > c->drive->size || n > c->drive->size - block)
		end_badly(c, SENSE_ILLEGAL, ASC_OUT_OF_RANGE, 0);
	else if (!n)
		end_well(c);
	else if (c->from_host || len > c->len)
		end_badly(c, SENSE_ILLEGAL, ASC_BAD_FIELD, 0);
	else
		ata_move(c, DISK_READ, (u64)block * ATAPI_SECTOR, len, false);
}

/* ---- what the drive says of itself ---- */

void atapi_identify(struct ata_command *c)
{
	u16 w[256] = {[0] = 0x8580, /* a removable CD-ROM drive; packets of 12 bytes */
		[49] = BIT(11) | BIT(9) | BIT(8),
		[50] = BIT(14),
		[53] = BIT(2) | BIT(1),
		[63] = 0x0007,
		[64] = 0x0003,
		[65] = 120,
		[66] = 120,
		[67] = 120,
		[68] = 120,
		[76] = BIT(3) | BIT(2) | BIT(1),
		[80] = 0x03f0,
		[82] = BIT(14) | BIT(9) | BIT(4), /* NOP, DEVICE RESET, packets */
		[83] = BIT(14),
		[84] = BIT(14),
		[85] = BIT(14) | BIT(9) | BIT(4),
		[87] = BIT(14),
		[88] = 0x407f,
		[222] = 0x103f};

	ata_text(w + 10, 10, c->drive->serial);
	ata_text(w + 23, 4, MULLION_VERSION);
	ata_text(w + 27, 20, "MULLION CD-ROM");
	ata_reply(c, w, sizeof(w));
}

static void inquiry(struct ata_command *c)
{
	u8 data[36] = {[0] = 5, /* a CD-ROM drive */
		[1] = 0x80, /* removable medium */
		[2] = 5, /* SPC-3 */
		[3] = 2,
		[4] = sizeof(data) - 5};

	if (c->packet[1] & 1) { /* vital product data: the list of no pages */
		u8 pages[5] = {[0] = 5, [3] = 1};

		if (c->packet[2])
			end_badly(c, SENSE_ILLEGAL, ASC_BAD_FIELD, 0);
		else
			reply(c, pages, sizeof(pages), get16(c->packet + 3));
		return;
	}
	memcpy(data + 8, "MULLION CD-ROM          ", 24);
	memcpy(data + 32, "1.0 ", 4);
	reply(c, data, sizeof(data), get16(c->packet + 3));
}

static void request_sense(struct ata_command *c)
{
	u8 data[18] = {[0] = 0x70, [7] = 10};

	data[2] = c->drive->sense_key;
	data[12] = c->drive->sense_code;
	data[13] = c->drive->sense_qualifier;
	reply(c, data, sizeof(data), c->packet[4]);
}

/* Pages behind a header of 8 bytes; each page has its length in its second byte. */
static size_t mode_pages(const struct ata_drive *drive, u8 page, u8 *out)
{
	static const u8 recovery[] = {0x01, 6, 0, 5, 0, 0, 0, 0};
	u8 abilities[22] = {[0] = 0x2a, [1] = 20, [2] = 0x03, [4] = 0x71, [6] = 0x29};
	size_t len = 0;

	put16(abilities + 8, 704); /* kB/s */
	put16(abilities + 14, 704);
	put16(abilities + 12, 2048); /* KiB of cache */
	abilities[6] = (u8)(0x29 | drive->locked << 1);
	if (page == recovery[0] || page == 0x3f) {
		memcpy(out, recovery, sizeof(recovery));
		len += sizeof(recovery);
	}
	if (page == abilities[0] || page == 0x3f) {
		memcpy(out + len, abilities, sizeof(abilities));
		len += sizeof(abilities);
	}
	return len;
}

static void mode_sense(struct ata_command *c, bool ten)
{
	u8 data[8 + 64] = {0};
	unsigned header = ten ? 8 : 4;
	size_t len = mode_pages(c->drive, c->packet[2] & 0x3f, data + header);

	if (!len || c->packet[2] >> 6 == 3) { /* saved values */
		end_badly(c, SENSE_ILLEGAL, len ? 0x39 : ASC_BAD_FIELD, 0);
		return;
	}
	len += header;
	if (ten)
		put16(data, (u32)len - 2);
	else
		data[0] = (u8)(len - 1);
	reply(c, data, len, ten ? get16(c->packet + 7) : c->packet[4]);
}

static void read_capacity(struct ata_command *c)
{
	u8 data[8];

	put32(data, (u32)MIN(c->drive->size - 1, UINT32_MAX));
	put32(data + 4, ATAPI_SECTOR);
	reply(c, data, sizeof(data), sizeof(data));
}

/* Minutes, seconds and frames of a block, as discs count. */
static void put_address(u8 *p, u32 block, bool msf)
{
	if (!msf) {
		put32(p, block);
		return;
	}
	block += 150;
	p[0] = 0;
	p[1] = (u8)(block / 75 / 60);
	p[2] = (u8)(block / 75 % 60);
	p[3] = (u8)(block % 75);
}

/* One track with all the data, and the lead-out. */
static void read_toc(struct ata_command *c)
{
	u8 data[20] = {[2] = 1, [3] = 1};
	bool msf = c->packet[1] & 2;
	u8 format = c->packet[2] & 0xf ? c->packet[2] & 0xf : c->packet[9] >> 6;
	size_t len = 4;

	if (format == 1) { /* sessions */
		data[4 + 1] = 0x14;
		data[4 + 2] = 1;
		put_address(data + 8, 0, msf);
		len = 12;
	} else if (!format && (c->packet[6] <= 1 || c->packet[6] == LEAD_OUT)) {
		if (c->packet[6] <= 1) {
			data[len + 1] = 0x14; /* data, copying forbidden */
			data[len + 2] = 1;
			put_address(data + len + 4, 0, msf);
			len += 8;
		}
		data[len + 1] = 0x14;
		data[len + 2] = LEAD_OUT;
		put_address(data + len + 4, (u32)MIN(c->drive->size, UINT32_MAX), msf);
		len += 8;
	} else {
		end_badly(c, SENSE_ILLEGAL, ASC_BAD_FIELD, 0);
		return;
	}
	put16(data, (u32)len - 2);
	reply(c, data, len, get16(c->packet + 7));
}

static void get_configuration(struct ata_command *c)
{
	u8 data[8 + 12 + 12] = {0};
	bool dvd = c->drive->size > CD_BLOCKS;

	put32(data, sizeof(data) - 4);
	put16(data + 6, c->drive->open ? 0 : dvd ? PROFILE_DVDROM : PROFILE_CDROM);
	data[8 + 2] = 3; /* the list of profiles: persistent, current */
	data[8 + 3] = 8;
	put16(data + 12, PROFILE_DVDROM);
	data[14] = dvd;
	put16(data + 16, PROFILE_CDROM);
	data[18] = !dvd;
	put16(data + 20, 1); /* the core feature */
	data[22] = 0x0b;
	data[23] = 8;
	put32(data + 24, 2); /* ATAPI */
	data[28] = 1;
	reply(c, data, sizeof(data), get16(c->packet + 7));
}

static void get_event(struct ata_command *c)
{
	u8 data[8] = {[3] = BIT(EVENT_MEDIA)};

	if (!(c->packet[1] & 1)) { /* notifications by interrupt: none */
		end_badly(c, SENSE_ILLEGAL, ASC_BAD_FIELD, 0);
		return;
	}
	if (!(c->packet[4] & BIT(EVENT_MEDIA))) {
		data[1] = 2;
		data[2] = 0x80; /* no such class of events */
		reply(c, data, 4, get16(c->packet + 7));
		return;
	}
	data[1] = 6;
	data[2] = EVENT_MEDIA;
	if (c->drive->new_medium)
		data[4] = EVENT_MEDIA_NEW;
	data[5] = c->drive->open ? 1 : 2; /* tray open; medium there */
	c->drive->new_medium = false;
	reply(c, data, sizeof(data), get16(c->packet + 7));
}

static void read_disc_info(struct ata_command *c)
{
	u8 data[34] = {
		[1] = 32, [2] = 0x0e, /* complete, the last session too */[3] = 1, [4] = 1, [5] = 1, [6] = 1};

	reply(c, data, sizeof(data), get16(c->packet + 7));
}

static void mechanism_status(struct ata_command *c)
{
	u8 data[8] = {0};

	data[1] = c->drive->open ? 0x10 : 0;
	reply(c, data, sizeof(data), get16(c->packet + 8));
}

/* The tray keeps its disc: closed again, the guest finds a new medium in it. */
static void start_stop(struct ata_command *c)
{
	struct ata_drive *drive = c->drive;
	bool eject = c->packet[4] & 2, start = c->packet[4] & 1;

	if (eject && !start && drive->locked) {
		end_badly(
			c, drive->open ? SENSE_NOT_READY : SENSE_ILLEGAL, ASC_LOCKED, ASCQ_REMOVAL_PREVENTED);
		return;
	}
	if (eject && start != !drive->open) {
		drive->open = !start;
		drive->new_medium = start;
	}
	end_well(c);
}

/* ---- commands ---- */

/* Those that are about the disc. */
static bool needs_medium(u8 op)
{
	return op == OP_TEST_READY || op == OP_READ_CAPACITY || op == OP_READ_10 || op == OP_READ_12 ||
	       op == OP_SEEK || op == OP_READ_TOC || op == OP_READ_DISC_INFO;
}

void atapi_execute(struct ata_command *c)
{
	struct ata_drive *drive = c->drive;
	u8 op = c->packet[0];

	c->count = 3; /* the reason of the interrupt: command done, to the host */
	if (needs_medium(op) && drive->open) {
		end_badly(c, SENSE_NOT_READY, ASC_NO_MEDIUM, ASCQ_TRAY_OPEN);
		return;
	}
	if (needs_medium(op) && drive->new_medium) {
		drive->new_medium = false;
		end_badly(c, SENSE_ATTENTION, ASC_NEW_MEDIUM, 0);
		return;
	}
	switch (op) {
	case OP_TEST_READY:
	case OP_SEEK:
	case OP_SYNCHRONIZE:
	case OP_SET_SPEED:
		end_well(c);
		break;
	case OP_REQUEST_SENSE:
		request_sense(c);
		break;
	case OP_INQUIRY:
		inquiry(c);
		break;
	case OP_MODE_SENSE_6:
	case OP_MODE_SENSE_10:
		mode_sense(c, op == OP_MODE_SENSE_10);
		break;
	case OP_START_STOP:
		start_stop(c);
		break;
	case OP_PREVENT_REMOVAL:
		drive->locked = c->packet[4] & 1;
		end_well(c);
		break;
	case OP_READ_CAPACITY:
		read_capacity(c);
		break;
	case OP_READ_10:
		read_blocks(c, get32(c->packet + 2), get16(c->packet + 7));
		break;
	case OP_READ_12:
		read_blocks(c, get32(c->packet + 2), get32(c->packet + 6));
		break;
	case OP_READ_TOC:
		read_toc(c);
		break;
	case OP_GET_CONFIGURATION:
		get_configuration(c);
		break;
	case OP_GET_EVENT:
		get_event(c);
		break;
	case OP_READ_DISC_INFO:
		read_disc_info(c);
		break;
	case OP_MECHANISM_STATUS:
		mechanism_status(c);
		break;
	default:
		end_badly(c, SENSE_ILLEGAL, ASC_BAD_OPCODE, 0);
	}
}

void atapi_reset(struct ata_drive *drive)
{
	drive->sense_key = drive->sense_code = drive->sense_qualifier = 0;
	drive->locked = drive->open = drive->new_medium = false;
}
