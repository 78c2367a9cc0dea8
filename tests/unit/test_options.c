/* SPDX-License-Identifier: MIT */
/* The command line: what is understood, and one line for everything that is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "main/images.h"
#include "main/options.h"

static struct options options;
static struct err err;

/* words are separated by single blanks. */
static int parse(const char *words)
{
	static char copy[256];
	static char program[] = "mullion";
	char *argv[20] = {program};
	int argc = 1;

	strcpy(copy, words);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	err.text[0] = 0;
	return options_parse(&options, argc, argv, &err);
}

static void refused(const char *words, const char *complaint)
{
	assert_int_equal(parse(words), -EINVAL);
	assert_null(strchr(err.text, '\n'));
	if (!strstr(err.text, complaint))
		fail_msg("\"%s\" is not in \"%s\"", complaint, err.text);
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(parse("run"), 0);
	assert_int_equal(options.command, COMMAND_RUN);
	assert_int_equal(options.memory, MIB(512));
	assert_int_equal(options.cpus, 1);
	assert_int_equal(options.console, CONSOLE_STDIO);
	assert_null(options.kernel);
	assert_null(options.engine);
	assert_string_equal(options.append, DEFAULT_COMMAND_LINE);
	assert_false(options.no_reboot || options.stats || options.debug_exit || options.timeout_ns);
}

static void everything_given(void **state)
{
	(void)state;
	assert_int_equal(
		parse("run --kernel k --initrd=i --append a=b --memory 2G --cpus 1 --engine translate "
		      "--console out.txt --no-reboot --timeout 1.5 --debug-exit --stats"),
		0);
	assert_string_equal(options.kernel, "k");
	assert_string_equal(options.initrd, "i");
	assert_string_equal(options.append, "a=b");
	assert_int_equal(options.memory, GIB(2));
	assert_string_equal(options.engine, "translate");
	assert_int_equal(options.console, CONSOLE_FILE);
	assert_string_equal(options.console_path, "out.txt");
	assert_int_equal(options.timeout_ns, 1500000000);
	assert_true(options.no_reboot && options.debug_exit && options.stats);
	assert_int_equal(parse("run --append= --console none --engine auto"), 0);
	assert_string_equal(options.append, "");
	assert_int_equal(options.console, CONSOLE_NONE);
}

static void other_commands(void **state)
{
	(void)state;
	assert_int_equal(parse("doctor"), 0);
	assert_int_equal(options.command, COMMAND_DOCTOR);
	assert_int_equal(parse("--version"), 0);
	assert_int_equal(options.command, COMMAND_VERSION);
	assert_int_equal(parse("--help"), 0);
	assert_int_equal(options.command, COMMAND_HELP);
	assert_int_equal(parse("run --help"), 0);
	assert_int_equal(options.command, COMMAND_RUN_HELP);
}

static void wrong_usage(void **state)
{
	(void)state;
	refused("", "say what to do");
	refused("walk", "no command walk");
	refused("doctor now", "unexpected argument now");
	refused("run fast", "unexpected argument fast");
	refused("run --fast", "unknown option --fast");
	refused("run --kernels=x", "unknown option --kernels=x");
	refused("run --kernel", "--kernel needs a value");
	refused("run --stats=1", "--stats takes no value");
	refused("run --cpus 2", "exactly 1");
	refused("run --engine kvm", "not built yet");
	refused("run --engine qemu", "no such engine");
	refused("run --console=", "--console needs");
}

static void wrong_numbers(void **state)
{
	static const char *const sizes[] = {
		"", "M", "-1", "1X", "12MM", "1.5G", "99999999999999999999", "17179869184T", " 5"};
	static const char *const times[] = {"run --timeout 0", "run --timeout -3", "run --timeout x",
		"run --timeout 5s", "run --timeout nan", "run --timeout inf", "run --timeout 1e99"};
	u64 bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(options_parse_size(sizes[i], &bytes), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		refused(times[i], "--timeout");
	refused("run --memory lots", "is not a size");
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		u64 bytes;
	} good[] = {{"64", MIB(64)}, {"512M", MIB(512)}, {"65536K", MIB(64)}, {"2g", GIB(2)},
		{"1T", GIB(1024)}, {"3GiB", GIB(3)}, {"5MB", MIB(5)}};
	u64 bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(options_parse_size(good[i].text, &bytes), 0);
		assert_true(bytes == good[i].bytes);
	}
}

static void images_are_looked_for(void **state)
{
	char path[PATH_MAX];

	(void)state;
	setenv("MULLION_IMAGES", "/nowhere", 1);
	assert_int_equal(images_find("initrd.img", path, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere"));
	setenv("MULLION_IMAGES", "/proc/self", 1);
	assert_int_equal(images_find("exe", path, &err), 0);
	assert_string_equal(path, "/proc/self/exe");
	unsetenv("MULLION_IMAGES");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(everything_given),
		cmocka_unit_test(other_commands),
		cmocka_unit_test(wrong_usage),
		cmocka_unit_test(wrong_numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(images_are_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
