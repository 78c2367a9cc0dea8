/* SPDX-License-Identifier: MIT */
/* The extended state (x87, SSE, AVX..) of the vCPUs of a CPU: the hypervisor has none of its own. */
#pragma once

#include "hv/domain.h"

/* This CPU: allows XSAVE and all components that we can keep. */
void xstate_cpu_on(void);
/* All components, whatever the vCPU's XCR0 says: none passes from one VM to another. */
void xstate_save(struct hv_vcpu *v);
void xstate_load(const struct hv_vcpu *v);
/* May a CPU have this XCR0? */
bool xstate_xcr0_ok(u64 xcr0);
/* An image of that state which XRSTOR takes, whatever came in. */
void xstate_import(void *area, const void *image);
void xstate_reset(void *area);
