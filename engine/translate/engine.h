/* SPDX-License-Identifier: MIT */
/* The translate engine's own entry points, by file. */
#pragma once

#include "vm/engine.h"
#include "vm/vcpu.h"

/* dispatch.c */
enum vcpu_exit translate_run(struct vcpu *vcpu);

/* stats.c */
void translate_stats_print(struct vm *vm, FILE *out);

/* xstate.c: returns 1 if the instruction at one of the labels faulted. */
int xrstor_native(const void *area, u64 mask, u64 unused, int wide);
extern const u8 xrstor_native_64[], xrstor_native_32[], xrstor_native_fault[];
