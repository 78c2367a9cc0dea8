/* SPDX-License-Identifier: MIT */
/*
 * The sandbox's filter of system calls. What is not listed fails with ENOSYS, which
 * libraries know how to live with; what only somebody would try who has taken the
 * process over ends it. Each group says why it is needed while the guest runs.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "host/sandbox.h"

#define CALL(name) SCMP_SYS(name)

/* clang-format off */
static const int always[] = {
	/* Descriptors that are open: consoles, disks, sockets, pipes, event and timer descriptors. */
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev),
	CALL(preadv2), CALL(pwritev2), CALL(lseek), CALL(close), CALL(close_range), CALL(dup), CALL(dup2), CALL(dup3),
	CALL(fcntl), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(stat), CALL(lstat), CALL(fstatfs), CALL(statfs),
	CALL(ftruncate), CALL(fallocate), CALL(fsync), CALL(fdatasync), CALL(sync_file_range), CALL(flock),
	CALL(copy_file_range), CALL(sendfile), CALL(fadvise64), CALL(readahead),
	/* The loop, and libraries' loops. */
	CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait),
	CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime),
	CALL(timerfd_gettime), CALL(signalfd4), CALL(pipe2),
	/* A ring that exists works on; a new one, which could open files past this filter, cannot be made. */
	CALL(io_uring_enter),
	/* Clients of consoles, control socket and screen; sockets that exist. */
	CALL(accept), CALL(accept4), CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto), CALL(sendmsg),
	CALL(sendmmsg), CALL(shutdown), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt),
	/* A reset reads the kernel again; logs are rotated; at the end, the VM's own files are removed. Landlock says where. */
	CALL(open), CALL(openat), CALL(getdents64), CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink),
	CALL(readlinkat), CALL(unlink), CALL(unlinkat), CALL(rmdir), CALL(rename), CALL(renameat), CALL(renameat2),
	CALL(chdir), CALL(getcwd), CALL(umask),
	/* Memory: the guest's, which is dropped at a reset, the translator's code, malloc's. */
	CALL(brk), CALL(mmap), CALL(munmap), CALL(mremap), CALL(madvise), CALL(mprotect), CALL(mlock), CALL(munlock),
	CALL(membarrier), CALL(mincore),
	/* Threads: a reset makes the vCPUs' anew; locks, sleep, time. */
	CALL(futex), CALL(set_robust_list), CALL(rseq), CALL(set_tid_address), CALL(exit), CALL(exit_group),
	CALL(sched_yield), CALL(sched_getaffinity), CALL(sched_getparam), CALL(sched_getscheduler), CALL(nanosleep),
	CALL(clock_nanosleep), CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(getcpu),
	/* Signals: exceptions of translated code arrive as such. */
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigpending), CALL(rt_sigtimedwait),
	CALL(rt_sigsuspend), CALL(sigaltstack), CALL(restart_syscall), CALL(wait4), CALL(waitid),
	/* What the process may know about itself. */
	CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
	CALL(getpgrp), CALL(getpgid), CALL(uname), CALL(sysinfo), CALL(getrusage), CALL(getrlimit), CALL(times), CALL(getrandom),
};

/* A file server acts for the guest; Landlock keeps it in its folder. */
static const int for_share[] = {
	CALL(mkdirat), CALL(mknodat), CALL(linkat), CALL(symlinkat), CALL(link), CALL(fchmod), CALL(fchmodat), CALL(fchown),
	CALL(fchownat), CALL(utimensat), CALL(truncate), CALL(fgetxattr), CALL(fsetxattr), CALL(flistxattr), CALL(fremovexattr),
	CALL(getxattr), CALL(setxattr), CALL(listxattr), CALL(removexattr), CALL(lgetxattr), CALL(lsetxattr), CALL(llistxattr),
	CALL(lremovexattr), CALL(chmod), CALL(chown), CALL(lchown),
};

/* The user-mode network opens a socket for each connection of the guest's. */
static const int for_network[] = {CALL(socket), CALL(connect), CALL(bind), CALL(listen), CALL(socketpair)};

/* Streams of vsock to programs that listen on UNIX sockets. */
static const int for_unix_sockets[] = {CALL(connect), CALL(bind), CALL(listen)};

/* Of these there is no honest use here: other programs, other processes' memory, the kernel, identities, places. */
static const int deadly[] = {
	CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(pidfd_getfd),
	CALL(kcmp), CALL(bpf), CALL(perf_event_open), CALL(userfaultfd), CALL(init_module), CALL(finit_module),
	CALL(delete_module), CALL(kexec_load), CALL(kexec_file_load), CALL(reboot), CALL(swapon), CALL(swapoff),
	CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot), CALL(move_mount), CALL(open_tree), CALL(fsopen),
	CALL(fsmount), CALL(fsconfig), CALL(fspick), CALL(mount_setattr), CALL(unshare), CALL(setns), CALL(open_by_handle_at),
	CALL(setuid), CALL(setgid), CALL(setreuid), CALL(setregid), CALL(setresuid), CALL(setresgid), CALL(setgroups),
	CALL(setfsuid), CALL(setfsgid), CALL(iopl), CALL(ioperm), CALL(add_key), CALL(request_key),
	CALL(keyctl), CALL(io_uring_setup), CALL(io_uring_register), CALL(acct), CALL(quotactl), CALL(settimeofday),
	CALL(clock_settime), CALL(adjtimex), CALL(clock_adjtime), CALL(sethostname), CALL(setdomainname), CALL(personality),
	CALL(modify_ldt),
};
/* clang-format on */

