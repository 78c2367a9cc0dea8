/* SPDX-License-Identifier: MIT */
/*
 * 16550A UART (National Semiconductor PC16550D) with a console behind it.
 * Characters take no time to send: THR is empty again at once. A partly filled
 * receive FIFO reports its character timeout at once too.
 */
#pragma once

#include "backend/console.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define UART_COM1_PORT 0x3f8
#define UART_COM1_IRQ 4
#define UART_PORTS 8
#define UART_FIFO 16

/* Register offsets */
enum {
	UART_DATA = 0, /* RBR, THR; DLL with DLAB */
	UART_IER = 1, /* DLM with DLAB */
	UART_IIR = 2, /* FCR when written */
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCR = 7,
};

struct uart16550 {
	struct device dev;
	struct region region;
	struct irq_line irq;
	struct console *console; /* may be NULL: output vanishes, no input */
	u8 ier, fcr, lcr, mcr, lsr, msr, scr;
	u16 divisor;
	bool thre_pending; /* the THRE interrupt has been raised and not been seen */
	bool input_on; /* what the console was told last */
	u8 rx[UART_FIFO];
	unsigned rx_head, rx_count;
};

int uart16550_create(
	struct vm *vm, u16 port, struct irq_line irq, struct console *console, struct uart16550 **out);

/* For tests: the chip without a VM. */
void uart16550_init(struct uart16550 *uart, struct irq_line irq, struct console *console);
void uart16550_reset(struct uart16550 *uart);
u8 uart16550_read(struct uart16550 *uart, unsigned offset);
void uart16550_write(struct uart16550 *uart, unsigned offset, u8 value);
/* Characters arrive on the wire. Returns how many there was room for. */
size_t uart16550_receive(struct uart16550 *uart, const u8 *data, size_t len);
