/* SPDX-License-Identifier: MIT */
/*
 * The translate engine's vCPU: the live state that generated code works on.
 *
 * Everything lives in one arena below 2 GiB, so that generated code reaches
 * state by RIP-relative addresses and tables by absolute ones:
 *
 *	struct cpu | sites | exits | fragments | sysinsns | code cache
 *
 * While generated code runs, the guest's registers are the host's, but for
 * RSP, which is in the host's R15 (the host's RSP is the return-prediction
 * stack), and R10, R11 and R15, which stay in s.gpr (so that the host's R10
 * and R11 are scratch). Vector and FPU state is the host's own.
 */
#pragma once

#include <pthread.h>

#include "engine/translate/insn.h"
#include "engine/translate/stats.h"
#include "x86/cpu.h"

struct vm;
struct vcpu;
struct fragment;

/* Host registers with a fixed use in generated code. */
enum { S0 = R10, S1 = R11, HOST_GSP = R15 };
#define HOMED_MASK (1u << R10 | 1u << R11 | 1u << R15)

/* ---- soft TLB ---- */
#define TLB_BITS 13
#define TLB_SIZE (1u << TLB_BITS)
#define TAG_NONE 1ll /* never equal to a page address */

/*
 * An empty site: only a non-canonical address can match the tag, and then the
 * host address is non-canonical too, so the host's #GP becomes the guest's.
 */
#define SITE_NONE ((i64)(1ull << 63))
#define SITE_NO_HOST (1ull << 62)

enum tlb_mode { TLB_USER, TLB_KERNEL, TLB_KERNEL_AC, TLB_MODES };

struct tlb_entry {
	i64 rtag, wtag; /* page address, or TAG_NONE */
	u64 addend; /* host address minus guest address */
	u32 gen; /* valid when equal to cpu->gen, or to GEN_GLOBAL */
	u32 shift; /* of the guest's page */
};

#define GEN_GLOBAL 0u

/*
 * Sites that thrash look here instead: only translations of the current
 * address space, one table for loads and one for stores of each mode, so that
 * one comparison suffices. An empty entry is as an empty site.
 */
#define L0_BITS 13
#define L0_SIZE (1u << L0_BITS)
#define L0_LOG 512

struct l0_entry {
	i64 tag;
	u64 addend; /* host minus guest */
	u64 host; /* host address of the page */
	u64 pad;
};

/*
 * The page that one memory-access site hit last. A constant-address site uses
 * tag 0 for valid. 32 bytes: generated code indexes it.
 */
struct site {
	i64 tag;
	u64 addend; /* host minus guest */
	u64 host; /* host address of the page */
	u16 size; /* of the access, bytes */
	u8 flags; /* SITE_* */
	u8 insn_len; /* 0: the check of a group, which never faults */
	u32 misses;
};

_Static_assert(sizeof(struct site) == 32 && sizeof(struct l0_entry) == 32, "generated code shifts by 5");

/*
 * The range of guest addresses that a gather found contiguous in the host, as
 * its inline check wants it (gather.c). It may span pages, so any flush empties
 * all of them; loads only.
 */
struct window {
	i64 low; /* start, biased: see window_set */
	u64 addend; /* host minus guest */
	i32 patience; /* times that the lanes are looked up one by one before C looks again */
	u32 hit; /* it has served since then */
	u32 scattered; /* it does not serve: go by lanes at once */
	u32 renewals;
	bool live; /* in cpu->live_windows */
	_Alignas(32) u64 limit[4]; /* the highest index from there on, biased, in each lane */
};

/* What a gather's or scatter's encoding says. */
struct gather_form {
	bool evex, scatter;
	u8 reg, index, mask; /* mask: a vector register, or k */
	u8 lane, index_size; /* bytes */
	u8 lanes;
};

#define MASK_VECTOR 0x80
#define MASK_FOLDED 0x20 /* broadcast: each memory lane goes to several; bits 4:3: 2, 4, 8, 16 or more lanes in all */
#define MASK_PACKED 0x40 /* expand, compress: the active lanes lie together */

