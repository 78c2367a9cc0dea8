/* SPDX-License-Identifier: MIT */
/* The command line: what is understood, and one line for everything that is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "main/images.h"
#include "main/command.h"

static bool quick;
static const char *format;
static unsigned seconds;

static const struct option run_options[] = {
	{"quick", 'q', OPTION_FLAG, NULL, "", &quick},
	{"format", 0, OPTION_STRING, "TEXT", "", &format},
	{"time", 't', OPTION_NUMBER, "SECS", "", &seconds},
	{0},
};
static const struct command command_run = {.name = "run", .vm = true, .max_words = 1, .options = run_options};
static const struct command command_doctor = {.name = "doctor"};
static const struct command command_info = {
	.name = "image info", .words = "FILE", .min_words = 1, .max_words = 2};
static const struct command *const table[] = {&command_run, &command_info, &command_doctor, NULL};

static struct vm_config config;
static struct invocation call = {.config = &config};
static const struct command *command;
static bool help;
static struct err err;

static int clean(void **state)
{
	(void)state;
	config_free(&config);
	quick = false;
	seconds = 0;
	format = NULL;
	return 0;
}

/* words are separated by single blanks. */
static int parse(const char *words)
{
	static char copy[512];
	static char program[] = "mullion";
	char *argv[40] = {program};
	int argc = 1;

	clean(NULL);
	strcpy(copy, words);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	err.text[0] = 0;
	return command_parse(table, argc, argv, &call, &command, &help, &err);
}

/* A VM file's text. */
static int load(const char *text)
{
	clean(NULL);
	return config_parse(&config, text, strlen(text), "vm.json", &err);
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
	assert_ptr_equal(command, &command_run);
	assert_int_equal(config_finish(&config, &err), 0);
	assert_int_equal(config.memory, MIB(512));
	assert_int_equal(config.cpus, 1);
	assert_int_equal(config.console, CONSOLE_STDIO);
	assert_null(config.kernel);
	assert_null(config.engine);
	assert_null(config.append);
	assert_false(config.nnets || config.ndisks || config.rng || config.balloon);
	assert_false(config.no_reboot || config.stats || config.debug_exit || config.timeout_ns);
}

static void everything_given(void **state)
{
	(void)state;
	assert_int_equal(
		parse("run --kernel k --initrd=i --append a=b --memory 2G --cpus 1 --engine translate "
		      "--console out.txt --no-reboot --timeout 1.5 --debug-exit --stats"),
		0);
	assert_string_equal(config.kernel, "k");
	assert_string_equal(config.initrd, "i");
	assert_string_equal(config.append, "a=b");
	assert_int_equal(config.memory, GIB(2));
	assert_string_equal(config.engine, "translate");
	assert_int_equal(config.console, CONSOLE_FILE);
	assert_string_equal(config.console_path, "out.txt");
	assert_int_equal(config.timeout_ns, 1500000000);
	assert_true(config.no_reboot && config.debug_exit && config.stats);
	assert_int_equal(parse("run --append= --console none --engine auto"), 0);
	assert_string_equal(config.append, "");
	assert_int_equal(config.console, CONSOLE_NONE);
	assert_int_equal(config_finish(&config, &err), 0);
	assert_null(config.engine);
}

static void own_options(void **state)
{
	(void)state;
	assert_int_equal(parse("run -q --format=json -t 30 -- --odd.img"), 0);
	assert_true(quick);
	assert_string_equal(format, "json");
	assert_int_equal(seconds, 30);
	assert_string_equal(config.image, "--odd.img");
	assert_int_equal(parse("image info a b"), 0);
	assert_ptr_equal(command, &command_info);
	assert_int_equal(call.nwords, 2);
	assert_string_equal(call.word[1], "b");
}

