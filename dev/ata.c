/* SPDX-License-Identifier: MIT */
/* ATA disks: the command set. Facts: ATA/ATAPI Command Set 3 (ACS-3), Serial ATA 3.1 for queued commands. */
#include "dev/ata.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/iov.h"

enum {
	CMD_NOP = 0x00,
	CMD_DATA_SET_MANAGEMENT = 0x06,
	CMD_RECALIBRATE = 0x10,
	CMD_READ = 0x20,
	CMD_READ_EXT = 0x24,
	CMD_READ_DMA_EXT = 0x25,
	CMD_READ_NATIVE_MAX_EXT = 0x27,
	CMD_READ_MULTIPLE_EXT = 0x29,
	CMD_READ_LOG_EXT = 0x2f,
	CMD_WRITE = 0x30,
	CMD_WRITE_EXT = 0x34,
	CMD_WRITE_DMA_EXT = 0x35,
	CMD_WRITE_MULTIPLE_EXT = 0x39,
	CMD_WRITE_DMA_FUA_EXT = 0x3d,
	CMD_VERIFY = 0x40,
	CMD_VERIFY_EXT = 0x42,
	CMD_READ_LOG_DMA_EXT = 0x47,
	CMD_READ_QUEUED = 0x60,
	CMD_WRITE_QUEUED = 0x61,
	CMD_SEEK = 0x70,
	CMD_DIAGNOSTIC = 0x90,
	CMD_SET_GEOMETRY = 0x91,
	CMD_PACKET = 0xa0,
	CMD_IDENTIFY_PACKET = 0xa1,
	CMD_SMART = 0xb0,
	CMD_READ_MULTIPLE = 0xc4,
	CMD_WRITE_MULTIPLE = 0xc5,
	CMD_SET_MULTIPLE = 0xc6,
	CMD_READ_DMA = 0xc8,
	CMD_WRITE_DMA = 0xca,
	CMD_WRITE_MULTIPLE_FUA_EXT = 0xce,
	CMD_STANDBY_NOW = 0xe0,
	CMD_IDLE_NOW = 0xe1,
	CMD_STANDBY = 0xe2,
	CMD_IDLE = 0xe3,
	CMD_CHECK_POWER = 0xe5,
	CMD_SLEEP = 0xe6,
	CMD_FLUSH = 0xe7,
	CMD_FLUSH_EXT = 0xea,
	CMD_IDENTIFY = 0xec,
	CMD_SET_FEATURES = 0xef,
	CMD_READ_NATIVE_MAX = 0xf8,

	POWER_ACTIVE = 0xff,
	FEATURE_TRIM = 1,
	SMART_DATA = 0xd0,
	SMART_THRESHOLDS = 0xd1,
	SMART_AUTOSAVE = 0xd2,
	SMART_LOG = 0xd5,
	SMART_ENABLE = 0xd8,
	SMART_DISABLE = 0xd9,
	SMART_STATUS = 0xda,
	SMART_KEY = 0xc24f,

	LOG_DIRECTORY = 0x00,
	LOG_QUEUED_ERROR = 0x10,

	MULTIPLE_MAX = 16,
	TRIM_BLOCKS = 8, /* of 64 ranges each */
	TRIM_RANGES = 64,
	DEVICE_LBA = 0x40,
	DEVICE_FUA = 0x80, /* of a queued write */
};

/* ---- the command's fields ---- */

static u8 opcode(const struct ata_command *c)
{
	return c->fis[2];
}

static u16 feature(const struct ata_command *c)
{
	return (u16)(c->fis[3] | c->fis[11] << 8);
}

static u16 count(const struct ata_command *c)
{
	return (u16)(c->fis[12] | c->fis[13] << 8);
}

static u64 lba48(const struct ata_command *c)
{
	return c->fis[4] | (u64)c->fis[5] << 8 | (u64)c->fis[6] << 16 | (u64)c->fis[8] << 24 |
	       (u64)c->fis[9] << 32 | (u64)c->fis[10] << 40;
}

static u64 lba28(const struct ata_command *c)
{
	return c->fis[4] | (u64)c->fis[5] << 8 | (u64)c->fis[6] << 16 | (u64)(c->fis[7] & 0xf) << 24;
}

bool ata_is_queued(const struct ata_command *c)
{
	return opcode(c) == CMD_READ_QUEUED || opcode(c) == CMD_WRITE_QUEUED;
}

