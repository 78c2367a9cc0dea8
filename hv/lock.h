/* SPDX-License-Identifier: MIT */
/* A ticket lock; interrupts are always off here. */
#pragma once

#include <stdatomic.h>

#include "lib/types.h"

struct spinlock {
	_Atomic u32 next, owner;
};

static inline void lock(struct spinlock *l)
{
	u32 ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

	while (atomic_load_explicit(&l->owner, memory_order_acquire) != ticket)
		__builtin_ia32_pause();
}

static inline void unlock(struct spinlock *l)
{
	u32 owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

	atomic_store_explicit(&l->owner, owner + 1, memory_order_release);
}
