/* SPDX-License-Identifier: MIT */
/* `mullion image create|convert|info|resize|list`. */
#include "main/image.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/disk_lock.h"
#include "backend/disk_open.h"
#include "host/log.h"
#include "host/process.h"
#include "main/progress.h"
#include "main/table.h"

#define TEXT KIB(64)
#define ARGS 20

static bool force, shrink, compress;
static const char *format, *from_format, *backing;

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

/* ---- qemu-img ---- */

static int tool_error(const char *path, int status, char *text, struct err *err)
{
	if (status == 127)
		return err_set(err, ENOENT, "image %s: needs qemu-img: install Debian's qemu-utils", path);
	if (status < 0)
		return err_set(err, -status, "image %s: qemu-img: %s", path, strerror(-status));
	if (disk_tool_locked(text, &path))
		return disk_lock_complain(path, err);
	disk_tool_complaint(text);
	return err_set(err, EIO, "image %s: %.300s", path, *text ? text : "qemu-img failed without a word");
}

static int tool(const char *path, const char *const *argv, char *out, struct err *err)
{
	static char text[TEXT];
	int status = process_run(argv, out, out ? TEXT : 0, text, sizeof(text));

	return status ? tool_error(path, status, text, err) : 0;
}

/* The same, with how far it is as the tool says on its standard output. */
static int tool_with_progress(const char *path, const char *const *argv, const char *what, struct err *err)
{
	static char text[TEXT];
	struct progress progress;
	int outs[2], status;
	FILE *errors = tmpfile(), *out;
	char word[64];
	size_t len;
	pid_t pid = 0;

	if (!errors || pipe2(outs, O_CLOEXEC))
		return err_set(err, errno, "image %s: %s", path, strerror(errno));
	status = process_start(
		&(struct process_spec){
			.argv = argv, .out = outs[1], .err = fileno(errors), .listen = -1, .pass = -1},
		&pid);
	close(outs[1]);
	out = fdopen(outs[0], "r");
	progress_begin(&progress, what);
	/* "    (12.34/100%)\r" */
	for (len = 0; !status && out;) {
		int c = getc(out);

		if (c == EOF)
			break;
		word[len] = (char)c;
		len = c == '(' || len + 2 > sizeof(word) ? 0 : len + 1;
		word[len] = 0;
		if (c == '/')
			progress_show(&progress, strtod(word, NULL));
	}
	progress_end(&progress);
	if (!status)
		status = process_wait(pid);
	if (out)
		fclose(out);
	rewind(errors);
	len = fread(text, 1, sizeof(text) - 1, errors);
	text[len] = 0;
	fclose(errors);
	return status ? tool_error(path, status, text, err) : 0;
}

/* ---- what they have in common ---- */

static int check_format(const char *word, const char *name, struct err *err)
{
	const struct disk_source source = {.path = word, .format = name};
	const char *ignored;

	if (name && !strcmp(name, "nbd"))
		return err_set(err, EINVAL, "image %s: format nbd is a server, not a file", word);
	return name ? disk_find_format(&source, &ignored, err) : 0;
}

