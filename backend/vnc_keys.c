/* SPDX-License-Identifier: MIT */
/* X keysyms and XT scan codes to evdev's keys. Facts: X11's keysymdef.h; RFB's QEMU extended key event. */
#include <linux/input-event-codes.h>

#include "backend/vnc.h"

/* What the keys of a US keyboard give, without and with Shift. */
static const struct {
	u16 key;
	char plain, shifted;
} characters[] = {
	{KEY_GRAVE, '`', '~'},
	{KEY_1, '1', '!'},
	{KEY_2, '2', '@'},
	{KEY_3, '3', '#'},
	{KEY_4, '4', '$'},
	{KEY_5, '5', '%'},
	{KEY_6, '6', '^'},
	{KEY_7, '7', '&'},
	{KEY_8, '8', '*'},
	{KEY_9, '9', '('},
	{KEY_0, '0', ')'},
	{KEY_MINUS, '-', '_'},
	{KEY_EQUAL, '=', '+'},
	{KEY_LEFTBRACE, '[', '{'},
	{KEY_RIGHTBRACE, ']', '}'},
	{KEY_BACKSLASH, '\\', '|'},
	{KEY_SEMICOLON, ';', ':'},
	{KEY_APOSTROPHE, '\'', '"'},
	{KEY_COMMA, ',', '<'},
	{KEY_DOT, '.', '>'},
	{KEY_SLASH, '/', '?'},
	{KEY_SPACE, ' ', ' '},
};

static const u16 letters[26] = {
	KEY_A,
	KEY_B,
	KEY_C,
	KEY_D,
	KEY_E,
	KEY_F,
	KEY_G,
	KEY_H,
	KEY_I,
	KEY_J,
	KEY_K,
	KEY_L,
	KEY_M,
	KEY_N,
	KEY_O,
	KEY_P,
	KEY_Q,
	KEY_R,
	KEY_S,
	KEY_T,
	KEY_U,
	KEY_V,
	KEY_W,
	KEY_X,
	KEY_Y,
	KEY_Z,
};

static const struct {
	u16 keysym, key;
} others[] = {
	{0xff08, KEY_BACKSPACE},
	{0xff09, KEY_TAB},
	{0xfe20, KEY_TAB},
	{0xff0a, KEY_ENTER},
	{0xff0d, KEY_ENTER},
	{0xff13, KEY_PAUSE},
	{0xff14, KEY_SCROLLLOCK},
	{0xff15, KEY_SYSRQ},
	{0xff1b, KEY_ESC},
	{0xff50, KEY_HOME},
	{0xff51, KEY_LEFT},
	{0xff52, KEY_UP},
	{0xff53, KEY_RIGHT},
	{0xff54, KEY_DOWN},
	{0xff55, KEY_PAGEUP},
	{0xff56, KEY_PAGEDOWN},
	{0xff57, KEY_END},
	{0xff61, KEY_SYSRQ},
	{0xff63, KEY_INSERT},
	{0xff67, KEY_COMPOSE},
	{0xff6b, KEY_PAUSE},
	{0xff7e, KEY_RIGHTALT},
	{0xff7f, KEY_NUMLOCK},
	{0xff8d, KEY_KPENTER},
	{0xff95, KEY_KP7},
	{0xff96, KEY_KP4},
	{0xff97, KEY_KP8},
	{0xff98, KEY_KP6},
	{0xff99, KEY_KP2},
	{0xff9a, KEY_KP9},
	{0xff9b, KEY_KP3},
	{0xff9c, KEY_KP1},
	{0xff9d, KEY_KP5},
	{0xff9e, KEY_KP0},
	{0xff9f, KEY_KPDOT},
	{0xffaa, KEY_KPASTERISK},
	{0xffab, KEY_KPPLUS},
	{0xffac, KEY_KPCOMMA},
	{0xffad, KEY_KPMINUS},
	{0xffae, KEY_KPDOT},
	{0xffaf, KEY_KPSLASH},
	{0xffb0, KEY_KP0},
	{0xffb1, KEY_KP1},
	{0xffb2, KEY_KP2},
	{0xffb3, KEY_KP3},
	{0xffb4, KEY_KP4},
	{0xffb5, KEY_KP5},
	{0xffb6, KEY_KP6},
	{0xffb7, KEY_KP7},
	{0xffb8, KEY_KP8},
	{0xffb9, KEY_KP9},
	{0xffbd, KEY_KPEQUAL},
	{0xffbe, KEY_F1},
	{0xffbf, KEY_F2},
	{0xffc0, KEY_F3},
	{0xffc1, KEY_F4},
	{0xffc2, KEY_F5},
	{0xffc3, KEY_F6},
	{0xffc4, KEY_F7},
	{0xffc5, KEY_F8},
	{0xffc6, KEY_F9},
	{0xffc7, KEY_F10},
	{0xffc8, KEY_F11},
	{0xffc9, KEY_F12},
	{0xffe1, KEY_LEFTSHIFT},
	{0xffe2, KEY_RIGHTSHIFT},
	{0xffe3, KEY_LEFTCTRL},
	{0xffe4, KEY_RIGHTCTRL},
	{0xffe5, KEY_CAPSLOCK},
	{0xffe7, KEY_LEFTMETA},
	{0xffe8, KEY_RIGHTMETA},
	{0xffe9, KEY_LEFTALT},
	{0xffea, KEY_RIGHTALT},
	{0xffeb, KEY_LEFTMETA},
	{0xffec, KEY_RIGHTMETA},
	{0xfe03, KEY_RIGHTALT},
	{0xffff, KEY_DELETE},
};

