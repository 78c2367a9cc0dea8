/* SPDX-License-Identifier: MIT */
/* The VNC server: clients, frames, keys and the pointer. */
#include "backend/vnc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/loop.h"
#include "host/sandbox.h"

#define CLIENTS 16
#define PASSWORD_MAX 8
#define FRAME_NS 33000000 /* 30 pictures a second */
#define SLOW_NS 100000000 /* while nothing changes */
#define PATIENCE_MS 10000 /* for a client that stops in the midst of a message */
#define FIRST_WIDTH 720
#define FIRST_HEIGHT 400

/* What is compared and sent: tiles of this size. */
#define TILE 64u
#define BAND 16u
#define TILES (DISPLAY_MAX_WIDTH / TILE)

enum {
	BUTTON_LEFT = 0x01,
	BUTTON_MIDDLE = 0x02,
	BUTTON_RIGHT = 0x04,
	WHEEL_UP = 0x08,
	WHEEL_DOWN = 0x10,
	BUTTON_SIDE = 0x80, /* by the usual extension, only one fits */
};

struct client {
	struct vnc *vnc;
	struct loop_source source;
	rfbClientPtr cl; /* NULL: the place is free */
};

struct vnc {
	struct vnc_config config;
	pthread_t thread;
	bool running;
	struct loop loop;
	struct loop_source listener;
	struct loop_timer timer;
	char path[108]; /* of a UNIX socket */
	rfbScreenInfoPtr screen;
	unsigned width, height;
	u32 *shadow; /* what the clients have been told of; the screen's frame buffer */
	u32 *scratch;
	u64 serial, interval;
	u8 buttons; /* as the pointer's last message had them */
	unsigned nclients;
	struct client client[CLIENTS];
	char password[PASSWORD_MAX + 1];
	char *passwords[2]; /* the library's list of those that let in, ended by NULL */
};

static struct vnc *of(const rfbClientRec *cl)
{
	return cl->screen->screenData;
}

static void lock(struct vnc *vnc)
{
	pthread_mutex_lock(&vnc->config.vm->lock);
}

static void unlock(struct vnc *vnc)
{
	pthread_mutex_unlock(&vnc->config.vm->lock);
}

/* ---- pictures ---- */

static void set_format(rfbScreenInfoPtr screen)
{
	rfbPixelFormat *format = &screen->serverFormat;

	format->redMax = format->greenMax = format->blueMax = 255;
	format->redShift = 16;
	format->greenShift = 8;
	format->blueShift = 0;
}

static void each_client(struct vnc *vnc, void (*tell)(struct vnc *vnc, struct client *client))
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (vnc->client[i].cl)
			tell(vnc, &vnc->client[i]);
	}
}

static void set_translation(struct vnc *vnc, struct client *client)
{
	vnc->screen->setTranslateFunction(client->cl);
}

/* False: no memory for it, so the clients keep the old picture. */
static bool set_size(struct vnc *vnc, unsigned width, unsigned height)
{
	u32 *shadow = calloc((size_t)width * height, sizeof(*shadow));

	if (!shadow)
		return false;
	rfbNewFramebuffer(vnc->screen, (char *)shadow, (int)width, (int)height, 8, 3, 4);
	set_format(vnc->screen);
	each_client(vnc, set_translation);
	free(vnc->shadow);
	vnc->shadow = shadow;
	vnc->width = width;
	vnc->height = height;
	return true;
}

/* Copies the row's tiles that differ, and marks their columns. */
static bool compare_row(struct vnc *vnc, const u32 *row, unsigned y, bool dirty[TILES])
{
	u32 *old = vnc->shadow + (size_t)y * vnc->width;
	bool any = false;

	for (unsigned x = 0; x < vnc->width; x += TILE) {
		size_t len = MIN(TILE, vnc->width - x) * sizeof(*row);

		if (!memcmp(old + x, row + x, len))
			continue;
		memcpy(old + x, row + x, len);
		any = dirty[x / TILE] = true;
	}
	return any;
}

static void mark(struct vnc *vnc, unsigned y, unsigned rows, const bool dirty[TILES])
{
	unsigned tiles = (vnc->width + TILE - 1) / TILE;

	for (unsigned first = 0, last; first < tiles; first = last + 1) {
		for (last = first; last < tiles && dirty[last]; last++)
			;
		if (last > first)
			rfbMarkRectAsModified(vnc->screen, (int)(first * TILE), (int)y,
				(int)MIN(last * TILE, vnc->width), (int)(y + rows));
	}
}

