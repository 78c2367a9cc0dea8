/* SPDX-License-Identifier: MIT */
/*
 * VM files and options: any text. What is accepted is printed as a VM file that is
 * accepted again and says the same; what is not has a complaint of one line.
 */
#include "tests/fuzz/fuzz.h"

#include "main/config.h"

static struct err err;

static void check_complaint(void)
{
	fuzz_check(*err.text && !strchr(err.text, '\n'));
}

/* Printed, read, and printed again. */
static void check_round(const struct vm_config *config, bool all)
{
	struct vm_config again;
	char *first = config_print(config, all), *second;

	config_init(&again);
	fuzz_check(first && !config_parse(&again, first, strlen(first), "printed", &err));
	second = config_print(&again, all);
	fuzz_check(second && !strcmp(first, second));
	free(first);
	free(second);
	config_free(&again);
}

static int read_option(struct vm_config *config, const u8 *data, size_t size)
{
	static const char *const names[] = {
		"disk", "net", "share", "console", "memory", "timeout", "label", "vsock"};
	char *text = strndup((const char *)data + 1, size - 1);
	int ret = config_option(config, names[*data % ARRAY_SIZE(names)], text, &err);

	free(text);
	return ret;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct vm_config config;
	char *text;
	int ret;

	config_init(&config);
	*err.text = 0;
	if (size && *data < 16) {
		ret = read_option(&config, data, size);
	} else {
		text = malloc(size + 1);
		fuzz_check(text);
		memcpy(text, data, size);
		text[size] = 0;
		ret = config_parse(&config, text, size, "file", &err);
		free(text);
	}
	if (ret) {
		check_complaint();
	} else {
		check_round(&config, false);
		fuzz_check(!config_absolute(&config, "/folder"));
		if (config_finish(&config, &err))
			check_complaint();
		else
			check_round(&config, true);
	}
	config_free(&config);
	return 0;
}
