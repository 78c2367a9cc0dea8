/* SPDX-License-Identifier: MIT */
/* Which VMs there are, who holds them, and what is left when nobody does. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "main/define.h"
#include "main/state.h"

static char folder[64];
static struct err err;

static int setup(void **state)
{
	char path[96];

	(void)state;
	strcpy(folder, "/tmp/mullion-state-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/config", folder);
	setenv("XDG_CONFIG_HOME", path, 1);
	snprintf(path, sizeof(path), "%s/run", folder);
	setenv("XDG_RUNTIME_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/state", folder);
	setenv("XDG_STATE_HOME", path, 1);
	return 0;
}

static int unlink_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void expect_names(const char *wanted)
{
	char **names, all[256] = "";
	unsigned n;

	assert_int_equal(state_list(&names, &n, &err), 0);
	for (unsigned i = 0; i < n; i++) {
		strcat(all, names[i]);
		strcat(all, " ");
	}
	state_free_list(names, n);
	assert_string_equal(all, wanted);
}

static void define(const char *name)
{
	struct vm_config config;

	config_init(&config);
	assert_int_equal(config_option(&config, "name", name, &err), 0);
	assert_int_equal(config_option(&config, "kernel", "k", &err), 0);
	assert_int_equal(definition_create(&config, &err), 0);
	config_free(&config);
}

/* A process that holds the name until it is killed. */
static pid_t hold(const char *name)
{
	struct state_claim claim;
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		if (!state_claim(&claim, name, NULL) && !state_write_pid(&claim, NULL) &&
			write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void kill_it(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void names(void **state)
{
	char a[64], b[64], long_one[65] = "";

	(void)state;
	assert_true(state_name_ok("web-1.example_x"));
	assert_false(state_name_ok("") || state_name_ok(".x") || state_name_ok("a/b") ||
		     state_name_ok("..") || state_name_ok("a b") || state_name_ok("-x") ||
		     state_name_ok("a\nb"));
	memset(a, 'a', 63);
	a[63] = 0;
	assert_true(state_name_ok(a));
	memset(long_one, 'a', 64);
	assert_false(state_name_ok(long_one));
	state_make_name(a);
	state_make_name(b);
	assert_true(state_name_ok(a) && strchr(a, '_') && strcmp(a, b));
}

static void definitions(void **state)
{
	struct vm_config config;
	char path[PATH_MAX];
	struct stat st;

	(void)state;
	expect_names("");
	define("b");
	define("a");
	expect_names("a b ");
	assert_true(state_defined("a") && !state_defined("c") && !state_running("a", NULL) &&
		    !state_crashed("a"));
	assert_int_equal(state_path(STATE_DEFINITION, "a", NULL, path, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(definition_load("a", &config, &err), 0);
	assert_string_equal(config.name, "a");
	assert_int_equal(*config.kernel, '/');
	assert_int_equal(definition_create(&config, &err), -EEXIST);
	assert_non_null(strstr(err.text, "there is a VM a already"));
	config_free(&config);
	assert_int_equal(definition_load("c", &config, &err), -ENOENT);
	config_free(&config);
	assert_int_equal(definition_load("../vms/a", &config, &err), -ENOENT);
	config_free(&config);
	state_forget("a");
	expect_names("b ");
}

static void claims(void **state)
{
	struct state_claim claim;
	char path[PATH_MAX];
	pid_t pid, found = 0;

	(void)state;
	define("a");
	pid = hold("a");
	assert_true(state_running("a", &found) && found == pid && !state_crashed("a"));
	assert_int_equal(state_claim(&claim, "a", &err), -EBUSY);
	assert_non_null(strstr(err.text, "VM a runs already"));
	assert_int_equal(claim.lock, -1);
	kill_it(pid);
	assert_true(!state_running("a", NULL) && state_crashed("a"));
	expect_names("a ");
	assert_int_equal(state_claim(&claim, "a", &err), 0);
	assert_true(state_running("a", NULL));
	state_release(&claim);
	assert_false(state_running("a", NULL) || state_crashed("a"));
	assert_int_equal(state_path(STATE_RUN, "a", NULL, path, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	state_release(&claim); /* nothing */
}

/* A lock goes along into children, and is theirs when the parent ends. */
static void claims_of_children(void **state)
{
	struct state_claim claim;
	pid_t child;

	(void)state;
	assert_int_equal(state_claim(&claim, "a", &err), 0);
	child = fork();
	if (!child) {
		pause();
		_exit(1);
	}
	close(claim.lock);
	assert_true(state_running("a", NULL));
	kill_it(child);
	assert_false(state_running("a", NULL));
}

static void without_a_definition(void **state)
{
	char path[PATH_MAX];
	pid_t pid;

	(void)state;
	pid = hold("x");
	expect_names("x ");
	state_forget("x"); /* what it holds while it runs stays */
	if (!state_running("x", NULL)) {
		kill_it(pid);
		fail_msg("a VM that runs is forgotten");
	}
	kill_it(pid);
	expect_names("");
	assert_int_equal(state_path(STATE_RUN, "x", NULL, path, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* Many want it at once: each time one has it, and in the end all have had it. */
static void a_race(void **state)
{
	pid_t pid[8];

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			for (unsigned had = 0; had < 50;) {
				struct state_claim claim;
				char path[PATH_MAX];
				int fd;

				if (state_claim(&claim, "r", NULL))
					continue;
				if (state_path(STATE_RUN, "r", "only-one", path, NULL))
					_exit(2);
				fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
				if (fd < 0)
					_exit(3);
				close(fd);
				state_release(&claim);
				had++;
			}
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		int status;

		waitpid(pid[i], &status, 0);
		assert_int_equal(status, 0);
	}
}

static void foreign_folders(void **state)
{
	char path[PATH_MAX], mine[96];

	(void)state;
	/* A relative XDG folder is no folder. */
	setenv("XDG_CONFIG_HOME", "relative", 1);
	setenv("HOME", folder, 1);
	assert_int_equal(state_path(STATE_DEFINITION, "a", NULL, path, &err), 0);
	snprintf(mine, sizeof(mine), "%s/.config/", folder);
	assert_int_equal(strncmp(path, mine, strlen(mine)), 0);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(state_path(STATE_RUN, "a", NULL, path, &err), 0);
	assert_int_equal(*path, '/');
	/* What cannot be made is said. */
	snprintf(path, sizeof(path), "%s/file", folder);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	setenv("XDG_STATE_HOME", path, 1);
	assert_true(state_make(STATE_KEPT, "a", &err) < 0);
	assert_non_null(strstr(err.text, "file"));
}

/* A folder in /tmp that somebody else has made, or may write to, is not ours. */
static void a_trap_in_tmp(void **state)
{
	char path[PATH_MAX], trap[64];
	pid_t child;
	int status;

	(void)state;
	if (geteuid())
		return; /* only root can be somebody else */
	child = fork();
	if (!child) {
		unsetenv("XDG_RUNTIME_DIR");
		snprintf(trap, sizeof(trap), "/tmp/mullion-%u", 54321);
		rmdir(trap);
		if (mkdir(trap, 0700) || setuid(54321))
			_exit(1);
		if (state_path(STATE_RUN, "a", NULL, path, &err) != -EPERM) /* root's */
			_exit(2);
		_exit(0);
	}
	waitpid(child, &status, 0);
	rmdir("/tmp/mullion-54321");
	assert_int_equal(status, 0);
}

/* The disk is full: the old file stays as it was. */
static void no_room(void **state)
{
	char path[96], text[16] = "";
	pid_t child;
	int status;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/x", folder);
	assert_int_equal(state_write(path, "one", false, &err), 0);
	child = fork();
	if (!child) {
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &(struct rlimit){2, 2});
		_exit(state_write(path, "three", false, &err) ? 0 : 1);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "one");
}

static void small_files(void **state)
{
	char path[96], text[16] = "";
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/x", folder);
	assert_int_equal(state_write(path, "one", true, &err), 0);
	assert_int_equal(state_write(path, "two", true, &err), -EEXIST);
	assert_int_equal(state_write(path, "three", false, &err), 0);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "three");
	assert_true(state_write("/nowhere/x", "", false, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(definitions, setup, teardown),
		cmocka_unit_test_setup_teardown(claims, setup, teardown),
		cmocka_unit_test_setup_teardown(claims_of_children, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_definition, setup, teardown),
		cmocka_unit_test_setup_teardown(a_race, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(a_trap_in_tmp, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(small_files, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