static bool compare(struct vnc *vnc)
{
	struct display_source *source = vnc->config.source;
	bool any = false;

	for (unsigned y = 0; y < vnc->height; y += BAND) {
		unsigned rows = MIN(BAND, vnc->height - y);
		bool dirty[TILES] = {false}, band = false;

		for (unsigned i = 0; i < rows; i++)
			band |= compare_row(vnc, source->ops->row(source, y + i, vnc->scratch), y + i, dirty);
		if (band)
			mark(vnc, y, rows, dirty);
		any |= band;
	}
	return any;
}

/* Looks for what has changed; false: nothing. */
static bool take_picture(struct vnc *vnc)
{
	struct display_picture picture;
	bool changed = false;

	lock(vnc);
	vnc->config.source->ops->look(vnc->config.source, &picture);
	if (!picture.serial || picture.serial != vnc->serial) {
		if ((picture.width == vnc->width && picture.height == vnc->height) ||
			set_size(vnc, picture.width, picture.height))
			changed = compare(vnc);
		vnc->serial = picture.serial;
	}
	unlock(vnc);
	return changed;
}

/* ---- when ---- */

static void client_gone(struct vnc *vnc, struct client *client)
{
	(void)vnc;
	if (client->cl->sock == RFB_INVALID_SOCKET)
		rfbClientConnectionGone(client->cl);
}

static void update_client(struct vnc *vnc, struct client *client)
{
	rfbUpdateClient(client->cl);
	client_gone(vnc, client);
}

/* Somebody has asked for a picture and not got one yet. */
static bool wanted(const struct vnc *vnc)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		rfbClientPtr cl = vnc->client[i].cl;

		if (cl && cl->requestedRegion && !sraRgnEmpty(cl->requestedRegion))
			return true;
	}
	return false;
}

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void tick(void *arg)
{
	struct vnc *vnc = arg;

	loop_timer_taken(&vnc->timer);
	if (!vnc->nclients)
		return;
	if (wanted(vnc)) {
		vnc->interval = take_picture(vnc) ? FRAME_NS : MIN(vnc->interval + FRAME_NS / 8, SLOW_NS);
		each_client(vnc, update_client);
	}
	loop_timer_set(&vnc->timer, now() + vnc->interval);
}

/* The user does something, so that a picture is to be expected. */
static void hurry(struct vnc *vnc)
{
	if (vnc->interval == FRAME_NS)
		return;
	vnc->interval = FRAME_NS;
	loop_timer_set(&vnc->timer, now() + FRAME_NS);
}

/* ---- keys and the pointer ---- */

static void send_key(struct vnc *vnc, u16 key, bool shift, bool down)
{
	struct input *input = vnc->config.input;

	lock(vnc);
	/* A client that has no Shift key types a character that needs one. */
	shift = shift && !input->owner[KEY_LEFTSHIFT] && !input->owner[KEY_RIGHTSHIFT];
	if (shift && down)
		input_key(input, KEY_LEFTSHIFT, true);
	input_key(input, key, down);
	if (shift && down)
		input_key(input, KEY_LEFTSHIFT, false);
	unlock(vnc);
	hurry(vnc);
}

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
	bool shift;
	u16 key = vnc_key(keysym, &shift);

	if (key)
		send_key(of(cl), key, shift, down);
}

static void on_pointer(int mask, int x, int y, rfbClientPtr cl)
{
	struct vnc *vnc = of(cl);
	u8 pressed = (u8)(mask & ~vnc->buttons);
	struct input_pointer pointer = {
		.x = (unsigned)MAX(x, 0),
		.y = (unsigned)MAX(y, 0),
		.width = vnc->width,
		.height = vnc->height,
		.left = mask & BUTTON_LEFT,
		.right = mask & BUTTON_RIGHT,
		.middle = mask & BUTTON_MIDDLE,
		.side = mask & BUTTON_SIDE,
		.wheel = (pressed & WHEEL_UP ? 1 : 0) - (pressed & WHEEL_DOWN ? 1 : 0),
	};

	vnc->buttons = (u8)mask;
	lock(vnc);
	input_point(vnc->config.input, &pointer);
	unlock(vnc);
	hurry(vnc);
	rfbDefaultPtrAddEvent(mask, x, y, cl);
}

