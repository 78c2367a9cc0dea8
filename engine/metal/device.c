/* SPDX-License-Identifier: MIT */
/*
 * The microhypervisor's PCI function, as sysfs shows it: its BAR is a page to
 * be read, and holds the key for calls. File permissions guard it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/metal/metal.h"

#define DEVICES "/sys/bus/pci/devices"

static i64 call_svm(u64 call, u64 key, u64 a, u64 b, u64 c, u64 d)
{
	register u64 r8 __asm__("r8") = d;
	i64 ret;

	__asm__ volatile("vmmcall"
			 : "=a"(ret)
			 : "a"(call), "D"(key), "S"(a), "d"(b), "c"(c), "r"(r8)
			 : "memory", "cc");
	return ret;
}

static i64 call_vmx(u64 call, u64 key, u64 a, u64 b, u64 c, u64 d)
{
	register u64 r8 __asm__("r8") = d;
	i64 ret;

	__asm__ volatile("vmcall"
			 : "=a"(ret)
			 : "a"(call), "D"(key), "S"(a), "d"(b), "c"(c), "r"(r8)
			 : "memory", "cc");
	return ret;
}

const char *metal_error(i64 ret)
{
	static const char *const text[] = {
		[CONTROL_BAD_CALL] = "no such call",
		[CONTROL_BAD_HANDLE] = "a handle that it does not know",
		[CONTROL_BAD_ADDRESS] = "an address that is not this system's RAM",
		[CONTROL_BAD_ARGUMENT] = "a wrong argument",
		[CONTROL_BAD_STATE] = "a state that no CPU can have, or the vCPU runs elsewhere",
		[CONTROL_NO_MEMORY] = "its own memory is used up",
		[CONTROL_NO_SPACE] = "its tables of VMs and vCPUs are full",
		[CONTROL_AGAIN] = "not done yet",
	};

	return ret < 0 && -ret < (i64)ARRAY_SIZE(text) && text[-ret] ? text[-ret] : "an unknown error";
}

/* ---- sysfs ---- */

static unsigned long read_number(const char *device, const char *name)
{
	char path[PATH_MAX], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", device, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ULONG_MAX;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoul(text, NULL, 0);
}

static bool find_function(char *name, size_t len)
{
	DIR *dir = opendir(DEVICES);
	struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || read_number(entry->d_name, "vendor") != CONTROL_VENDOR ||
			read_number(entry->d_name, "device") != CONTROL_DEVICE)
			continue;
		snprintf(name, len, "%s", entry->d_name);
		found = true;
	}
	closedir(dir);
	return found;
}

/* Firmware may have left memory decode off. The kernel turns it on with this. */
static void enable_function(const char *name)
{
	char path[PATH_MAX];
	int fd;

	if (read_number(name, "enable") != 0)
		return;
	snprintf(path, sizeof(path), DEVICES "/%s/enable", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) < 0)
		perror(path);
	close(fd);
}

static int map_page(struct metal_device *dev, const char *name, struct err *err)
{
	char path[PATH_MAX];
	void *page;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/resource0", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "%s: %s; run as root, or let root chmod that file", path,
			strerror(errno));
	page = mmap(NULL, CONTROL_BAR_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		return err_set(err, errno, "%s cannot be mapped: %s", path, strerror(errno));
	dev->page = page;
	return 0;
}

static int check_page(struct metal_device *dev, struct err *err)
{
	const struct control_page *page = dev->page;

	if (page->magic != CONTROL_MAGIC)
		return err_set(err, ENODEV, "the hypervisor's control page does not show its magic number");
	if (page->version != CONTROL_VERSION)
		return err_set(err, EPROTO, "the hypervisor speaks version %u, this program version %u",
			page->version, CONTROL_VERSION);
	dev->key = page->key;
	dev->call = memcmp(page->engine, "vmx", 4) ? call_svm : call_vmx;
	return 0;
}

int metal_open(struct metal_device *dev, struct err *err)
{
	char name[NAME_MAX + 1];
	int ret;

	*dev = (struct metal_device){0};
	if (!find_function(name, sizeof(name)))
		return err_set(err, ENODEV,
			"Mullion's hypervisor is not below this system: no PCI function %04x:%04x; boot it "
			"first",
			CONTROL_VENDOR, CONTROL_DEVICE);
	enable_function(name);
	ret = map_page(dev, name, err);
	if (!ret)
		ret = check_page(dev, err);
	if (ret)
		metal_close(dev);
	return ret;
}

void metal_close(struct metal_device *dev)
{
	if (dev->page)
		munmap((void *)(uintptr_t)dev->page, CONTROL_BAR_SIZE);
	dev->page = NULL;
}