enum {
	SITE_WRITE = 1,
	SITE_CONST = 2, /* tag is 0 when valid, and the address never changes */
	SITE_READ = 4, /* the bounce buffer must hold the old content */
	SITE_LOGGED = 8, /* in cpu->log */
	SITE_MASKED = 16, /* AVX or AVX-512 masked: the slow path looks at the mask */
	SITE_LOGGED_GLOBAL = 32,
	SITE_STACK = 64, /* implicit stack access: the instruction has more to do after it */
	SITE_SS = 128, /* through SS: #SS for what is #GP elsewhere */
};

/* What the slow path must know of a site; parallel to the sites. */
struct site_meta {
	u32 page; /* of the instruction: index of its codepage, and offset */
	u16 off;
	u8 lane; /* masked: bytes of a lane */
	bool plain; /* looks into the L0 tables */
	u8 mask_reg; /* masked: k register, or MASK_VECTOR + vector register */
};

/* Refills after which a site is taken for one that thrashes. */
#define SITE_MISS_LIMIT 128

/* ---- control flow ---- */
#define IBL_SIZE 65536u /* indexed by the low 16 bits of the target */

/* One table for each mode whose code must not run in another: see ibl_index. */
enum { IBL_USER, IBL_KERNEL, IBL_KERNEL_AC, IBL_USER32, IBL_KERNEL32, IBL_TABLES };

struct ibl {
	u64 tag[IBL_SIZE]; /* guest RIP; an empty one has other low bits */
	u64 host[IBL_SIZE]; /* lazy entry of its fragment */
	u32 frag[IBL_SIZE];
	u16 log[2][IBL_SIZE]; /* entries in use; 1: on global pages */
	u32 nlog[2];
};

enum exit_kind {
	EXIT_JUMP, /* a patched rel32 */
	EXIT_SLOT, /* an indirect jump or call through exit->slot (crosses a page) */
};

/* A way out of a fragment to a known guest address. */
struct exit {
	i64 rel; /* target, from the virtual base of the page that this is on */
	u64 slot; /* EXIT_SLOT: host address to go to */
	u32 stub; /* host address of the unlinked way */
	u32 patch; /* EXIT_JUMP: host address of the rel32 */
	u32 from; /* fragment index */
	u32 next; /* next exit linked to the same fragment, 0 ends */
	u32 to; /* fragment index, 0: unlinked */
	u32 listed; /* fragment whose `in` list this is on */
	u8 kind;
	bool lazy; /* flags are in cpu->flags, not in the host's */
	bool single; /* goes on in MODE_SINGLE */
	u8 turned; /* MODE_* that differ where it leads */
	u8 logged; /* LINK_*: in which logs */
};

enum { LINK_LOCAL = 1, LINK_GLOBAL = 2 };

/* Why generated code came back to dispatch. */
enum leave {
	LEAVE_EXIT, /* by cpu->exit: unlinked */
	LEAVE_INDIRECT, /* s.rip is set: IBL miss */
	LEAVE_HELPER, /* s.rip is set by a helper */
	LEAVE_FAULT, /* cpu->fault is to be delivered at s.rip */
	LEAVE_POLL, /* by cpu->exit, events pending */
	LEAVE_HELPER_EVENT, /* as LEAVE_HELPER, behind an event: no single-step trap */
};

/* Mode bits that translated code depends on. */
enum {
	MODE_USER = 1, /* CPL 3 */
	MODE_AC = 2, /* supervisor with EFLAGS.AC and CR4.SMAP */
	MODE_CODE32 = 4, /* 32-bit code segment */
	MODE_NM = 8, /* CR0.TS or EM: FPU instructions raise #NM */
	MODE_STEP = 16, /* one instruction a fragment, then back to dispatch */
	MODE_BASES = 32, /* CODE32 and a data segment has a base or a limit */
	MODE_SINGLE = 128, /* of a fragment only: no groups, see group.c */
	MODE_CHECK = 64, /* C code looks at each access: segments, alignment, data breakpoints */
};

#define BRANCH_CALL 0x10000u /* in branch_place, beside the instruction's offset from the block's start */

struct codepage;