/* ---- QEMU's extension: keys by their scan codes, whatever the client's layout ---- */

static int extended_keys[] = {(int)rfbEncodingQemuExtendedKeyEvent, 0};

/* The answer that the server understands them is an empty rectangle of that encoding. */
static rfbBool offer_keys(rfbClientPtr cl, void **data, int encoding)
{
	struct {
		rfbFramebufferUpdateMsg update;
		rfbFramebufferUpdateRectHeader rect;
	} __attribute__((packed)) answer = {.update.type = rfbFramebufferUpdate, .update.nRects = htons(1)};

	(void)data;
	if (encoding != extended_keys[0])
		return FALSE;
	answer.rect.encoding = htonl((u32)encoding);
	return rfbWriteExact(cl, (const char *)&answer, sizeof(answer)) > 0;
}

static rfbBool take_key(rfbClientPtr cl, void *data, const rfbClientToServerMsg *message)
{
	rfbQemuExtendedKeyEventMsg key;
	u16 code;

	(void)data;
	if (message->type != rfbQemuEvent)
		return FALSE;
	if (rfbReadExact(cl, (char *)&key + 1, sz_rfbQemuExtendedKeyEventMsg - 1) <= 0 || key.subtype) {
		rfbCloseClient(cl);
		return TRUE;
	}
	code = vnc_key_of_scancode(ntohl(key.keycode));
	if (code)
		send_key(of(cl), code, false, ntohs(key.down));
	else
		on_key(ntohs(key.down) != 0, ntohl(key.keysym), cl);
	return TRUE;
}

static rfbProtocolExtension key_extension = {
	.pseudoEncodings = extended_keys,
	.enablePseudoEncoding = offer_keys,
	.handleMessage = take_key,
};

/* ---- clients ---- */

static void client_ready(void *arg, u32 events)
{
	struct client *client = arg;

	sandbox_join();
	(void)events;
	if (!client->cl)
		return;
	rfbProcessClientMessage(client->cl);
	client_gone(client->vnc, client);
}

/* The library does not. */
static void free_extensions(rfbClientPtr cl)
{
	while (cl->extensions) {
		rfbExtensionData *first = cl->extensions;

		cl->extensions = first->next;
		free(first);
	}
}

static void on_gone(rfbClientPtr cl)
{
	struct client *client = cl->clientData;
	struct vnc *vnc = of(cl);

	if (!client)
		return;
	client->cl = NULL;
	free_extensions(cl);
	loop_remove(&vnc->loop, &client->source);
	vnc->nclients--;
	vnc->buttons = 0;
	lock(vnc);
	input_release(vnc->config.input);
	unlock(vnc);
}

static enum rfbNewClientAction on_new(rfbClientPtr cl)
{
	struct vnc *vnc = of(cl);

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &vnc->client[i];

		if (client->cl)
			continue;
		client->vnc = vnc;
		client->source = (struct loop_source){.fd = cl->sock, .ready = client_ready, .arg = client};
		if (loop_add(&vnc->loop, &client->source, EPOLLIN))
			return RFB_CLIENT_REFUSE;
		client->cl = cl;
		cl->clientData = client;
		cl->clientGoneHook = on_gone;
		vnc->nclients++;
		vnc->interval = FRAME_NS;
		loop_timer_set(&vnc->timer, now());
		return RFB_CLIENT_ACCEPT;
	}
	return RFB_CLIENT_REFUSE;
}

static void knock(void *arg, u32 events)
{
	struct vnc *vnc = arg;
	int fd;

	(void)events;
	sandbox_join();
	fd = accept4(vnc->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= FD_SETSIZE) /* the library keeps its sockets in such a set */
		close(fd);
	else if (fd >= 0)
		rfbNewClient(vnc->screen, fd); /* closes it by itself on failure */
}

/* ---- its life ---- */

static void quiet(const char *format, ...)
{
	(void)format;
}