/* The format of an image that is there. */
static int format_of(const char *path, const char *given, const char **out, struct err *err)
{
	const struct disk_source source = {.path = path, .format = given};
	struct stat st;

	if (access(path, R_OK) || stat(path, &st))
		return err_set(err, errno, "image %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "image %s: is neither a file nor a block device", path);
	return disk_find_format(&source, out, err);
}

static int check_source(const char *path, const char *kind, struct err *err)
{
	return disk_check_image(&(struct disk_source){.path = path}, kind, err);
}

/* Nothing is overwritten unasked, and nothing that a VM uses at all. */
static int check_target(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? 0 : err_set(err, errno, "image %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(err, EEXIST, "image %s: is there, and is no file", path);
	if (!force)
		return err_set(err, EEXIST, "image %s: is there already; --force overwrites it", path);
	return disk_lock_holder(path) ? disk_lock_complain(path, err) : 0;
}

static char unfinished[PATH_MAX]; /* for a signal, which may come when the caller's name is no more */

static void give_up(int signo)
{
	unlink(unfinished);
	signal(signo, SIG_DFL);
	raise(signo);
}

/* Beside the target, which gets the name only when all is well. Ctrl-C leaves nothing of it. */
static void name_draft(const char *path, char draft[PATH_MAX])
{
	if (snprintf(draft, PATH_MAX, "%s.new-%d", path, (int)getpid()) >= PATH_MAX)
		snprintf(draft, PATH_MAX, "%.4000s.new", path);
	strcpy(unfinished, draft);
	signal(SIGINT, give_up);
	signal(SIGTERM, give_up);
	signal(SIGHUP, give_up);
}

static int keep_draft(const char *draft, const char *path, struct err *err)
{
	int ret = 0;

	if (renameat2(AT_FDCWD, draft, AT_FDCWD, path, force ? 0 : RENAME_NOREPLACE))
		ret = err_set(err, errno, "image %s: %s", path, strerror(errno));
	unlink(draft);
	return ret;
}

/* ---- create ---- */

static int size_text(const char *path, const char *word, char out[32], struct err *err)
{
	u64 bytes;

	if (config_parse_size(word, &bytes) || !bytes || bytes > BIT(62))
		return err_set(
			err, EINVAL, "image %s: %s is not a size; say for example 512M or 20G", path, word);
	snprintf(out, 32, "%llu", (unsigned long long)ALIGN_UP(bytes, (u64)DISK_SECTOR));
	return 0;
}

static int create(const char *word, const char *size, struct err *err)
{
	const char *kind = format ? format : disk_format_of_name(word),
		   *argv[ARGS] = {"qemu-img", "create", "-q"};
	const char *backing_format = NULL;
	char path[PATH_MAX], draft[PATH_MAX], found[PATH_MAX], base[PATH_MAX], bytes[32];
	unsigned n = 3;
	int ret;

	kind = kind ? kind : "qcow2";
	ret = check_format(word, kind, err);
	if (!ret)
		ret = image_place(word, kind, path, err);
	if (!ret)
		ret = check_target(path, err);
	if (!ret && !size && !backing)
		ret = err_set(err, EINVAL, "image %s: needs a size, for example 20G", word);
	if (!ret && size)
		ret = size_text(word, size, bytes, err);
	argv[n++] = "-f";
	argv[n++] = kind;
	if (!ret && backing) {
		ret = image_find(backing, found, err);
		if (!ret)
			ret = format_of(found, NULL, &backing_format, err);
		if (!ret && !realpath(found, base))
			ret = err_set(err, errno, "image %s: %s", found, strerror(errno));
		argv[n++] = "-b";
		argv[n++] = base;
		argv[n++] = "-F";
		argv[n++] = backing_format;
	}
	if (ret)
		return ret;
	name_draft(path, draft);
	argv[n++] = "--";
	argv[n++] = draft;
	argv[n++] = size ? bytes : NULL;
	ret = tool(path, argv, NULL, err);
	if (!ret)
		ret = keep_draft(draft, path, err);
	else
		unlink(draft);
	if (!ret)
		printf("%s\n", path);
	return ret;
}

static int run_create(const struct invocation *call)
{
	struct err err;

	return create(call->word[0], call->nwords > 1 ? call->word[1] : NULL, &err) ? complain(&err)
										    : STATUS_OK;
}

/* ---- convert ---- */

static int convert(const char *from, const char *to, struct err *err)
{
	const char *kind = format ? format : disk_format_of_name(to), *source_format = NULL;
	const char *argv[ARGS] = {"qemu-img", "convert", "-p"};
	char source[PATH_MAX], path[PATH_MAX], draft[PATH_MAX], what[64];
	unsigned n = 3;
	int ret;

	kind = kind ? kind : "qcow2";
	ret = check_format(to, kind, err);
	if (!ret)
		ret = image_find(from, source, err);
	if (!ret)
		ret = format_of(source, from_format, &source_format, err);
	if (!ret)
		ret = check_source(source, source_format, err);
	if (!ret)
		ret = image_place(to, kind, path, err);
	if (!ret)
		ret = check_target(path, err);
	if (ret)
		return ret;
	name_draft(path, draft);
	if (compress)
		argv[n++] = "-c";
	argv[n++] = "-f";
	argv[n++] = source_format;
	argv[n++] = "-O";
	argv[n++] = kind;
	argv[n++] = "--";
	argv[n++] = source;
	argv[n++] = draft;
	snprintf(what, sizeof(what), "%s to %s", source_format, kind);
	ret = tool_with_progress(path, argv, what, err);
	if (!ret)
		ret = keep_draft(draft, path, err);
	else
		unlink(draft);
	if (!ret)
		printf("%s\n", path);
	return ret;
}

static int run_convert(const struct invocation *call)
{
	struct err err;

	return convert(call->word[0], call->word[1], &err) ? complain(&err) : STATUS_OK;
}

/* ---- info ---- */

/* What qemu-img says of the image, as JSON; the caller frees it. */
static int describe(const char *path, const char *kind, cJSON **out, struct err *err)
{
	const char *const argv[] = {"qemu-img", "info", "-U", "--output=json", "-f", kind, "--", path, NULL};
	static char text[TEXT];
	int ret = tool(path, argv, text, err);

	if (ret)
		return ret;
	*out = cJSON_Parse(text);
	return *out ? 0 : err_set(err, EIO, "image %s: qemu-img's answer makes no sense", path);
}

static double number(const cJSON *json, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void print_info(const char *path, const char *kind, const cJSON *json)
{
	const cJSON *base = cJSON_GetObjectItemCaseSensitive(json, "full-backing-filename");
	pid_t pid = disk_lock_holder(path);
	char text[32];

	printf("image:     %s\n", path);
	printf("format:    %s\n", kind);
	printf("size:      %s\n", text_of_size((u64)number(json, "virtual-size"), text));
	printf("allocated: %s\n", text_of_size((u64)number(json, "actual-size"), text));
	if (cJSON_IsString(base))
		printf("backing:   %s\n", base->valuestring);
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "encrypted")))
		puts("encrypted: yes");
	if (pid)
		printf("in use by: process %d\n", (int)pid);
}