unsigned ata_tag(const struct ata_command *c)
{
	return c->fis[12] >> 3;
}

/* ---- ends ---- */

void ata_note_queued_error(const struct ata_command *c)
{
	struct ata_drive *drive = c->drive;

	drive->failed_tag = (u8)ata_tag(c);
	drive->failed_status = c->status;
	drive->failed_error = c->error;
	memcpy(drive->failed_fis, c->fis, ATA_FIS_LEN);
}

void ata_end(struct ata_command *c, u8 status, u8 error)
{
	c->status = status;
	c->error = error;
	c->drive->complete(c);
}

static void end_well(struct ata_command *c)
{
	ata_end(c, ATA_STATUS_OK, 0);
}

static void end_badly(struct ata_command *c, u8 error)
{
	ata_end(c, ATA_STATUS_READY | ATA_STATUS_ERR, error);
}

void ata_abort(struct ata_command *c)
{
	end_badly(c, ATA_ERROR_ABORT);
}

void ata_reply(struct ata_command *c, const void *data, size_t len)
{
	if (c->from_host) {
		ata_abort(c);
		return;
	}
	c->protocol = ATA_PIO_IN;
	c->moved = iov_from_buf(c->iov, c->niov, 0, data, MIN(len, c->len));
	end_well(c);
}

/* ---- requests to the disk ---- */

static void trim_next(struct ata_command *c);

static void request_done(struct disk_request *request, int error)
{
	struct ata_command *c = container_of(request, struct ata_command, request);

	if (!error && (request->op == DISK_READ || request->op == DISK_WRITE))
		c->moved = request->len;
	if (c->drive->packet)
		atapi_moved(c, error);
	else if (error)
		end_badly(c, request->op == DISK_READ ? ATA_ERROR_DATA : ATA_ERROR_ABORT);
	else if (request->op == DISK_DISCARD)
		trim_next(c);
	else
		end_well(c);
}

static void submit(struct ata_command *c, enum disk_op op, u64 offset, u64 len, bool fua)
{
	c->request = (struct disk_request){
		.op = op,
		.fua = fua,
		.offset = offset,
		.len = len,
		.iov = c->iov,
		.niov = c->niov,
		.done = request_done,
	};
	c->drive->disk->ops->submit(c->drive->disk, &c->request);
}

void ata_move(struct ata_command *c, enum disk_op op, u64 offset, u64 len, bool fua)
{
	c->niov = iov_trim(c->iov, c->niov, len);
	submit(c, op, offset, len, fua);
}

static bool in_range(const struct ata_drive *drive, u64 lba, u64 sectors)
{
	return lba < drive->size && sectors <= drive->size - lba;
}

static void transfer(struct ata_command *c, bool write, u64 lba, u64 sectors, bool fua)
{
	u64 len = sectors * ATA_SECTOR;

	if (!in_range(c->drive, lba, sectors))
		end_badly(c, ATA_ERROR_ID);
	else if (write != c->from_host || len > c->len || (write && c->drive->disk->readonly))
		ata_abort(c);
	else
		ata_move(c, write ? DISK_WRITE : DISK_READ, lba * ATA_SECTOR, len,
			fua || !c->drive->write_cache);
}

static void transfer28(struct ata_command *c, bool write)
{
	u64 sectors = c->fis[12] ? c->fis[12] : 256;

	if (c->fis[7] & DEVICE_LBA)
		transfer(c, write, lba28(c), sectors, false);
	else
		ata_abort(c); /* cylinders, heads and sectors have had their day */
}

static void transfer48(struct ata_command *c, bool write, bool fua)
{
	transfer(c, write, lba48(c), count(c) ? count(c) : 65536, fua);
}

static void transfer_queued(struct ata_command *c, bool write)
{
	c->protocol = ATA_QUEUED;
	transfer(c, write, lba48(c), feature(c) ? feature(c) : 65536, c->fis[7] & DEVICE_FUA);
}

static void verify(struct ata_command *c, u64 lba, u64 sectors)
{
	if (in_range(c->drive, lba, sectors))
		end_well(c);
	else
		end_badly(c, ATA_ERROR_ID);
}

static void flush(struct ata_command *c)
{
	if (c->drive->disk->readonly)
		end_well(c);
	else
		submit(c, DISK_FLUSH, 0, 0, false);
}

/* ---- trim ---- */

