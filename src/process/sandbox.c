/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox.
 *
 * System calls: what the role's work needs is allowed by name. A call that no honest
 * code of ours makes (starting programs, becoming someone, tracing, mounting, loading
 * kernel code) ends the process at once: it can only come from an attacker. Any other
 * unlisted call fails with ENOSYS, so that a newer C library that tries a newer call
 * falls back to an older one instead of taking the mail service down.
 *
 * Files: Landlock takes away creating, changing and removing files. Reading stays: tables,
 * keys and time zones lie wherever the configuration says.
 */
#include "process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

int sandbox_become(const char *user, struct buf *why)
{
	struct passwd *pw;

	if (geteuid() != 0)
		return 0;
	errno = 0;
	pw = getpwnam(user);
	if (!pw) {
		buf_addf(why, "mail_owner: there is no user \"%s\"; create it, or set mail_owner to a user of its own", user);
		return -ENOENT;
	}
	if (pw->pw_uid == 0) {
		buf_addf(why, "mail_owner: must not be root");
		return -EPERM;
	}
	if (initgroups(user, pw->pw_gid) || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid)) {
		int err = -errno;

		buf_addf(why, "cannot become user %s: %s", user, strerror(-err));
		return err;
	}
	return 0;
}

void sandbox_raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	/* A process that may not even reach its own hard limit works with what it has. */
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- files --------------------------------------------------------------------- */

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

static uint64_t writing_rights(int abi)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
	                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
	                  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
	                  LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return rights;
}

static int allow_under(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
	int err = 0;

	if (rule.parent_fd < 0)
		return -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		err = -errno;
	close(rule.parent_fd);
	return err;
}

static int restrict_files(const struct rights *rights, const char *folder, struct buf *why)
{
	struct landlock_ruleset_attr attr = {0};
	int abi, ruleset, err = 0;

	if (rights->writes == WRITE_ANYWHERE)
		return 0;
	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return 0; /* an older kernel, or one without it: ids and seccomp remain */
	attr.handled_access_fs = writing_rights(abi);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return -errno;
	if (rights->writes != WRITE_NOWHERE)
		err = allow_under(ruleset, folder, attr.handled_access_fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE);
	if (err == -ENOENT)
		err = 0; /* what is not there cannot be written in */
	if (!err)
		err = allow_under(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE);
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0))
		err = -errno;
	close(ruleset);
	if (err)
		buf_addf(why, "Landlock for %s: %s", folder, strerror(-err));
	return err;
}

/* --- system calls -------------------------------------------------------------- */

/* clang-format off */
/* Memory, time, threads, waiting, reading, sockets that exist: everyone needs these. */
static const char *const common_calls[] = {"accept4", "access", "arch_prctl", "bind", "brk", "clock_getres", "clock_gettime",
	"clock_nanosleep", "close", "close_range", "connect", "dup", "dup2", "dup3", "epoll_create1", "epoll_ctl", "epoll_pwait",
	"epoll_pwait2", "epoll_wait", "eventfd2", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fcntl", "flock",
	"fstat", "fstatfs", "futex", "getcpu", "getcwd", "getdents64", "getegid", "geteuid", "getgid", "getgroups", "getpeername",
	"getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage",
	"getsockname", "getsockopt", "gettid", "gettimeofday", "getuid",
	"ioctl", "listen", "lseek", "lstat", "madvise", "membarrier", "mincore", "mlock", "mmap", "mprotect", "mremap", "msync",
	"munlock", "munmap", "nanosleep", "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "poll", "ppoll", "prctl",
	"pread64", "preadv", "preadv2", "prlimit64", "pselect6", "pwrite64", "pwritev", "pwritev2", "fdatasync", "fsync",
	"sync_file_range", "fallocate", "ftruncate", "read", "readlink", "readlinkat", "readv", "recvfrom", "recvmmsg", "recvmsg",
	"restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
	"rt_sigtimedwait", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", "select", "sendfile",
	"sendmmsg", "sendmsg", "sendto", "set_robust_list", "set_tid_address", "setitimer", "setsockopt", "shutdown",
	"sigaltstack", "signalfd4", "socketpair", "stat", "statfs", "statx", "sysinfo", "tgkill", "time", "timerfd_create",
	"timerfd_gettime", "timerfd_settime", "times", "umask", "uname", "wait4", "waitid", "write", "writev", "copy_file_range",
	"splice", "memfd_create"};