static int info(const char *word, struct err *err)
{
	bool as_json = format && !strcmp(format, "json");
	char path[PATH_MAX], *text;
	const char *kind;
	cJSON *json;
	int ret = image_find(word, path, err);

	if (!ret && format && !as_json && strcmp(format, "table"))
		return err_set(err, EINVAL, "--format %s: there are table and json", format);
	if (!ret)
		ret = format_of(path, from_format, &kind, err);
	if (!ret)
		ret = describe(path, kind, &json, err);
	if (ret)
		return ret;
	if (as_json) {
		text = cJSON_Print(json);
		puts(text ? text : "");
		free(text);
	} else {
		print_info(path, kind, json);
	}
	cJSON_Delete(json);
	return 0;
}

static int run_info(const struct invocation *call)
{
	struct err err;

	return info(call->word[0], &err) ? complain(&err) : STATUS_OK;
}

/* ---- resize ---- */

static int resize(const char *word, const char *size, struct err *err)
{
	char path[PATH_MAX], bytes[32];
	const char *kind, *argv[ARGS] = {"qemu-img", "resize", "-q", "-f"};
	unsigned n = 4;
	cJSON *json;
	u64 now, wanted;
	int ret = image_find(word, path, err);

	if (!ret)
		ret = format_of(path, from_format, &kind, err);
	if (!ret)
		ret = size_text(path, *size == '+' ? size + 1 : size, bytes, err);
	if (!ret)
		ret = check_source(path, kind, err);
	if (!ret)
		ret = describe(path, kind, &json, err);
	if (ret)
		return ret;
	now = (u64)number(json, "virtual-size");
	cJSON_Delete(json);
	wanted = strtoull(bytes, NULL, 10) + (*size == '+' ? now : 0);
	if (wanted < now && !shrink)
		return err_set(err, EINVAL,
			"image %s: is larger than %s; --shrink cuts off what is behind that, for ever", path,
			size);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)wanted);
	argv[n++] = kind;
	if (shrink)
		argv[n++] = "--shrink";
	argv[n++] = "--";
	argv[n++] = path;
	argv[n++] = bytes;
	return tool(path, argv, NULL, err);
}