static void devices(void **state)
{
	(void)state;
	assert_int_equal(
		parse("run --disk a=b,,c.img,bus=ahci,readonly,snapshot=no --disk path=x,direct=yes "
		      "--net tap:tap0,model=e1000,mac=52:54:00:12:34:56 "
		      "--net user,forward=tcp:2222:22,forward=udp:1.2.3.4:53:53,queues=2 "
		      "--share /srv,tag=srv,kind=9p --label a=b --label c= --vsock 7 --no-balloon --rng"),
		0);
	assert_int_equal(config_finish(&config, &err), 0);
	assert_int_equal(config.ndisks, 2);
	assert_string_equal(config.disk[0].path, "a=b,c.img");
	assert_int_equal(config.disk[0].bus, DISK_BUS_AHCI);
	assert_true(config.disk[0].readonly && !config.disk[0].snapshot && config.disk[1].direct);
	assert_string_equal(config.disk[1].path, "x");
	assert_int_equal(config.nnets, 2);
	assert_int_equal(config.net[0].kind, NET_TAP);
	assert_string_equal(config.net[0].name, "tap0");
	assert_int_equal(config.net[0].model, NET_MODEL_E1000);
	assert_int_equal(config.net[1].nforwards, 2);
	assert_string_equal(config.net[1].forward[1], "udp:1.2.3.4:53:53");
	assert_int_equal(config.net[1].queues, 2);
	assert_int_equal(config.share[0].kind, SHARE_9P);
	assert_string_equal(config.label[1], "c=");
	assert_int_equal(config.vsock_cid, 7);
	assert_true(config.rng && !config.balloon);
}

static void an_image(void **state)
{
	(void)state;
	assert_int_equal(parse("run --disk data.img root.img --snapshot --no-rng"), 0);
	assert_int_equal(config_finish(&config, &err), 0);
	assert_int_equal(config.ndisks, 2);
	assert_string_equal(config.disk[0].path, "root.img");
	assert_string_equal(config.disk[1].path, "data.img");
	assert_true(config.disk[0].snapshot && config.disk[1].snapshot);
	assert_true(config.balloon && !config.rng);
	assert_int_equal(config.nnets, 1);
	assert_int_equal(config.net[0].kind, NET_USER);
	assert_int_equal(config.memory, GIB(1));
	assert_int_equal(parse("run root.img --net none --memory 64"), 0);
	assert_int_equal(config_finish(&config, &err), 0);
	assert_int_equal(config.nnets, 1);
	assert_int_equal(config.net[0].kind, NET_NONE);
	assert_int_equal(config.memory, MIB(64));
}

