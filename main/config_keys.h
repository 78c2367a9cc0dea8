/* SPDX-License-Identifier: MIT */
/* The table that all forms of a VM's definition are made from. Only main/config*.c use it. */
#pragma once

#include "main/config.h"

enum key_kind {
	KEY_STRING,
	KEY_PATH, /* of a file; also a URL, which stays as it is */
	KEY_SIZE,
	KEY_SECONDS,
	KEY_COUNT, /* from min to max */
	KEY_FLAG, /* off unless given */
	KEY_SWITCH, /* a flag that may be on by itself: --no-NAME turns it off */
	KEY_CHOICE, /* an enum; see choices */
	KEY_STRINGS, /* a string each time it is given */
	KEY_LIST, /* a device each time it is given */
};

struct config_list {
	unsigned max, count; /* how many there may be; offset of how many there are */
	size_t size; /* of one of them */
	const struct config_key *keys; /* KEY_LIST: the first one's value may stand alone */
	unsigned nkeys;
};

struct config_key {
	const char *name;
	enum key_kind kind;
	size_t offset;
	const char *value; /* what help calls it; NULL: the choices do */
	const char *help;
	u64 min, max;
	/*
	 * In the enum's order: "user", "tap:NAME" (needs a name), "socket[:PATH]". The name goes to the string
	 * at `rest`. Any other text means other:TEXT.
	 */
	const char *const *choices;
	size_t rest;
	const char *other;
	const struct config_list *list;
	bool image; /* KEY_PATH: may also be a name in the user's folder of images */
	const char *file_after; /* KEY_STRING: with this before it, it is a file: "unix:" */
	/* Says in `why` what is wrong. */
	int (*check)(const char *text, struct err *why);
};

extern const struct config_list config_table; /* the top: one VM */

const struct config_key *config_find_key(const struct config_list *list, const char *name, size_t len);
/* The key whose name is most like it, or NULL when none is. */
const struct config_key *config_nearest_key(const struct config_list *list, const char *name);

/* How many letters must be changed, put in or left out to make one word of the other; and when that's as good as any other word. */
unsigned word_distance(const char *a, const char *b);
unsigned word_far(const char *word);

/* Length of a choice's own name, without ":NAME". */
size_t config_choice_len(const char *choice);
const char *config_choice_list(const struct config_key *key, char *text, size_t len);

/* A place in a config: object is the struct that holds the key's field. */
static inline void *config_field(const void *object, size_t offset)
{
	return (char *)object + offset;
}

/* The text of any kind but KEY_LIST into the field. who: what the user calls the key, for err. */
int config_set(
	const struct config_key *key, void *object, const char *text, const char *who, struct err *err);
int config_set_bool(const struct config_key *key, void *object, bool on);
/* A fresh object of a KEY_LIST; NULL when there are enough. */
void *config_add(const struct config_key *key, void *object, const char *who, struct err *err);
/* The value as config_set would take it; NULL when there is none (or it isn't a text). */
const char *config_text(const struct config_key *key, const void *object, char *buffer, size_t len);
