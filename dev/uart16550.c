/* SPDX-License-Identifier: MIT */
/* 16550A UART. Facts: PC16550D data sheet, National Semiconductor, 1995. */
#include "dev/uart16550.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

enum {
	IER_RX = 1 << 0,
	IER_THRE = 1 << 1,
	IER_LINE = 1 << 2,
	IER_MODEM = 1 << 3,
	IER_MASK = 0xf,

	IIR_NONE = 0x1,
	IIR_MODEM = 0x0,
	IIR_THRE = 0x2,
	IIR_RX = 0x4,
	IIR_LINE = 0x6,
	IIR_TIMEOUT = 0xc,
	IIR_FIFOS = 0xc0,

	FCR_ENABLE = 1 << 0,
	FCR_CLEAR_RX = 1 << 1,
	FCR_CLEAR_TX = 1 << 2,
	FCR_TRIGGER_SHIFT = 6,
	FCR_KEPT = 0xc9, /* the clear bits fall back by themselves */

	LCR_BREAK = 1 << 6,
	LCR_DLAB = 1 << 7,

	MCR_DTR = 1 << 0,
	MCR_RTS = 1 << 1,
	MCR_OUT1 = 1 << 2,
	MCR_OUT2 = 1 << 3, /* on a PC: connects the interrupt wire */
	MCR_LOOP = 1 << 4,
	MCR_MASK = 0x1f,

	LSR_DR = 1 << 0,
	LSR_OE = 1 << 1,
	LSR_BI = 1 << 4,
	LSR_THRE = 1 << 5,
	LSR_TEMT = 1 << 6,
	LSR_ERRORS = 0x1e,

	MSR_DELTA = 0x0f,
	MSR_TERI = 1 << 2,
	MSR_CTS = 1 << 4,
	MSR_DSR = 1 << 5,
	MSR_RI = 1 << 6,
	MSR_DCD = 1 << 7,
};

