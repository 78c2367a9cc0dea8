/* SPDX-License-Identifier: MIT */
/*
 * Writes ACPI Machine Language (ACPI specification 6.4, chapter 20) into a
 * buffer. Things that contain others are opened and closed; the nesting in C
 * follows the nesting in ASL. Running out of room is noticed once, at the end.
 */
#pragma once

#include "lib/types.h"

#define AML_DEPTH 8

struct aml {
	u8 *buf;
	size_t len, cap;
	bool overflow;
	size_t open[AML_DEPTH]; /* where the lengths of open things stand */
	unsigned depth;
	size_t buffer; /* where the size of the open buffer stands */
};

void aml_init(struct aml *aml, u8 *buf, size_t cap);

/* Scope, Device, Package, Method, If; each is closed by aml_close. */
void aml_scope(struct aml *aml, const char *name);
void aml_device(struct aml *aml, const char *name);
void aml_package(struct aml *aml, u8 elements);
void aml_method(struct aml *aml, const char *name, u8 args); /* serialized */
void aml_if(struct aml *aml); /* the predicate follows, then the body */
void aml_close(struct aml *aml);
void aml_resources(struct aml *aml);
void aml_close_resources(struct aml *aml);

/* Name (NAME, ...): the object follows. */
void aml_name(struct aml *aml, const char *name);
void aml_int(struct aml *aml, u64 value);
/* A compressed EISA ID such as "PNP0A08", as an object. */
void aml_eisa_id(struct aml *aml, const char *id);

void aml_bytes(struct aml *aml, const void *data, u8 len); /* a Buffer */
/* A reference to a named object. */
void aml_ref(struct aml *aml, const char *name);

/* Operators and their like; the operands follow, the target of a computation last. */
enum aml_op {
	AML_ARG0 = 0x68,
	AML_ARG1 = 0x69,
	AML_ARG3 = 0x6b,
	AML_STORE = 0x70, /* source, target */
	AML_AND = 0x7b,
	AML_OR = 0x7d,
	AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, byte index, then aml_ref of the new name */
	AML_NOT = 0x92, /* logical */
	AML_EQUAL = 0x93,
	AML_RETURN = 0xa4,
};

void aml_op(struct aml *aml, enum aml_op op);

/* Resource descriptors, between aml_resources and aml_close_resources. */
void aml_io(struct aml *aml, u16 port, u8 len);
void aml_irq(struct aml *aml, unsigned irq);
void aml_bus_range(struct aml *aml, u16 first, u16 last);
void aml_io_range(struct aml *aml, u16 first, u16 last);
void aml_memory_range(struct aml *aml, u64 first, u64 last); /* 32- or 64-bit, as the addresses need */
