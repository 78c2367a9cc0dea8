/* SPDX-License-Identifier: MIT */
/* `mullion doctor`. */
#pragma once

/* Says which engines this machine can run. Returns the exit status: 0 when there is one. */
int doctor(void);