static const char *const file_calls[] = {"chmod", "creat", "fchmod", "fchmodat", "link", "linkat", "mkdir", "mkdirat", "rename",
	"renameat", "renameat2", "rmdir", "symlink", "symlinkat", "truncate", "unlink", "unlinkat", "utime", "utimensat", "utimes",
	"fchown", "fsetxattr", "setxattr"};

/* What only an attacker asks for. Calls that this kernel's headers do not know are passed over. */
static const char *const hostile_calls[] = {"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv",
	"process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "pivot_root",
	"chroot", "unshare", "setns", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid",
	"setfsgid", "capset", "bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module",
	"finit_module", "delete_module", "add_key", "request_key", "keyctl", "open_by_handle_at", "mknod", "mknodat", "chown",
	"lchown", "fchownat", "reboot", "swapon", "swapoff", "acct", "quotactl", "personality", "modify_ldt", "iopl", "ioperm",
	"sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex"};
/* clang-format on */

static int add_calls(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]), err;

		if (number == __NR_SCMP_ERROR || number < 0)
			continue;
		err = seccomp_rule_add(filter, action, number, 0);
		if (err && err != -EACCES && err != -EDOM)
			return err;
	}
	return 0;
}

/* Threads may be started, processes not: clone() with CLONE_THREAD only. */
static int add_thread_rule(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	                        SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

/* Sockets of this machine alone, unless the role has the network. */
static int add_socket_rule(scmp_filter_ctx filter, const struct rights *rights)
{
	if (rights->has_network)
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 0);
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_UNIX));
}

static int build_filter(scmp_filter_ctx filter, const struct rights *rights)
{
	/* Helper threads that already run get the filter too. */
	int err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (!err)
		err = add_calls(filter, SCMP_ACT_ALLOW, common_calls, COUNT_OF(common_calls));
	if (!err)
		err = add_thread_rule(filter);
	if (!err)
		err = add_socket_rule(filter, rights);
	if (!err && rights->writes != WRITE_NOWHERE)
		err = add_calls(filter, SCMP_ACT_ALLOW, file_calls, COUNT_OF(file_calls));
	if (!err)
		err = add_calls(filter, SCMP_ACT_KILL_PROCESS, hostile_calls, COUNT_OF(hostile_calls));
	return err ? err : seccomp_load(filter);
}

static int restrict_calls(const struct rights *rights, struct buf *why)
{
	scmp_filter_ctx filter;
	int err;

	if (IS_SANITIZED || rights->may_exec)
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!filter)
		return -ENOMEM;
	err = build_filter(filter, rights);
	seccomp_release(filter);
	/* Some containers allow no filter of our own; theirs is in force then. */
	if (err == -EINVAL || err == -ENOSYS || err == -EOPNOTSUPP)
		return 0;
	if (err)
		buf_addf(why, "the system-call filter: %s", strerror(-err));
	return err;
}

bool sandbox_has_filter(void)
{
	return !IS_SANITIZED;
}

int sandbox_enter(const struct rights *rights, const char *folder, struct buf *why)
{
	int err;

	/* Programs that users start from .forward may be setuid: their parent keeps that right. */
	if (rights->may_exec)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		buf_addf(why, "no_new_privs: %s", strerror(errno));
		return -errno;
	}
	err = restrict_files(rights, folder, why);
	return err ? err : restrict_calls(rights, why);
}