struct fragment {
	gpa_t gpa; /* of the first byte */
	gpa_t gpa2; /* of the second page when an instruction crosses, else 0 */
	u32 page; /* index of the codepage of gpa */
	u32 host, host_end; /* host addresses */
	u32 cold, cold_end; /* out-of-line parts */
	u32 lazy; /* entry with flags in cpu->flags */
	u32 hash_next, page_next, page2_next; /* fragment indexes, 0 ends */
	u32 in; /* exits linked here */
	u32 exit0, nexits; /* own exits */
	u32 map, nmap; /* host pc to guest pc: in cpu->pcmap */
	u16 len; /* guest bytes */
	u16 last; /* offset of the last instruction */
	u16 look_lo, look_hi; /* page offsets looked at beyond the block for flag liveness */
	u8 mode;
	bool dead;
	bool global; /* on a global page */
};

/* One piece of host code and the instruction it stands for. */
struct pcmap {
	u16 host; /* offset in the fragment */
	u16 guest; /* offset from the first instruction; PCMAP_LAZY: flags are in cpu->flags */
};
#define PCMAP_LAZY 0x8000
#define PCMAP_COLD 0x4000 /* host is an offset in the cold part */
#define PCMAP_SS 0x2000 /* a #GP can only be a non-canonical address through SS */
#define PCMAP_OFFSET 0x1fff

/*
 * A physical page that holds translated code. The code is independent of the
 * virtual address: where it needs its own, it adds to vbase, which follows the
 * page's current mapping. Fixed pages (global ones) have it built in.
 */
struct codepage {
	u64 gfn;
	u64 vbase; /* virtual page address */
	struct codepage *next; /* hash chain */
	u32 frags; /* by page_next / page2_next */
	u32 epoch; /* cpu->virt_epoch when it was last entered from dispatch */
	u32 flushes; /* cpu->flushes then */
	bool fixed;
	bool global; /* has been entered by a global mapping: ways may have survived flushes */
	u32 stores, patience; /* stores beside the code, and how many of them it survives */
	u8 covered[512]; /* a bit per byte that a fragment was made from */
	u8 plain[512]; /* a bit per instruction whose sites thrash */
};

/* Where the guest's vector and FPU state is. */
enum fpu_state {
	FPU_STORED, /* all of it in cpu->xsave */
	FPU_LIVE, /* in the host's registers */
	FPU_ASIDE, /* the vector registers in cpu->aside, the others in the host's registers */
};


#define PAGE_CODE 1 /* a page's flags: stores must be seen */
#define PAGE_EPOCH_SHIFT 1 /* the rest: cpu->write_epoch when last put into a write tag */
#define WRITE_EPOCHS 127

/* ---- RAM ---- */
#define RAM_RANGES 32
#define CODE_MARKS (1u << 20) /* a power of two */
#define WRITTEN_MAX 64

/* What the memory space backs directly, in whole pages; what does not fit goes the devices' way. */
struct ram_map {
	struct ram_range {
		gpa_t base, end;
		u8 *host;
		u64 flags; /* index of its first page's flags */
		bool writable;
	} range[RAM_RANGES];
	unsigned n;
	u8 *flags; /* PAGE_CODE and an epoch for each page; the first belongs to none */
	u64 nflags;
};

/* Where devices have filled memory that holds translated code, since the vCPU looked last. */
struct written {
	pthread_mutex_t lock;
	struct written_range {
		u64 host, len;
	} range[WRITTEN_MAX];
	unsigned n; /* above WRITTEN_MAX: too many to note */
};

/* What others want the vCPU to do before it enters any code; `poll` is set with them. */
enum { PENDING_WRITTEN = 1, PENDING_MAP = 2 };

#define BOUNCE_SIZE 1024

struct cpu;
/* A helper for one instruction: 0 goes on with the next, else back to dispatch. */
typedef int (*sysinsn_fn)(struct cpu *cpu, const struct sysinsn *in);

