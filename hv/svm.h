/* SPDX-License-Identifier: MIT */
/* The world switch of svm_entry.S. */
#pragma once

#include "x86/svm.h"

/* VMRUN with the general registers of gpr[] but RAX and RSP, which are the VMCB's. */
void svm_enter(u64 *gpr, hpa_t vmcb);
