/* SPDX-License-Identifier: MIT */
/* The queue of a PS/2 device. */
#include "dev/ps2.h"

#include <string.h>

static void tell(struct ps2_device *dev)
{
	if (dev->ready && dev->len)
		dev->ready(dev->arg);
}

void ps2_reply(struct ps2_device *dev, u8 byte)
{
	if (dev->len == PS2_QUEUE)
		dev->len--;
	if (dev->replies > dev->len)
		dev->replies = dev->len;
	memmove(dev->queue + dev->replies + 1, dev->queue + dev->replies, dev->len - dev->replies);
	dev->queue[dev->replies++] = byte;
	dev->len++;
	tell(dev);
}

bool ps2_report(struct ps2_device *dev, const u8 *bytes, unsigned n)
{
	/* Replies always find room. */
	if (dev->len + n > PS2_QUEUE - 8)
		return false;
	memcpy(dev->queue + dev->len, bytes, n);
	dev->len += n;
	tell(dev);
	return true;
}

void ps2_drop_reports(struct ps2_device *dev)
{
	dev->len = dev->replies;
}

void ps2_clear(struct ps2_device *dev)
{
	dev->len = dev->replies = 0;
}

u8 ps2_pop(struct ps2_device *dev)
{
	dev->last = dev->queue[0];
	dev->len--;
	if (dev->replies)
		dev->replies--;
	memmove(dev->queue, dev->queue + 1, dev->len);
	if (!dev->len && dev->drained)
		dev->drained(dev);
	return dev->last;
}