/* One range after the other; those of no length are not used. (A request from done needs no kick.) */
static void trim_next(struct ata_command *c)
{
	u64 entry, lba, sectors;

	while (c->range < c->nranges) {
		iov_to_buf(c->iov, c->niov, c->range++ * sizeof(entry), &entry, sizeof(entry));
		lba = entry & (BIT(48) - 1);
		sectors = entry >> 48;
		if (!sectors)
			continue;
		if (!in_range(c->drive, lba, sectors)) {
			end_badly(c, ATA_ERROR_ID);
			return;
		}
		submit(c, DISK_DISCARD, lba * ATA_SECTOR, sectors * ATA_SECTOR, false);
		return;
	}
	c->moved = c->nranges * sizeof(entry);
	end_well(c);
}

static void trim(struct ata_command *c)
{
	u64 len = (u64)count(c) * ATA_SECTOR;

	if (!(feature(c) & FEATURE_TRIM) || !c->drive->disk->can_discard || !count(c) ||
		count(c) > TRIM_BLOCKS || !c->from_host || len > c->len) {
		ata_abort(c);
		return;
	}
	c->range = 0;
	c->nranges = count(c) * TRIM_RANGES;
	trim_next(c);
}

/* ---- what the drive says of itself ---- */

void ata_text(u16 *words, unsigned n, const char *text)
{
	size_t len = strlen(text);

	for (unsigned i = 0; i < n; i++) {
		u8 first = 2 * i < len ? (u8)text[2 * i] : ' ',
		   second = 2 * i + 1 < len ? (u8)text[2 * i + 1] : ' ';

		words[i] = (u16)(first << 8 | second);
	}
}

static void put_size(u16 *w, u64 sectors)
{
	u32 low = (u32)MIN(sectors, 0x0fffffffu);

	w[60] = (u16)low;
	w[61] = (u16)(low >> 16);
	for (unsigned i = 0; i < 4; i++)
		w[100 + i] = (u16)(sectors >> 16 * i);
}

static void put_features(const struct ata_drive *drive, u16 *w)
{
	w[82] = BIT(0) | BIT(5) | BIT(6); /* SMART, write cache, look-ahead */
	w[83] = BIT(14) | BIT(13) | BIT(12) | BIT(10); /* FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses */
	w[84] = BIT(14) | BIT(6); /* WRITE DMA FUA EXT */
	w[85] = (u16)(drive->smart | drive->write_cache << 5 | drive->look_ahead << 6);
	w[86] = BIT(13) | BIT(12) | BIT(10);
	w[87] = BIT(14) | BIT(6);
}

/* The last word makes the sum of all bytes zero. */
static void put_checksum(u16 *w)
{
	const u8 *bytes = (const u8 *)w;
	u8 sum = 0xa5;

	for (unsigned i = 0; i < 510; i++)
		sum += bytes[i];
	w[255] = (u16)(0xa5 | (u8)-sum << 8);
}

static void identify(struct ata_command *c)
{
	const struct ata_drive *drive = c->drive;
	u16 w[256] = {[0] = BIT(6), /* a fixed disk */
		[1] = 16383,
		[3] = 16,
		[6] = 63,
		[47] = 0x8000 | MULTIPLE_MAX,
		[49] = BIT(11) | BIT(9) | BIT(8), /* IORDY, LBA, DMA */
		[50] = BIT(14),
		[53] = BIT(2) | BIT(1),
		[59] = drive->multiple ? (u16)(BIT(8) | drive->multiple) : 0,
		[63] = 0x0007, /* multi-word DMA modes */
		[64] = 0x0003,
		[65] = 120,
		[66] = 120,
		[67] = 120,
		[68] = 120,
		[75] = ATA_TAGS - 1,
		[76] = BIT(8) | BIT(3) | BIT(2) | BIT(1), /* queued commands; 6, 3, 1.5 Gbit/s */
		[80] = 0x03f0, /* ATA-4 to ACS-2 */
		[88] = 0x407f, /* Ultra DMA modes, the sixth chosen */
		[106] = BIT(14),
		[217] = 1, /* no moving parts */
		[222] = 0x103f};

	ata_text(w + 10, 10, drive->serial);
	ata_text(w + 23, 4, MULLION_VERSION);
	ata_text(w + 27, 20, "MULLION DISK");
	put_size(w, drive->size);
	put_features(drive, w);
	if (drive->disk->block_size >= 4096)
		w[106] |= BIT(13) | 3; /* 8 sectors to the physical one */
	if (drive->disk->can_discard) {
		w[105] = TRIM_BLOCKS;
		w[169] = 1;
	}
	put_checksum(w);
	ata_reply(c, w, sizeof(w));
}