static unsigned rx_size(const struct uart16550 *uart)
{
	return uart->fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static unsigned rx_trigger(const struct uart16550 *uart)
{
	static const u8 level[4] = {1, 4, 8, 14};

	return uart->fcr & FCR_ENABLE ? level[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The pending interrupt of highest priority, as IIR shows it. */
static u8 pending(const struct uart16550 *uart)
{
	if (uart->ier & IER_LINE && uart->lsr & LSR_ERRORS)
		return IIR_LINE;
	if (uart->ier & IER_RX && uart->rx_count)
		return uart->rx_count >= rx_trigger(uart) ? IIR_RX : IIR_TIMEOUT;
	if (uart->ier & IER_THRE && uart->thre_pending)
		return IIR_THRE;
	if (uart->ier & IER_MODEM && uart->msr & MSR_DELTA)
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct uart16550 *uart)
{
	irq_set(&uart->irq, uart->mcr & MCR_OUT2 && pending(uart) != IIR_NONE);
}

static void update_input(struct uart16550 *uart)
{
	struct console *console = uart->console;
	bool on = !(uart->mcr & MCR_LOOP) && uart->rx_count < rx_size(uart);

	if (on == uart->input_on)
		return;
	uart->input_on = on;
	if (console && console->ops->input_enable)
		console->ops->input_enable(console, on);
}

static void rx_clear(struct uart16550 *uart)
{
	uart->rx_head = 0;
	uart->rx_count = 0;
	uart->lsr &= (u8)~LSR_DR;
}

/* One character reaches the receiver, from the wire or through the loop. */
static void rx_put(struct uart16550 *uart, u8 c)
{
	if (uart->rx_count == rx_size(uart)) {
		uart->lsr |= LSR_OE;
		if (uart->fcr & FCR_ENABLE)
			return;
		uart->rx_count = 0; /* without FIFOs the new character wins */
	}
	uart->rx[(uart->rx_head + uart->rx_count) % UART_FIFO] = c;
	uart->rx_count++;
	uart->lsr |= LSR_DR;
}

static u8 rx_get(struct uart16550 *uart)
{
	u8 c = uart->rx[uart->rx_head];

	if (uart->rx_count) {
		uart->rx_head = (uart->rx_head + 1) % UART_FIFO;
		uart->rx_count--;
	}
	if (!uart->rx_count)
		uart->lsr &= (u8)~LSR_DR;
	update_irq(uart);
	update_input(uart);
	return c;
}

/* The modem inputs: the far end is always ready; in loopback, our own outputs. */
static void update_modem(struct uart16550 *uart)
{
	u8 old = uart->msr & 0xf0;
	u8 lines = MSR_CTS | MSR_DSR | MSR_DCD;
	u8 delta;

	if (uart->mcr & MCR_LOOP) {
		lines = uart->mcr & MCR_RTS ? MSR_CTS : 0;
		lines |= uart->mcr & MCR_DTR ? MSR_DSR : 0;
		lines |= uart->mcr & MCR_OUT1 ? MSR_RI : 0;
		lines |= uart->mcr & MCR_OUT2 ? MSR_DCD : 0;
	}
	delta = (u8)((old ^ lines) >> 4);
	if (lines & MSR_RI)
		delta &= (u8)~MSR_TERI; /* only the trailing edge of RI counts */
	uart->msr = (u8)((uart->msr & MSR_DELTA) | delta | lines);
}

static void write_thr(struct uart16550 *uart, u8 value)
{
	uart->thre_pending = false;
	update_irq(uart);
	if (uart->mcr & MCR_LOOP)
		rx_put(uart, value);
	else if (uart->console)
		uart->console->ops->write(uart->console, &value, 1);
	uart->thre_pending = true;
	update_irq(uart);
	update_input(uart);
}

static void write_ier(struct uart16550 *uart, u8 value)
{
	value &= IER_MASK;
	/* THR is always empty, so enabling its interrupt raises it. */
	if (value & ~uart->ier & IER_THRE)
		uart->thre_pending = true;
	uart->ier = value;
	update_irq(uart);
}

static void write_fcr(struct uart16550 *uart, u8 value)
{
	bool toggled = (value ^ uart->fcr) & FCR_ENABLE;

	if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_RX))
		rx_clear(uart);
	/* The other bits count only with the enable bit. */
	uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	if (toggled || (value & FCR_ENABLE && value & FCR_CLEAR_TX))
		uart->thre_pending = true;
	update_irq(uart);
	update_input(uart);
}

static void write_lcr(struct uart16550 *uart, u8 value)
{
	bool starts = value & ~uart->lcr & LCR_BREAK;

	uart->lcr = value;
	if (starts && uart->mcr & MCR_LOOP) {
		rx_put(uart, 0);
		uart->lsr |= LSR_BI;
		update_irq(uart);
	}
}

static void write_mcr(struct uart16550 *uart, u8 value)
{
	uart->mcr = value & MCR_MASK;
	update_modem(uart);
	update_irq(uart);
	update_input(uart);
}

void uart16550_write(struct uart16550 *uart, unsigned offset, u8 value)
{
	bool dlab = uart->lcr & LCR_DLAB;

	switch (offset) {
	case UART_DATA:
		if (dlab)
			uart->divisor = (u16)((uart->divisor & 0xff00) | value);
		else
			write_thr(uart, value);
		break;
	case UART_IER:
		if (dlab)
			uart->divisor = (u16)((uart->divisor & 0xff) | value << 8);
		else
			write_ier(uart, value);
		break;
	case UART_IIR:
		write_fcr(uart, value);
		break;
	case UART_LCR:
		write_lcr(uart, value);
		break;
	case UART_MCR:
		write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR: writes are for factory tests */
		break;
	}
}

static u8 read_iir(struct uart16550 *uart)
{
	u8 iir = pending(uart);

	if (iir == IIR_THRE) {
		uart->thre_pending = false;
		update_irq(uart);
	}
	return uart->fcr & FCR_ENABLE ? iir | IIR_FIFOS : iir;
}

static u8 read_lsr(struct uart16550 *uart)
{
	u8 lsr = uart->lsr;

	uart->lsr &= (u8)~LSR_ERRORS;
	update_irq(uart);
	return lsr;
}

static u8 read_msr(struct uart16550 *uart)
{
	u8 msr = uart->msr;

	uart->msr &= (u8)~MSR_DELTA;
	update_irq(uart);
	return msr;
}

u8 uart16550_read(struct uart16550 *uart, unsigned offset)
{
	bool dlab = uart->lcr & LCR_DLAB;

	switch (offset) {
	case UART_DATA:
		return dlab ? (u8)uart->divisor : rx_get(uart);
	case UART_IER:
		return dlab ? (u8)(uart->divisor >> 8) : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return read_lsr(uart);
	case UART_MSR:
		return read_msr(uart);
	case UART_SCR:
		return uart->scr;
	default:
		return 0xff;
	}
}

size_t uart16550_receive(struct uart16550 *uart, const u8 *data, size_t len)
{
	size_t n = 0;

	if (uart->mcr & MCR_LOOP)
		return 0;
	while (n < len && uart->rx_count < rx_size(uart))
		rx_put(uart, data[n++]);
	update_irq(uart);
	update_input(uart);
	return n;
}

static size_t console_input(void *arg, const u8 *data, size_t len)
{
	return uart16550_receive(arg, data, len);
}

void uart16550_reset(struct uart16550 *uart)
{
	uart->ier = uart->fcr = uart->lcr = uart->mcr = 0;
	uart->divisor = 12; /* 9600 baud, as a BIOS leaves it */
	uart->lsr = LSR_THRE | LSR_TEMT;
	uart->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	uart->thre_pending = false;
	rx_clear(uart);
	update_irq(uart);
	update_input(uart);
}

void uart16550_init(struct uart16550 *uart, struct irq_line irq, struct console *console)
{
	memset(uart, 0, sizeof(*uart));
	uart->irq = irq;
	uart->console = console;
	if (console) {
		console->arg = uart;
		console->input = console_input;
	}
	uart16550_reset(uart);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return uart16550_read(container_of(dev, struct uart16550, dev), (unsigned)offset);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	uart16550_write(container_of(dev, struct uart16550, dev), (unsigned)offset, (u8)value);
}

static const struct region_ops region_ops = {
	.read = region_read,
	.write = region_write,
	.min_size = 1,
	.max_size = 1,
};

static void dev_reset(struct device *dev)
{
	uart16550_reset(container_of(dev, struct uart16550, dev));
}

static void dev_free(struct device *dev)
{
	struct uart16550 *uart = container_of(dev, struct uart16550, dev);

	if (uart->console)
		uart->console->input = NULL;
	free(uart);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int uart16550_create(
	struct vm *vm, u16 port, struct irq_line irq, struct console *console, struct uart16550 **out)
{
	struct uart16550 *uart = malloc(sizeof(*uart));
	int err;

	if (!uart)
		return -ENOMEM;
	if (console)
		console->lock = &vm->lock;
	uart16550_init(uart, irq, console);
	uart->dev = (struct device){.ops = &device_ops, .name = "uart16550"};
	uart->region = (struct region){
		.name = "uart16550",
		.base = port,
		.size = UART_PORTS,
		.ops = &region_ops,
		.dev = &uart->dev,
	};
	err = space_add(&vm->io, &uart->region);
	if (err) {
		dev_free(&uart->dev);
		return err;
	}
	vm_add_device(vm, &uart->dev);
	*out = uart;
	return 0;
}