u16 vnc_key(u32 keysym, bool *shift)
{
	*shift = keysym >= 'A' && keysym <= 'Z';
	if (*shift)
		return letters[keysym - 'A'];
	if (keysym >= 'a' && keysym <= 'z')
		return letters[keysym - 'a'];
	for (unsigned i = 0; i < ARRAY_SIZE(characters); i++) {
		*shift = keysym != (u32)characters[i].plain;
		if (!*shift || keysym == (u32)characters[i].shifted)
			return characters[i].key;
	}
	*shift = false;
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		if (others[i].keysym == keysym)
			return others[i].key;
	}
	return 0;
}

/* Below 0x54, evdev's codes are the XT's; these came later. */
static const struct {
	u8 scancode, key;
} later[] = {
	{0x54, KEY_SYSRQ},
	{0x56, KEY_102ND},
	{0x57, KEY_F11},
	{0x58, KEY_F12},
	{0x59, KEY_KPEQUAL},
	{0x70, KEY_KATAKANAHIRAGANA},
	{0x73, KEY_RO},
	{0x76, KEY_ZENKAKUHANKAKU},
	{0x79, KEY_HENKAN},
	{0x7b, KEY_MUHENKAN},
	{0x7d, KEY_YEN},
	{0x7e, KEY_KPCOMMA},
	{0x9c, KEY_KPENTER},
	{0x9d, KEY_RIGHTCTRL},
	{0xa0, KEY_MUTE},
	{0xae, KEY_VOLUMEDOWN},
	{0xb0, KEY_VOLUMEUP},
	{0xb5, KEY_KPSLASH},
	{0xb7, KEY_SYSRQ},
	{0xb8, KEY_RIGHTALT},
	{0xc6, KEY_PAUSE},
	{0xc7, KEY_HOME},
	{0xc8, KEY_UP},
	{0xc9, KEY_PAGEUP},
	{0xcb, KEY_LEFT},
	{0xcd, KEY_RIGHT},
	{0xcf, KEY_END},
	{0xd0, KEY_DOWN},
	{0xd1, KEY_PAGEDOWN},
	{0xd2, KEY_INSERT},
	{0xd3, KEY_DELETE},
	{0xdb, KEY_LEFTMETA},
	{0xdc, KEY_RIGHTMETA},
	{0xdd, KEY_COMPOSE},
	{0xde, KEY_POWER},
	{0xdf, KEY_SLEEP},
	{0xe3, KEY_WAKEUP},
};

u16 vnc_key_of_scancode(u32 scancode)
{
	if (scancode <= KEY_KPDOT)
		return (u16)scancode;
	for (unsigned i = 0; i < ARRAY_SIZE(later); i++) {
		if (later[i].scancode == scancode)
			return later[i].key;
	}
	return 0;
}