struct sysinsn {
	sysinsn_fn fn;
	u64 rip; /* as of the page's vbase_seen */
	u64 vbase_seen;
	u32 page;
	bool rip_rel; /* disp moves with the page too */
	u8 len, opsize, addrsize, mode; /* sizes in bytes; mode: MODE_* */
	u8 reg, rm; /* ModRM fields with extensions, as register numbers */
	bool mem; /* rm is memory */
	u8 rep; /* 0, 0xf3 or 0xf2 */
	i8 base, index;
	u8 scale, seg; /* seg: SEG_* of the memory operand */
	i64 disp; /* RIP-relative already resolved */
	i64 imm, imm2; /* a gather: its window, -1 for none */
	u16 mnemonic;
	u8 op; /* the opcode's last byte, for families */
	bool rex;
	bool ends; /* never goes on in the block */
	u8 bytes[16];
};

struct cpu {
	struct x86_cpu x; /* first: x.s.gpr at offset 0 */

	/* Hot fields of generated code. */
	_Alignas(64) u16 flags; /* lazy flags: AL = OF, AH = LAHF's byte */
	u16 pad0;
	_Atomic u32 poll; /* nonzero: leave at the next poll point */
	_Atomic u32 pending; /* PENDING_* */
	u32 exit; /* index, for LEAVE_EXIT and LEAVE_POLL */
	u64 tmp0, tmp1, tmp2, tmp3; /* spills within one instruction */
	u64 rt0, rt1, rt2; /* the common routines' own */
	u64 loop_budget, loop_end, loop_end_all; /* see loop.c */
	u64 group_origin[32]; /* host addresses that a block's groups count from */
	u64 ras_empty; /* the current prediction stack when it is empty */
	u64 ras_lookup; /* fn_ibl of the current mode */
	struct tlb_entry *tlb; /* of the current mode */
	u32 gen; /* of the current address space */
	u32 leave; /* enum leave */
	u64 ras_sp; /* return-prediction stack while C runs */
	u64 c_sp; /* host stack while generated code runs */
	u64 slow_s1; /* addend that slow_access returns for the bounce buffer */
	u32 nlog, nlog_global;
	u32 *log, *log_global; /* sites that cache a page since the last flush */

	/* The rest. */
	u32 mode; /* MODE_* */
	u8 fpu; /* enum fpu_state */
	u32 vectors, aside_use; /* components besides XMM, as in XCR0: the host's, and those that are put aside */
	bool aside_works, xinuse; /* fpu.c can; XGETBV tells what is in use */
	u32 aside_mxcsr;
	bool triple_fault;
	u32 flushes; /* counts the times that all local sites were emptied */
	u32 virt_epoch; /* counts the times that ways between pages became void */
	u8 write_epoch; /* 1..WRITE_EPOCHS; see tlb_protect_page */
	bool killed; /* a fragment was dropped: perhaps the one that called the helper */
	bool ras_reset; /* both prediction stacks are void */
	bool step_once; /* MODE_STEP for one instruction: an interrupt shadow */
	const char *bug; /* our own fault: stop */
	bool event; /* the helper delivered an event */
	bool vector_changed; /* code must be made anew for vector_state */
	u32 branch_frag, branch_place; /* the indirect branch that left, for one to nowhere: see bad_branch */
	u32 ret_frag; /* whose near return was not predicted */
	u32 watch_hits; /* data breakpoints that the current instruction hit, as in DR6 */
	u64 vector_state; /* what decides whether vector instructions are #UD */
	u64 xcr0; /* the host's, as this engine saves it */
	u32 xoffset[64], xsize[64]; /* of state components, standard format */
	u64 xaligned; /* components that the compacted format aligns */
	u32 mxcsr_mask;
	bool signals_ready;
	void *signal_stack;
	u8 *ras; /* both prediction stacks and their guard pages */
	u64 ras_base[2]; /* kernel, user: empty stack pointers */
	u64 ras_saved_user;
	u8 ras_user; /* which stack ras_sp is on */

	u8 *bounce; /* host buffer of the slow access under way */
	u64 bounce_gva;
	u32 bounce_size;
	u64 bounce_mask; /* active bytes of a masked access */
	bool bounce_masked;
	gpa_t bounce_gpa[2]; /* of the two halves; ~0: not accessed */
	u8 *bounce_host[2]; /* where they can be accessed directly; else NULL */
	u32 bounce_split; /* bytes on the first page */

