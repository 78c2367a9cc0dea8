/* SPDX-License-Identifier: MIT */
/*
 * ATA and ATAPI drives behind a SATA link: what a command does. The controller
 * (dev/ahci.c) fetches commands, lends the guest's buffers, and tells the guest.
 *
 * Thread context: the machine lock is held.
 */
#pragma once

#include "backend/disk.h"
#include "lib/types.h"

#define ATA_SECTOR 512u
#define ATAPI_SECTOR 2048u
#define ATA_TAGS 32u
#define ATA_FIS_LEN 20u
#define ATA_PACKET_LEN 16u
#define ATA_SERIAL_LEN 20u

enum {
	ATA_STATUS_ERR = 0x01,
	ATA_STATUS_DRQ = 0x08,
	ATA_STATUS_SEEK = 0x10,
	ATA_STATUS_FAULT = 0x20,
	ATA_STATUS_READY = 0x40,
	ATA_STATUS_BUSY = 0x80,
	ATA_STATUS_OK = ATA_STATUS_READY | ATA_STATUS_SEEK,

	ATA_ERROR_ABORT = 0x04,
	ATA_ERROR_ID = 0x10, /* no such sector */
	ATA_ERROR_DATA = 0x40,

	ATA_FIS_H2D = 0x27, /* register FIS, host to device */
};

struct ata_drive;

enum ata_protocol {
	ATA_NO_DATA, /* and DMA: a register FIS ends them */
	ATA_PIO_IN,
	ATA_QUEUED,
};

/* From ata_execute to the drive's `complete` it is the drive's. */
struct ata_command {
	struct ata_drive *drive;
	u8 fis[ATA_FIS_LEN]; /* the host's register FIS */
	u8 packet[ATA_PACKET_LEN];
	bool from_host; /* the buffers may only be read; else they are to be filled */
	struct iovec *iov; /* the buffers, len bytes in all; the drive may change them */
	unsigned niov;
	u64 len;

	/* For the guest, at the end */
	enum ata_protocol protocol;
	u8 status, error;
	u64 lba;
	u16 count;
	u64 moved; /* bytes */

	/* The drive's */
	struct disk_request request;
	unsigned range, nranges; /* a trim's */
};

struct ata_drive {
	struct disk *disk;
	bool packet; /* an ATAPI CD-ROM drive */
	void (*complete)(struct ata_command *command); /* the controller's */
	char serial[ATA_SERIAL_LEN + 1];
	u64 size; /* sectors, or blocks of ATAPI_SECTOR */
	bool write_cache, look_ahead, smart;
	u8 multiple; /* sectors */
	u8 failed_tag; /* of the queued command that failed: log 0x10 */
	u8 failed_fis[ATA_FIS_LEN];
	u8 failed_status, failed_error;

	/* ATAPI */
	u8 sense_key, sense_code, sense_qualifier;
	bool locked, open, new_medium;
};

void ata_init(struct ata_drive *drive, struct disk *disk, bool packet, const char *serial,
	void (*complete)(struct ata_command *));
/* Power-on, COMRESET or soft reset: nothing is under way. */
void ata_reset(struct ata_drive *drive);
/* What the drive says of itself after a reset: the four bytes of the signature. */
u32 ata_signature(const struct ata_drive *drive);
bool ata_is_queued(const struct ata_command *command);
unsigned ata_tag(const struct ata_command *command);
/* Begins the command; `complete` is called for it within, or later from a disk's done. */
void ata_execute(struct ata_drive *drive, struct ata_command *command);
/* The queued command that failed is the one that the guest is told of: log 0x10 is about it. */
void ata_note_queued_error(const struct ata_command *command);

/* ---- between ata.c and atapi.c ---- */

void ata_end(struct ata_command *command, u8 status, u8 error);
void ata_abort(struct ata_command *command);
/* Fills the guest's buffers with as much of the reply as fits, and ends well. */
void ata_reply(struct ata_command *command, const void *data, size_t len);
/* Moves data between the disk and all of the guest's buffers' first len bytes. */
void ata_move(struct ata_command *command, enum disk_op op, u64 offset, u64 len, bool fua);
/* Text as ATA has it: padded with blanks, the bytes of each word swapped. */
void ata_text(u16 *words, unsigned n, const char *text);
void atapi_identify(struct ata_command *command);
void atapi_execute(struct ata_command *command);
void atapi_reset(struct ata_drive *drive);
/* The disk's answer to a packet's request. */
void atapi_moved(struct ata_command *command, int error);