/* A name of the user's images stays that wherever the definition is used. */
static void named_images(void **state)
{
	char folder[] = "/tmp/mullion-images-XXXXXX", path[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	setenv("XDG_DATA_HOME", folder, 1);
	snprintf(path, sizeof(path), "mkdir -p %s/mullion/images && : >%s/mullion/images/deb.qcow2", folder,
		folder);
	assert_int_equal(system(path), 0);
	snprintf(path, sizeof(path), "%s/mullion/images/deb.qcow2", folder);
	assert_int_equal(parse("run deb --disk deb --disk other --kernel deb"), 0);
	assert_int_equal(config_absolute(&config, "/vm"), 0);
	assert_string_equal(config.image, path);
	assert_string_equal(config.disk[0].path, path);
	assert_string_equal(config.disk[1].path, "/vm/other");
	assert_string_equal(config.kernel, "/vm/deb");
	unlink(path);
	for (char *end; strlen(path) > strlen(folder) && (end = strrchr(path, '/')); rmdir(path))
		*end = 0;
	unsetenv("XDG_DATA_HOME");
}

/* ---- VM files ---- */

static const char whole[] =
	"{\"name\": \"web-1\", \"memory\": \"2G\", \"timeout\": 1.5, \"no-reboot\": true,\n"
	" \"console\": \"socket:/run/x\", \"balloon\": false, \"label\": [\"a=b\"],\n"
	" \"disk\": [{\"path\": \"a,b.img\", \"bus\": \"ahci\"}, {\"path\": \"/c\", \"readonly\": true}],\n"
	" \"net\": [{\"kind\": \"user\", \"forward\": [\"tcp:2222:22\"], \"queues\": 4}]}\n";

/* The file, the options that say the same, and what is printed of either, are one. */
static void files_are_options(void **state)
{
	char *from_file, *from_options, *again;

	(void)state;
	assert_int_equal(load(whole), 0);
	assert_int_equal(config.memory, GIB(2));
	assert_int_equal(config.timeout_ns, 1500000000);
	assert_int_equal(config.console, CONSOLE_SOCKET);
	assert_string_equal(config.console_path, "/run/x");
	from_file = config_print(&config, false);
	assert_int_equal(
		parse("run --name web-1 --memory 2048 --timeout 1.5 --no-reboot --console socket:/run/x "
		      "--no-balloon --label a=b --disk a,,b.img,bus=ahci --disk /c,readonly "
		      "--net user,forward=tcp:2222:22,queues=4"),
		0);
	from_options = config_print(&config, false);
	assert_string_equal(from_file, from_options);
	assert_int_equal(load(from_file), 0);
	again = config_print(&config, false);
	assert_string_equal(from_file, again);
	free(from_file);
	free(from_options);
	free(again);
}

static void all_can_be_read_again(void **state)
{
	char *all, *again;

	(void)state;
	assert_int_equal(load(whole), 0);
	assert_int_equal(config_finish(&config, &err), 0);
	all = config_print(&config, true);
	assert_int_equal(load(all), 0);
	again = config_print(&config, true);
	assert_string_equal(all, again);
	free(all);
	free(again);
}

static void paths(void **state)
{
	(void)state;
	assert_int_equal(
		load("{\"kernel\": \"k\", \"initrd\": \"/i\", \"console\": \"log\", \"image\": \"nbd://h/x\","
		     "\"net\": [{\"kind\": \"switch:lan\"}, {\"kind\": \"switch:./lan\"}]}"),
		0);
	assert_int_equal(config_absolute(&config, "/vm"), 0);
	assert_string_equal(config.kernel, "/vm/k");
	assert_string_equal(config.initrd, "/i");
	assert_string_equal(config.console_path, "/vm/log");
	assert_string_equal(config.image, "nbd://h/x");
	assert_string_equal(config.net[0].name, "lan");
	assert_string_equal(config.net[1].name, "/vm/./lan");
	assert_int_equal(parse("run --vnc unix:screen --disk nbd+unix:///x?socket=s"), 0);
	assert_int_equal(config_absolute(&config, "/vm"), 0);
	assert_string_equal(config.vnc, "unix:/vm/screen");
	assert_string_equal(config.disk[0].path, "nbd+unix:///x?socket=s");
	assert_int_equal(parse("run --vnc :0"), 0);
	assert_int_equal(config_absolute(&config, "/vm"), 0);
	assert_string_equal(config.vnc, ":0");
}

static void wrong_file(const char *text, const char *complaint)
{
	assert_int_equal(load(text), -EINVAL);
	assert_null(strchr(err.text, '\n'));
	if (!strstr(err.text, complaint))
		fail_msg("\"%s\" is not in \"%s\"", complaint, err.text);
}

static void wrong_files(void **state)
{
	(void)state;
	wrong_file("", "vm.json:1: not valid JSON");
	wrong_file("{\n\"memory\": \"1G\",\n}", "vm.json:3: not valid JSON");
	wrong_file("[]", "vm.json:1: the file: an object is wanted");
	wrong_file("{} {}", "not valid JSON");
	wrong_file("{\n\n\"memroy\": 1}", "vm.json:3: unknown key memroy; did you mean memory?");
	wrong_file("{\"zzzzzzzzzz\": 1}", "unknown key zzzzzzzzzz");
	wrong_file("{\"append\": \"a \\\" b: \\\\\",\n\"memory\": true}", "vm.json:2: memory: a size");
	wrong_file("{\"memory\": 1.5}", "memory: a whole number");
	wrong_file("{\"memory\": -1}", "memory: a whole number");
	wrong_file("{\"memory\": \"lots\"}", "memory lots is not a size");
	wrong_file("{\"cpus\": 2}", "cpus 2: this version runs exactly 1 vCPU");
	wrong_file("{\"stats\": 1}", "stats: true or false");
	wrong_file("{\"kernel\": null}", "kernel: a string");
	wrong_file("{\"disk\": {}}", "disk: a list of objects");
	wrong_file("{\"disk\": [\"a\"]}", "disk: an object");
	wrong_file("{\"disk\": [{\"path\": \"a\"},\n{\"pth\": 1}]}",
		"vm.json:2: unknown key pth of disk; did you mean path?");
	wrong_file("{\"disk\": [{\"bus\": \"scsi\"}]}", "disk.bus scsi: there are virtio|ahci|cdrom");
	wrong_file("{\"label\": [1]}", "label: a list of strings");
	wrong_file("{\"name\": \"a\",\n\"name\": \"b\"}", "vm.json:2: name is given twice");
	wrong_file("{\"name\": \"../x\"}", "name ../x: a name has");
	wrong_file("{\"share\": [{},{},{},{},{},{},{},{},{}]}", "share: more than 8");
	wrong_file("{\"name\": \"a\nb\"}", "vm.json");
	assert_int_equal(config_load(&config, "/nowhere/vm.json", &err), -EINVAL);
	assert_int_equal(config_load(&config, "/proc/self", &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a plain file"));
}

static void other_commands(void **state)
{
	(void)state;
	assert_int_equal(parse("doctor"), 0);
	assert_ptr_equal(command, &command_doctor);
	assert_false(help);
	assert_int_equal(parse("--help"), 0);
	assert_true(help && !command);
	assert_int_equal(parse("run --disk --help"), 0);
	assert_false(help);
	assert_int_equal(parse("run -h --fast"), -EINVAL);
	assert_int_equal(parse("run --help"), 0);
	assert_true(help && command == &command_run);
	assert_int_equal(parse("image"), 0);
	assert_true(help && !command);
}

static void wrong_usage(void **state)
{
	(void)state;
	refused("", "say what to do");
	refused("walk", "no command walk; see");
	refused("runn", "no command runn; did you mean run?");
	refused("run --fromat x", "did you mean --format?");
	refused("doctor now", "unexpected argument now");
	refused("doctor --fast", "unknown option --fast");
	refused("run a b", "unexpected argument b");
	refused("run -x", "unknown option -x");
	refused("run -t soon", "--time soon is not a number");
	refused("run /nowhere/vm.json", "cannot read VM file /nowhere/vm.json");
	refused("image eat", "no command image eat");
	refused("image info", "mullion image info needs FILE");
	refused("run --memroy 1", "did you mean --memory?");
	refused("run --no-kernel", "unknown option --no-kernel");
	refused("run --fast", "unknown option --fast");
	refused("run --kernels=x", "unknown option --kernels=x");
	refused("run --kernel", "--kernel needs a value");
	refused("run --stats=1", "--stats takes no value");
	refused("run --cpus 2", "exactly 1");
	refused("run --engine kvm", "not built yet");
	refused("run --engine qemu", "no such engine");
	refused("run --console=", "--console needs");
	refused("run --console file:", "it is written file:PATH");
	refused("run --console pty:x", "it is written pty");
	refused("run --net tap", "--net tap: it is written tap:NAME");
	refused("run --net internet", "there are user|tap:NAME|switch:NAME|none");
	refused("run --net user,mac=1:2", "--net mac 1:2: a MAC address");
	refused("run --net user,queues=9", "from 1 to 8");
	refused("run --net user,modle=e1000", "--net: unknown key modle; did you mean model?");
	refused("run --disk=", "--disk needs a file");
	refused("run --disk=x,", "--disk: unknown key");
	assert_int_equal(parse("run --disk=x,,"), 0);
	assert_string_equal(config.disk[0].path, "x,");
	refused("run --disk x,readonly=maybe", "yes or no");
	refused("run --disk x,bus", "--disk bus needs a value");
	refused("run --disk x,format=iso", "there are raw");
	refused("run --vsock 2", "from 3 to");
	refused("run --label x", "a label is KEY=VALUE");
	refused("run --net user,mac=01:00:00:00:00:01", "a MAC address"); /* of a group */
	refused("run --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 "
		"--label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 --label a=1 "
		"--label a=1",
		"more than 16");
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
		assert_int_equal(config_parse_size(sizes[i], &bytes), -EINVAL);
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
		assert_int_equal(config_parse_size(good[i].text, &bytes), 0);
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
		cmocka_unit_test(own_options),
		cmocka_unit_test(devices),
		cmocka_unit_test(an_image),
		cmocka_unit_test(files_are_options),
		cmocka_unit_test(all_can_be_read_again),
		cmocka_unit_test(paths),
		cmocka_unit_test(named_images),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(other_commands),
		cmocka_unit_test(wrong_usage),
		cmocka_unit_test(wrong_numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(images_are_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, clean);
}