	struct tlb_entry tlbs[TLB_MODES][TLB_SIZE];
	struct l0_entry l0[TLB_MODES][2][L0_SIZE]; /* [1]: stores */
	struct l0_entry *l0_log[L0_LOG]; /* entries but for global ones in the upper half */
	u32 nl0; /* above L0_LOG: too many to log */
	u32 next_gen;
	u32 pcid_gen[4096]; /* 0: none */
	u32 scan_debt;
	bool low_global; /* a global page in the lower half has been cached */
	u8 large[4096 / 8]; /* hashed 2 MiB and 1 GiB regions with large pages filled */
	u8 code_vpn[32768 / 8]; /* hashed virtual pages, and 2 MiB and 1 GiB regions, with code */

	struct ibl ibl[IBL_TABLES];

	struct site *sites;
	struct site_meta *site_meta;
	u32 nsites, max_sites;
	struct exit *exits;
	u32 nexits, max_exits;
	struct fragment *frags;
	u32 nfrags, max_frags;
	struct sysinsn *sysinsns;
	u32 nsysinsns, max_sysinsns;
	struct pcmap *pcmap;
	u32 npcmap, max_pcmap;
	struct window *windows; /* of gathers */
	u32 nwindows, max_windows;
	u32 *live_windows;
	u32 nlive_windows;
	u32 *links, *links_global; /* exits whose slots cross pages */
	u32 nlinks, nlinks_global;
	u32 *frag_hash;
	struct codepage **pages;
	struct codepage *page_pool;
	u32 npages, max_pages;

	u8 *code, *code_end, *code_p; /* code cache */
	u8 *cold, *cold_end, *cold_p; /* its out-of-line parts */
	u8 *code_start; /* first byte after the common routines */

	struct vcpu *vcpu;
	struct vm *vm;
	struct ram_map ram;
	u8 *code_marks; /* by the host's page number: how many pages there have PAGE_CODE; see ram_written */
	struct written written;
	void *arena;
	size_t arena_size, hot_size;
	void *decoder;

	/* Common routines, host addresses. */
	u32 fn_enter, fn_exit, fn_exit_lazy, fn_poll, fn_leave_ibl, fn_ras_empty, fn_ras_barrier;
	u32 fn_ibl[IBL_TABLES];
	u32 fn_callout, fn_miss_read, fn_miss_write, fn_miss_plain, fn_finish_write, fn_fault;

	struct translate_stats stats;
	/* A gather's registers while generated code does its lanes one by one. */
	_Alignas(64) u8 gather_index[64], gather_data[64], gather_spill[64];
	_Alignas(64) u8 bounce_buf[BOUNCE_SIZE + 128];
	_Alignas(64) u8 aside[32 * 64 + 8 * 8];
	_Alignas(64) u8 xsave[8192]; /* the guest's vector state while it is not live */
	_Alignas(64) u8 xbounce[8192]; /* for XSAVE areas that are not in one piece */
};

#define SITES_MAX (1u << 21)
#define EXITS_MAX (1u << 20)
#define FRAGS_MAX (1u << 19)
#define SYSINSNS_MAX (1u << 17)
#define XCR0_ZMM 0xe0ull /* opmask and the upper parts of ZMM registers */
#define PCMAP_MAX (1u << 23)
#define WINDOWS_MAX (1u << 14)
#define ARENA_SIZE GIB(1) /* of addresses; only what is used gets memory */
#define CODE_SIZE (128u << 20)
#define COLD_SIZE (128u << 20)
#define PAGES_MAX (1u << 16)
#define FRAG_HASH_BITS 18
#define PAGES_HASH_BITS 12

/* Two prediction stacks, each above a guard. */
#define RAS_SIZE KIB(64)
#define RAS_GUARD KIB(16)
#define RAS_TOTAL (2 * (RAS_SIZE + RAS_GUARD))