static int make_screen(struct vnc *vnc)
{
	rfbScreenInfoPtr screen;

	rfbLog = rfbErr = quiet;
	vnc->width = FIRST_WIDTH;
	vnc->height = FIRST_HEIGHT;
	vnc->shadow = calloc(FIRST_WIDTH * FIRST_HEIGHT, sizeof(*vnc->shadow));
	vnc->scratch = calloc(DISPLAY_MAX_WIDTH, sizeof(*vnc->scratch));
	if (!vnc->shadow || !vnc->scratch)
		return -ENOMEM;
	screen = rfbGetScreen(NULL, NULL, FIRST_WIDTH, FIRST_HEIGHT, 8, 3, 4);
	if (!screen)
		return -ENOMEM;
	vnc->screen = screen;
	set_format(screen);
	screen->frameBuffer = (char *)vnc->shadow;
	screen->screenData = vnc;
	screen->desktopName = vnc->config.name;
	screen->alwaysShared = TRUE;
	screen->autoPort = FALSE;
	screen->port = screen->ipv6port = 0; /* we listen */
	screen->cursor = NULL; /* the guest draws its own */
	screen->deferUpdateTime = 0;
	screen->maxClientWait = PATIENCE_MS;
	screen->kbdAddEvent = on_key;
	screen->ptrAddEvent = on_pointer;
	screen->newClientHook = on_new;
	rfbRegisterProtocolExtension(&key_extension);
	if (vnc->passwords[0]) {
		screen->authPasswdData = vnc->passwords;
		screen->passwordCheck = rfbCheckPasswordByList;
	}
	rfbInitServer(screen);
	return 0;
}

/* VNC's passwords have no more than 8 bytes: of a longer one, the rest would not count. */
static int read_password(struct vnc *vnc, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[PASSWORD_MAX + 2] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int ret = n < 0 ? err_set(err, errno, "VNC password file %s: %s", path, strerror(errno)) : 0;

	if (fd >= 0)
		close(fd);
	if (ret)
		return ret;
	text[strcspn(text, "\r\n")] = 0;
	if (!*text || strlen(text) > PASSWORD_MAX)
		return err_set(err, EINVAL, "VNC password file %s: its first line has to be of 1 to %d bytes",
			path, PASSWORD_MAX);
	strcpy(vnc->password, text);
	vnc->passwords[0] = vnc->password;
	return 0;
}

static void *serve(void *arg)
{
	struct vnc *vnc = arg;

	loop_run(&vnc->loop);
	return NULL;
}

static int start(struct vnc *vnc)
{
	int ret = loop_init(&vnc->loop);

	if (!ret)
		ret = loop_timer_init(&vnc->loop, &vnc->timer, tick, vnc);
	if (!ret)
		ret = make_screen(vnc);
	if (!ret)
		ret = loop_add(&vnc->loop, &vnc->listener, EPOLLIN);
	if (!ret)
		ret = -pthread_create(&vnc->thread, NULL, serve, vnc);
	vnc->running = !ret;
	return ret;
}

int vnc_create(const struct vnc_config *config, struct vnc **out, struct err *err)
{
	struct vnc *vnc = calloc(1, sizeof(*vnc));
	int ret;

	if (!vnc)
		return err_set(err, ENOMEM, "out of memory");
	vnc->config = *config;
	vnc->loop.epoll = vnc->loop.wake.fd = vnc->timer.source.fd = -1;
	vnc->interval = FRAME_NS;
	vnc->listener = (struct loop_source){.ready = knock, .arg = vnc};
	vnc->listener.fd = -1;
	ret = config->password_file ? read_password(vnc, config->password_file, err) : 0;
	if (!ret)
		ret = vnc->listener.fd = vnc_listen(config->address, vnc->path, err);
	if (ret >= 0) {
		ret = start(vnc);
		if (ret)
			err_set(err, -ret, "the VNC server does not start: %s", strerror(-ret));
	}
	if (ret)
		vnc_destroy(vnc);
	else
		*out = vnc;
	return ret;
}

static void close_client(struct vnc *vnc, struct client *client)
{
	rfbCloseClient(client->cl);
	client_gone(vnc, client);
}

void vnc_destroy(struct vnc *vnc)
{
	if (!vnc)
		return;
	if (vnc->running) {
		loop_stop(&vnc->loop);
		pthread_join(vnc->thread, NULL);
		each_client(vnc, close_client);
	}
	if (vnc->screen)
		rfbScreenCleanup(vnc->screen);
	if (vnc->listener.fd >= 0)
		close(vnc->listener.fd);
	if (vnc->path[0])
		unlink(vnc->path);
	loop_timer_fini(&vnc->loop, &vnc->timer);
	loop_fini(&vnc->loop);
	free(vnc->shadow);
	free(vnc->scratch);
	free(vnc);
}
