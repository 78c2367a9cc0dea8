/* SPDX-License-Identifier: MIT */
/*
 * virtio-net with two pairs of queues and its control queue: frames are sent and received when the input
 * says so, the link comes and goes, and a driver does as it likes.
 */
#include "tests/fuzz/virtio.h"

#include "tests/fuzz/net_fake.h"

#include "dev/virtio/net.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	struct virtio *card;

	fuzz_pci_init();
	fake_net_init(&vm);
	fuzz_check(!virtio_net_create(&vm, &fake.net, 2, &card));
	fuzz_plug(card);
	while (fuzz_more(&fuzz)) {
		u8 what = fuzz_u8(&fuzz);

		if (driver_step(&fuzz, what & 15))
			continue;
		switch (what >> 4 & 3) {
		case 0:
			fake_pull();
			break;
		case 1:
			fake_sent(what >> 6 ? what >> 6 : 100);
			break;
		case 2:
			fake_receive(&fuzz, what & 0x80 ? fuzz_u16(&fuzz) : 60 + fuzz_u8(&fuzz));
			break;
		case 3:
			fake.net.device->link(fake.net.arg, fake.net.up = what & 0x40);
			break;
		}
	}
	fake_pull();
	fake_sent(FAKE_BATCH);
	vm_fini(&vm);
	fuzz_check(!fake.net.device);
	return 0;
}