/* ---- tlb.c ---- */
/* env functions for x86/, and what the generated code calls. */
extern const struct x86_env translate_env;
static inline void site_clear(struct site *s)
{
	s->tag = SITE_NONE;
	s->addend = 0;
	s->host = SITE_NO_HOST;
}
/* Slow way of a site: 0 retry, 1 use the bounce buffer, 2 a fault is recorded. */
int tlb_slow_access(struct cpu *cpu, struct site *site, gva_t gva);
/* After a bounced store: 0 goes on, 1 back to dispatch at s.rip. */
int tlb_finish_write(struct cpu *cpu, struct site *site);
/* Host address of a page for C code, or NULL: not RAM (gpa is set) or fault (returns -1). */
int tlb_page(struct cpu *cpu, gva_t gva, bool write, enum x86_priv priv, u8 **host, gpa_t *gpa);
bool tlb_direct_write(struct cpu *cpu, gva_t gva); /* may C code store there without telling? */
int guest_read(struct cpu *cpu, gva_t gva, void *buf, unsigned len, enum x86_priv priv);
int guest_write(struct cpu *cpu, gva_t gva, const void *buf, unsigned len, enum x86_priv priv);
/* Lets generated code reach the lane that C has just done; one that straddles pages stays with C. */
void tlb_note_lane(struct cpu *cpu, gva_t gva, unsigned size, bool write);
/* The widest range around gva that a gather with this lane, index and scale may use without asking. */
void window_set(struct cpu *cpu, struct window *w, gva_t gva, const struct gather_form *f, unsigned scale);
void window_clear(struct window *w);
void tlb_flush_all(struct cpu *cpu);
void l0_clear(struct cpu *cpu);
/* The page of code moves: its sites with addresses relative to it are void. */
void tlb_drop_constants(struct cpu *cpu, u32 page);
void tlb_note_code(struct cpu *cpu, u64 pc); /* a way between pages may lead there */
/* Stores to this physical page must be seen from now on. */
void tlb_protect_page(struct cpu *cpu, gpa_t gpa);
void mode_update(struct cpu *cpu);
void tlb_unprotect_page(struct cpu *cpu, gpa_t gpa);
u8 *ram_host(struct cpu *cpu, gpa_t gpa, bool write); /* start of the page that holds gpa, or NULL */
u8 *ram_map_host(const struct ram_map *ram, gpa_t gpa, bool write);
u8 *page_flag(struct cpu *cpu, gpa_t gpa);
u8 *ram_map_flag(const struct ram_map *ram, gpa_t gpa);
enum tlb_mode tlb_mode(const struct cpu *cpu, enum x86_priv priv);

/* ---- ram.c ---- */
int ram_init(struct cpu *cpu); /* 0 or -errno */
void ram_fini(struct cpu *cpu);
void ram_attend(struct cpu *cpu); /* sees to `pending`; not between a block's instructions */
void ram_written(struct vm *vm, const void *host, size_t len); /* engine_ops' */
void ram_map_changed(struct vm *vm);

/* ---- fragment.c ---- */
struct fragment *frag_lookup(struct cpu *cpu, gpa_t gpa, u8 mode);
/* The page of code at gpa, entered at the virtual page vpage: follows its mapping. */
struct codepage *codepage_enter(struct cpu *cpu, gpa_t gpa, u64 vpage, bool global);
u64 frag_pc(const struct cpu *cpu, const struct fragment *f);
u64 exit_target(const struct cpu *cpu, const struct exit *x);
u32 frag_alloc(struct cpu *cpu); /* 0: full */
void frag_publish(struct cpu *cpu, u32 index);
void frag_flush_all(struct cpu *cpu);
void frag_reset(struct cpu *cpu); /* at start, when all tables are zero */
void frag_unlink_virtual(struct cpu *cpu, bool global);
/*
 * A store to [gpa, gpa + len) of a page with code: drops the fragments made
 * from it. True if any was. A page that gets many stores and no code is data again.
 */
bool frag_invalidate(struct cpu *cpu, gpa_t gpa, unsigned len);
void frag_kill(struct cpu *cpu, u32 index);
/* The instruction at this page offset is to be translated anew. */
void frag_retranslate(struct cpu *cpu, struct codepage *p, unsigned off);
bool frag_covers(struct cpu *cpu, gpa_t gpa, unsigned len);
void exit_link(struct cpu *cpu, u32 exit, u32 frag);
struct fragment *frag_by_host(struct cpu *cpu, u64 host);
void ibl_insert(struct cpu *cpu, const struct fragment *f);
void ibl_clear(struct cpu *cpu);
/* Every predicted return is void from now on. */
static inline void ras_void(struct cpu *cpu)
{
	cpu->ras_reset = true;
}