/* Requests to devices: terminals and pseudo-terminals, queues' lengths, blocks to drop. Not among them: typing on the terminal. */
static const unsigned long ioctls[] = {
	TCGETS,
	TCSETS,
	TCSETSW,
	TCSETSF,
	TIOCGWINSZ,
	TIOCSWINSZ,
	TIOCGPGRP,
	TIOCGPTN,
	TIOCSPTLCK,
	FIONREAD,
	FIONBIO,
	FIOCLEX,
	BLKDISCARD,
	BLKZEROOUT,
	BLKSECDISCARD,
	BLKFLSBUF,
	BLKGETSIZE64,
	BLKSSZGET,
};

static int add(scmp_filter_ctx ctx, u32 action, const int *calls, size_t n)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < n; i++) {
		ret = seccomp_rule_add(ctx, action, calls[i], 0);
		if (ret == -EDOM || ret == -EFAULT) /* this libseccomp does not know the call: it is not allowed then */
			ret = 0;
	}
	return ret;
}

static int add_ioctls(scmp_filter_ctx ctx)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(ioctls); i++)
		ret = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1_32(SCMP_CMP_EQ, (u32)ioctls[i], 0));
	return ret;
}

/* A thread, yes; a process, no. The C library asks by clone3 first, whose flags cannot be seen, and then by clone. */
static int add_threads(scmp_filter_ctx ctx)
{
	const u64 must = CLONE_VM | CLONE_THREAD;
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, must, must));

	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME, 0));
	/* A thread that was made before gets into the sandbox by these; they only take away. */
	if (!ret)
		ret = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS, 0));
	if (!ret)
		ret = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0_32(SCMP_CMP_EQ, PR_CAP_AMBIENT, 0));
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(capget), 0);
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(capset), 0);
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, 446 /* landlock_restrict_self */, 0);
	/* Limits may be read. */
	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0));
	return ret;
}

/* To our own threads, and to helpers that must end, alone or with what they have started. */
static int add_signals(scmp_filter_ctx ctx, const struct sandbox *sandbox)
{
	u32 self = (u32)getpid();
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(tgkill), 1, SCMP_A0_32(SCMP_CMP_EQ, self, 0));

	if (!ret)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(kill), 1, SCMP_A0_32(SCMP_CMP_EQ, self, 0));
	for (unsigned i = 0; !ret && i < 2 * sandbox->nchildren; i++) {
		pid_t pid = sandbox->child[i / 2];

		ret = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, CALL(kill), 1, SCMP_A0_32(SCMP_CMP_EQ, (u32)(i % 2 ? -pid : pid), 0));
	}
	return ret;
}

static int add_sockets(scmp_filter_ctx ctx, const struct sandbox *sandbox)
{
	int ret = 0;

	if (sandbox->network)
		return add(ctx, SCMP_ACT_ALLOW, for_network, ARRAY_SIZE(for_network));
	if (sandbox->unix_sockets)
		ret = add(ctx, SCMP_ACT_ALLOW, for_unix_sockets, ARRAY_SIZE(for_unix_sockets));
	if (!ret && sandbox->unix_sockets)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, CALL(socket), 1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX, 0));
	return ret;
}

static int fill(scmp_filter_ctx ctx, const struct sandbox *sandbox)
{
	int ret = add(ctx, SCMP_ACT_ALLOW, always, ARRAY_SIZE(always));

	if (!ret)
		ret = add(ctx, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_SIZE(deadly));
	if (!ret && sandbox->share)
		ret = add(ctx, SCMP_ACT_ALLOW, for_share, ARRAY_SIZE(for_share));
	if (!ret)
		ret = add_sockets(ctx, sandbox);
	if (!ret)
		ret = add_ioctls(ctx);
	if (!ret)
		ret = add_threads(ctx);
	return ret ? ret : add_signals(ctx, sandbox);
}

int sandbox_filter(const struct sandbox *sandbox)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int ret;

	if (!ctx)
		return -ENOMEM;
	ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads */
	if (!ret)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!ret)
		ret = fill(ctx, sandbox);
	/* A binary tree: libseccomp 2.5; an older one makes a list, which is slower and as good. */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!ret)
		ret = seccomp_load(ctx);
	seccomp_release(ctx);
	return ret == -ECANCELED ? -ENOSYS : ret;
}

bool sandbox_has_seccomp(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && seccomp_api_get() >= 2;
}