static int run_resize(const struct invocation *call)
{
	struct err err;

	return resize(call->word[0], call->word[1], &err) ? complain(&err) : STATUS_OK;
}

/* ---- list ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_image(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && disk_format_of_name(entry->d_name);
}

static int run_list(const struct invocation *call)
{
	char folder[PATH_MAX], path[PATH_MAX + 256], text[32];
	struct dirent **entry;
	struct table table;
	struct err err;
	int n;

	(void)call;
	if (image_folder(folder, &err))
		return complain(&err);
	n = scandir(folder, &entry, is_image, by_name);
	table_init(&table, 3);
	table_add(&table, "NAME");
	table_add(&table, "FORMAT");
	table_add(&table, "ALLOCATED");
	for (int i = 0; i < n; i++) {
		const char *kind = disk_format_of_name(entry[i]->d_name);
		struct stat st = {0};

		snprintf(path, sizeof(path), "%s/%s", folder, entry[i]->d_name);
		stat(path, &st);
		table_add(
			&table, "%.*s", (int)(strlen(entry[i]->d_name) - strlen(kind) - 1), entry[i]->d_name);
		table_add(&table, "%s", kind);
		table_add(&table, "%s", text_of_size((u64)st.st_blocks * 512, text));
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	table_print(&table, stdout);
	return STATUS_OK;
}

/* ---- the table's rows ---- */

#define NAMES                                                                                                \
	"A word without a slash and without an ending such as .qcow2 is a name in the user's folder of\n"    \
	"images, $XDG_DATA_HOME/mullion/images (or ~/.local/share/mullion/images)."

static const struct option create_options[] = {
	{"format", 'f', OPTION_STRING, "FORMAT",
		"qcow2 (unless the name ends otherwise), raw, vmdk, vdi, vhdx", &format},
	{"backing", 'b', OPTION_STRING, "FILE", "only what differs from this image is stored", &backing},
	{"force", 0, OPTION_FLAG, NULL, "overwrite an image that is there", &force},
	{0},
};

const struct command command_image_create = {
	.name = "image create",
	.words = "NAME [SIZE]",
	.min_words = 1,
	.max_words = 2,
	.help = "make an empty disk image",
	.more = NAMES,
	.options = create_options,
	.run = run_create,
};

static const struct option convert_options[] = {
	{"format", 'f', OPTION_STRING, "FORMAT",
		"of the new image: qcow2 (unless its name ends otherwise), raw, ...", &format},
	{"from", 0, OPTION_STRING, "FORMAT", "of the old one, where it cannot be told", &from_format},
	{"compress", 'c', OPTION_FLAG, NULL, "compress what is copied (qcow2)", &compress},
	{"force", 0, OPTION_FLAG, NULL, "overwrite an image that is there", &force},
	{0},
};

const struct command command_image_convert = {
	.name = "image convert",
	.words = "FROM TO",
	.min_words = 2,
	.max_words = 2,
	.help = "copy a disk image into another format",
	.more = NAMES,
	.options = convert_options,
	.run = run_convert,
};

static const struct option info_options[] = {
	{"format", 'f', OPTION_STRING, "FORMAT", "table or json", &format},
	{"from", 0, OPTION_STRING, "FORMAT", "of the image, where it cannot be told", &from_format},
	{0},
};

const struct command command_image_info = {
	.name = "image info",
	.words = "IMAGE",
	.min_words = 1,
	.max_words = 1,
	.help = "show an image's format and sizes",
	.more = NAMES,
	.options = info_options,
	.run = run_info,
};

static const struct option resize_options[] = {
	{"from", 0, OPTION_STRING, "FORMAT", "of the image, where it cannot be told", &from_format},
	{"shrink", 0, OPTION_FLAG, NULL, "cut off what is behind the new size", &shrink},
	{0},
};

const struct command command_image_resize = {
	.name = "image resize",
	.words = "IMAGE SIZE",
	.min_words = 2,
	.max_words = 2,
	.help = "give an image another size (+SIZE: so much more)",
	.more = NAMES,
	.options = resize_options,
	.run = run_resize,
};

const struct command command_image_list = {
	.name = "image list",
	.words = "",
	.help = "the images that have names",
	.more = NAMES,
	.run = run_list,
};