static inline unsigned ibl_index(u32 mode)
{
	if (mode & MODE_CODE32)
		return mode & MODE_USER ? IBL_USER32 : IBL_KERNEL32;
	return mode & MODE_USER ? IBL_USER : mode & MODE_AC ? IBL_KERNEL_AC : IBL_KERNEL;
}

/* ---- translate.c ---- */
/* Makes the fragment for s.rip; 0 and a recorded fault when the fetch faults. */
u32 translate(struct cpu *cpu, u64 pc, u32 extra); /* extra: MODE_SINGLE or 0 */
void common_routines(struct cpu *cpu);

/* ---- fpu.c ---- */
void fpu_levels(struct cpu *cpu); /* at the start, when xcr0 is known */
void fpu_save(struct cpu *cpu); /* before code that may use vector registers */
void fpu_store(struct cpu *cpu); /* all of it, to cpu->xsave */
void fpu_restore(struct cpu *cpu); /* before generated code */

/* ---- dispatch.c ---- */
void ras_apply(struct cpu *cpu); /* before going back into a fragment from a helper */
void engine_bug(struct cpu *cpu, const char *what); /* records our own fault; the VM stops */
static inline u64 flags_from_lazy(u16 lazy)
{
	return (lazy >> 8 & 0xd5) | (u64)(lazy & 1) << 11;
}
static inline u16 flags_to_lazy(u64 flags)
{
	return (u16)((flags & 0xd5) << 8 | 0x200 | (flags >> 11 & 1));
}
/* Brings s.rflags up to date with, and back to, the lazy flags. */
static inline void flags_sync(struct cpu *cpu)
{
	cpu->x.s.rflags = (cpu->x.s.rflags & ~(u64)FL_ARITH) | flags_from_lazy(cpu->flags);
}
static inline void flags_unsync(struct cpu *cpu)
{
	cpu->flags = flags_to_lazy(cpu->x.s.rflags);
}
int callout(struct cpu *cpu, const struct sysinsn *in);

/* ---- sysinsn.c, string.c, xstate.c ---- */
sysinsn_fn sysinsn_lookup(unsigned mnemonic, bool *ends_block);
gva_t sysinsn_ea(struct cpu *cpu, const struct sysinsn *in); /* linear address */
int string_insn(struct cpu *cpu, const struct sysinsn *in);
int xsave_insn(struct cpu *cpu, const struct sysinsn *in);
int xrstor_insn(struct cpu *cpu, const struct sysinsn *in);
int gather_insn(struct cpu *cpu, const struct sysinsn *in);
bool gather_decode(struct gather_form *f, const u8 *bytes); /* false: #UD */
int maskmov_insn(struct cpu *cpu, const struct sysinsn *in);
u64 io_read(struct cpu *cpu, u16 port, unsigned size);
void io_write(struct cpu *cpu, u16 port, unsigned size, u64 value);
int raise_nm(struct cpu *cpu, const struct sysinsn *in); /* x87 with CR0.TS or EM */
int raise_nm_vector(struct cpu *cpu, const struct sysinsn *in); /* MMX and SSE with them */
bool vector_allowed(const struct cpu *cpu, unsigned level); /* struct insn's sse: not #UD */
void vector_state_update(struct cpu *cpu); /* CR0, CR4 or XCR0 may have changed */

/* ---- check.c ---- */
int check_access(struct cpu *cpu, const struct sysinsn *in); /* operand: imm bytes, imm2: written */
/* For helpers in MODE_CHECK: 0, or -1 with a fault recorded. offset is within the segment. */
int check_operand(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, bool write);
void check_port(struct cpu *cpu, u16 port, unsigned size); /* I/O breakpoints */
bool check_needed(const struct cpu *cpu); /* the state wants MODE_CHECK */

/* ---- signal.c ---- */
int signal_init(struct cpu *cpu); /* on the vCPU's thread */