static void set_features(struct ata_command *c)
{
	enum {
		WRITE_CACHE = 0x02,
		TRANSFER_MODE = 0x03,
		NO_LOOK_AHEAD = 0x55,
		NO_WRITE_CACHE = 0x82,
		LOOK_AHEAD = 0xaa
	};

	switch (c->fis[3]) {
	case WRITE_CACHE:
		c->drive->write_cache = true;
		break;
	case NO_WRITE_CACHE:
		c->drive->write_cache = false;
		flush(c);
		return;
	case LOOK_AHEAD:
	case NO_LOOK_AHEAD:
		c->drive->look_ahead = c->fis[3] == LOOK_AHEAD;
		break;
	case TRANSFER_MODE:
		break;
	default:
		ata_abort(c);
		return;
	}
	end_well(c);
}

static void set_multiple(struct ata_command *c)
{
	u8 n = c->fis[12];

	if (n > MULTIPLE_MAX || n & (n - 1)) {
		ata_abort(c);
		return;
	}
	c->drive->multiple = n;
	end_well(c);
}

/* A drive in good health, about which there is nothing to tell. */
static void smart(struct ata_command *c)
{
	u8 page[512] = {[0] = 1};
	u8 sum = 0;

	if ((c->fis[5] | c->fis[6] << 8) != SMART_KEY || (!c->drive->smart && c->fis[3] != SMART_ENABLE)) {
		ata_abort(c);
		return;
	}
	switch (c->fis[3]) {
	case SMART_ENABLE:
	case SMART_DISABLE:
		c->drive->smart = c->fis[3] == SMART_ENABLE;
		end_well(c);
		return;
	case SMART_AUTOSAVE:
	case SMART_STATUS: /* the key comes back as it was */
		c->lba = (u64)SMART_KEY << 8;
		end_well(c);
		return;
	case SMART_DATA:
	case SMART_THRESHOLDS:
	case SMART_LOG:
		for (unsigned i = 0; i < 511; i++)
			sum += page[i];
		page[511] = (u8)-sum;
		ata_reply(c, page, sizeof(page));
		return;
	default:
		ata_abort(c);
	}
}

static void queued_error_log(const struct ata_drive *drive, u8 *page)
{
	const u8 *fis = drive->failed_fis;
	u8 sum = 0;

	page[0] = drive->failed_tag;
	page[2] = drive->failed_status;
	page[3] = drive->failed_error;
	memcpy(page + 4, fis + 4, 4); /* LBA and device */
	memcpy(page + 8, fis + 8, 3);
	memcpy(page + 12, fis + 12, 2);
	for (unsigned i = 0; i < 511; i++)
		sum += page[i];
	page[511] = (u8)-sum;
}

static void read_log(struct ata_command *c)
{
	u8 page[512] = {0};

	if (count(c) != 1 || c->fis[5] || c->fis[9] || c->from_host || c->len < sizeof(page)) {
		ata_abort(c);
		return;
	}
	switch (c->fis[4]) {
	case LOG_DIRECTORY:
		page[0] = 1; /* version */
		page[2 * LOG_QUEUED_ERROR] = 1;
		break;
	case LOG_QUEUED_ERROR:
		queued_error_log(c->drive, page);
		break;
	default:
		ata_abort(c);
		return;
	}
	ata_reply(c, page, sizeof(page));
}

static void native_max(struct ata_command *c, bool ext)
{
	c->lba = c->drive->size - 1;
	if (!ext)
		c->lba = MIN(c->lba, 0x0fffffffu);
	end_well(c);
}

/* ---- commands ---- */

/* Those that move the disk's contents. False: it is none of them. */
static bool execute_transfer(struct ata_command *c)
{
	switch (opcode(c)) {
	case CMD_READ_QUEUED:
	case CMD_WRITE_QUEUED:
		transfer_queued(c, opcode(c) == CMD_WRITE_QUEUED);
		break;
	case CMD_READ_EXT:
	case CMD_READ_DMA_EXT:
	case CMD_READ_MULTIPLE_EXT:
		transfer48(c, false, false);
		break;
	case CMD_WRITE_EXT:
	case CMD_WRITE_DMA_EXT:
	case CMD_WRITE_MULTIPLE_EXT:
		transfer48(c, true, false);
		break;
	case CMD_WRITE_DMA_FUA_EXT:
	case CMD_WRITE_MULTIPLE_FUA_EXT:
		transfer48(c, true, true);
		break;
	case CMD_READ:
	case CMD_READ + 1:
	case CMD_READ_DMA:
	case CMD_READ_DMA + 1:
	case CMD_READ_MULTIPLE:
		transfer28(c, false);
		break;
	case CMD_WRITE:
	case CMD_WRITE + 1:
	case CMD_WRITE_DMA:
	case CMD_WRITE_DMA + 1:
	case CMD_WRITE_MULTIPLE:
		transfer28(c, true);
		break;
	default:
		return false;
	}
	return true;
}

static void execute_disk(struct ata_command *c)
{
	if (execute_transfer(c))
		return;
	switch (opcode(c)) {
	case CMD_VERIFY:
	case CMD_VERIFY + 1:
		verify(c, lba28(c), c->fis[12] ? c->fis[12] : 256);
		break;
	case CMD_VERIFY_EXT:
		verify(c, lba48(c), count(c) ? count(c) : 65536);
		break;
	case CMD_FLUSH:
	case CMD_FLUSH_EXT:
		flush(c);
		break;
	case CMD_DATA_SET_MANAGEMENT:
		trim(c);
		break;
	case CMD_IDENTIFY:
		identify(c);
		break;
	case CMD_SET_FEATURES:
		set_features(c);
		break;
	case CMD_SET_MULTIPLE:
		set_multiple(c);
		break;
	case CMD_SMART:
		smart(c);
		break;
	case CMD_READ_LOG_EXT:
	case CMD_READ_LOG_DMA_EXT:
		read_log(c);
		break;
	case CMD_READ_NATIVE_MAX:
	case CMD_READ_NATIVE_MAX_EXT:
		native_max(c, opcode(c) == CMD_READ_NATIVE_MAX_EXT);
		break;
	case CMD_CHECK_POWER:
		c->count = POWER_ACTIVE;
		end_well(c);
		break;
	case CMD_STANDBY_NOW:
	case CMD_STANDBY:
	case CMD_SLEEP:
		flush(c);
		break;
	case CMD_IDLE_NOW:
	case CMD_IDLE:
	case CMD_RECALIBRATE:
	case CMD_SEEK:
	case CMD_SET_GEOMETRY:
		end_well(c);
		break;
	case CMD_DIAGNOSTIC:
		ata_end(c, ATA_STATUS_OK, 1); /* passed */
		break;
	default:
		ata_abort(c);
	}
}

static void execute_packet(struct ata_command *c)
{
	switch (opcode(c)) {
	case CMD_PACKET:
		atapi_execute(c);
		break;
	case CMD_IDENTIFY_PACKET:
		atapi_identify(c);
		break;
	case CMD_DIAGNOSTIC:
		ata_end(c, 0, 1);
		break;
	case CMD_SET_FEATURES:
		set_features(c);
		break;
	case CMD_CHECK_POWER:
		c->count = POWER_ACTIVE;
		end_well(c);
		break;
	case CMD_STANDBY_NOW:
	case CMD_IDLE_NOW:
	case CMD_STANDBY:
	case CMD_IDLE:
	case CMD_SLEEP:
	case CMD_FLUSH:
		end_well(c);
		break;
	default:
		ata_abort(c);
	}
}

void ata_execute(struct ata_drive *drive, struct ata_command *c)
{
	c->drive = drive;
	c->protocol = ATA_NO_DATA;
	c->moved = 0;
	c->lba = lba48(c);
	c->count = count(c);
	if (drive->packet)
		execute_packet(c);
	else
		execute_disk(c);
}

/* ---- life ---- */

u32 ata_signature(const struct ata_drive *drive)
{
	return drive->packet ? 0xeb140101 : 0x00000101;
}

void ata_reset(struct ata_drive *drive)
{
	drive->write_cache = drive->look_ahead = drive->smart = true;
	drive->multiple = 0;
	atapi_reset(drive);
}

void ata_init(struct ata_drive *drive, struct disk *disk, bool packet, const char *serial,
	void (*complete)(struct ata_command *))
{
	*drive = (struct ata_drive){.disk = disk, .packet = packet, .complete = complete};
	drive->size = disk->size / (packet ? ATAPI_SECTOR : ATA_SECTOR);
	snprintf(drive->serial, sizeof(drive->serial), "%s", serial);
	ata_reset(drive);
}
