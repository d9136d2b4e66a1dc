//! The default profile: what a container may call unless it is told otherwise.
//!
//! The verdicts are those of the profile that Podman, Buildah and CRI-O share (`seccomp.json` of
//! containers-common); tests compare them where that file is at hand. An unlisted call fails with ENOSYS, so
//! that programs fall back as on an older kernel. Calls that exist only on architectures without a table
//! here (s390, riscv, ppc, mips) are not listed.
//!
//! Two rules of thumb: a call that the kernel itself guards with a capability is allowed when the container
//! has the capability, and fails with EPERM, as it would without a filter, when it has not; a call that only
//! widens the kernel's attack surface stays out.

use super::*;
use crate::rule::{EPERM, Op};
use LinuxSeccompAction::{ScmpActAllow, ScmpActErrno};

pub(super) static PROFILE: Profile = Profile {
    default_action: ScmpActErrno,
    default_errno: Some(38), // ENOSYS
    architectures: Architectures::Host,
    flags: None,
    listener_path: None,
    listener_metadata: None,
    groups: Cow::Borrowed(GROUPS),
};

const EINVAL: u32 = 22;
const AF_NETLINK: u64 = 16;
const NETLINK_AUDIT: u64 = 9;
const ALWAYS: Gate = Gate::ALWAYS;

/// Names, looked up when this is compiled: one that is not in the table does not build.
macro_rules! calls {
    ($($name:ident)*) => {
        const { &[$(match Syscall::from_name(stringify!($name)) {
            Some(call) => call,
            None => panic!(concat!("no system call ", stringify!($name))),
        }),*] }
    };
}

const fn with(caps: Caps) -> Gate {
    Gate { with: caps, ..ALWAYS }
}

const fn without(caps: Caps) -> Gate {
    Gate { without: caps, ..ALWAYS }
}

const fn on(archs: &[Arch]) -> Gate {
    Gate { on: Some(ArchSet::of(archs)), ..ALWAYS }
}

const fn allow(gate: Gate, calls: &'static [Syscall]) -> Group {
    Group { calls: Calls::Known(calls), action: ScmpActAllow, errno: None, conds: Cow::Borrowed(&[]), gate }
}

const fn deny(gate: Gate, calls: &'static [Syscall]) -> Group {
    let (calls, conds) = (Calls::Known(calls), Cow::Borrowed(&[] as &[Cond]));
    Group { calls, action: ScmpActErrno, errno: Some(EPERM), conds, gate }
}

const fn personality(conds: &'static [Cond]) -> Group {
    let (calls, conds) = (Calls::Known(calls! { personality }), Cow::Borrowed(conds));
    Group { calls, action: ScmpActAllow, errno: None, conds, gate: ALWAYS }
}

const fn socket(gate: Gate, action: LinuxSeccompAction, errno: Option<u32>, conds: &'static [Cond]) -> Group {
    let (calls, conds) = (Calls::Known(calls! { socket }), Cow::Borrowed(conds));
    Group { calls, action, errno, conds, gate }
}

static GROUPS: &[Group] = &[
    // Obsolete calls, calls of no use to a container or that open more of the kernel than they are worth, and
    // recent ones not yet judged: EPERM, since programs that meet them expect to be refused.
    deny(
        ALWAYS,
        calls! {
            bdflush cachestat futex_requeue futex_wait futex_waitv futex_wake io_pgetevents
            io_pgetevents_time64 kexec_file_load kexec_load map_shadow_stack migrate_pages move_pages
            nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname pciconfig_iobase pciconfig_read
            pciconfig_write sgetmask ssetmask swapoff swapon sysfs uselib userfaultfd ustat vm86 vm86old
            vmsplice
        },
    ),
    // Files: open, name, read, write, and what is known about them.
    allow(
        ALWAYS,
        calls! {
            _llseek access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3
            faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown
            fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64
            fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link
            linkat lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open
            openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink
            readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs
            statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask
            unlink unlinkat utime utimensat utimensat_time64 utimes write writev
        },
    ),
    // Extended attributes.
    allow(
        ALWAYS,
        calls! {
            fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr
            lremovexattr lsetxattr removexattr setxattr
        },
    ),
    // Mounts and namespaces. The kernel asks for CAP_SYS_ADMIN in the namespace's owner, which a program
    // may have in a user namespace of its own (a container inside the container).
    allow(
        ALWAYS,
        calls! {
            fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root setns
            umount umount2 unshare
        },
    ),
    // Waiting for descriptors and file events.
    allow(
        ALWAYS,
        calls! {
            _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
            epoll_wait epoll_wait_old eventfd eventfd2 fanotify_init fanotify_mark inotify_add_watch
            inotify_init inotify_init1 inotify_rm_watch poll ppoll ppoll_time64 pselect6 pselect6_time64
            select
        },
    ),
    // Kernel asynchronous I/O. io_uring is not here: it does what other calls do past any filter.
    allow(
        ALWAYS,
        calls! {
            io_cancel io_destroy io_getevents io_setup io_submit
        },
    ),
    // Pipes and System V and POSIX interprocess communication.
    allow(
        ALWAYS,
        calls! {
            ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
            mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop
            semtimedop semtimedop_time64 shmat shmctl shmdt shmget
        },
    ),
    // Sockets; `socket` itself is below.
    allow(
        ALWAYS,
        calls! {
            accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
            recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
        },
    ),
    // Memory.
    allow(
        ALWAYS,
        calls! {
            brk get_mempolicy madvise mbind membarrier memfd_create memfd_secret mincore mlock mlock2
            mlockall mmap mmap2 mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free
            pkey_mprotect remap_file_pages set_mempolicy
        },
    ),
    // Processes and threads. Tracing and reading another's memory are held to the kernel's own check, which
    // is safe since Linux 4.8; `reboot` inside a pid namespace only ends that namespace.
    allow(
        ALWAYS,
        calls! {
            clone clone3 execve execveat exit exit_group fork futex futex_time64 get_robust_list
            get_thread_area getcpu getpgid getpgrp getpid getppid getrusage getsid gettid pidfd_getfd
            pidfd_open prctl process_mrelease process_vm_readv process_vm_writev ptrace reboot rseq
            set_robust_list set_thread_area set_tid_address setpgid setsid times uname vfork wait4 waitid
            waitpid
        },
    ),
    // Scheduling and limits.
    allow(
        ALWAYS,
        calls! {
            getpriority getrlimit ioprio_get ioprio_set prlimit64 sched_get_priority_max
            sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
            sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
            sched_setparam sched_setscheduler sched_yield setpriority setrlimit sysinfo syslog ugetrlimit
        },
    ),
    // Signals.
    allow(
        ALWAYS,
        calls! {
            kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask
            rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
            rt_tgsigqueueinfo sigaltstack signal signalfd signalfd4 sigprocmask sigreturn tgkill tkill
        },
    ),
    // Clocks and timers; setting a clock is below, except by the calls that also read it.
    allow(
        ALWAYS,
        calls! {
            adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
            clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep
            setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
            timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
            timerfd_settime64
        },
    ),
    // Users, groups and capabilities.
    allow(
        ALWAYS,
        calls! {
            capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
            getresgid getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid
            setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32
            setresuid setresuid32 setreuid setreuid32 setuid setuid32
        },
    ),
    // Keys, random numbers, and a program's own confinement.
    allow(
        ALWAYS,
        calls! {
            getrandom keyctl landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp
        },
    ),
    // Execution domains: only to ask (0xffffffff), and Linux or 32-bit Linux, as version 2.6 or not
    // (PER_LINUX32 is 8, UNAME26 0x20000).
    personality(&[Cond::new(0, Op::Eq, 0)]),
    personality(&[Cond::new(0, Op::Eq, 0x8)]),
    personality(&[Cond::new(0, Op::Eq, 0x2_0000)]),
    personality(&[Cond::new(0, Op::Eq, 0x2_0008)]),
    personality(&[Cond::new(0, Op::Eq, 0xffff_ffff)]),
    // What Arm and x86 need for threads and caches.
    allow(
        on(&[Arch::Arm, Arch::Aarch64]),
        calls! {
            arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2
        },
    ),
    allow(
        on(&[Arch::X86_64, Arch::X32]),
        calls! {
            arch_prctl
        },
    ),
    allow(
        on(&[Arch::X86_64, Arch::X32, Arch::X86]),
        calls! {
            modify_ldt
        },
    ),
    // Opens files by handle, past every directory (CVE-2014-9357 was this): only with the capability that reads
    // any directory anyway.
    allow(
        with(Caps::DAC_READ_SEARCH),
        calls! {
            open_by_handle_at
        },
    ),
    deny(
        without(Caps::DAC_READ_SEARCH),
        calls! {
            open_by_handle_at
        },
    ),
    // Administration of the host. Without the capability `bpf` and `perf_event_open` have rules of their own,
    // below.
    allow(
        with(Caps::SYS_ADMIN),
        calls! {
            bpf lookup_dcookie quotactl quotactl_fd setdomainname sethostname
        },
    ),
    deny(
        without(Caps::SYS_ADMIN),
        calls! {
            lookup_dcookie perf_event_open quotactl quotactl_fd setdomainname sethostname
        },
    ),
    // Changes what paths mean.
    allow(
        with(Caps::SYS_CHROOT),
        calls! {
            chroot
        },
    ),
    deny(
        without(Caps::SYS_CHROOT),
        calls! {
            chroot
        },
    ),
    // Code in the kernel.
    allow(
        with(Caps::SYS_MODULE),
        calls! {
            delete_module finit_module init_module query_module
        },
    ),
    deny(
        without(Caps::SYS_MODULE),
        calls! {
            delete_module finit_module init_module query_module
        },
    ),
    // Accounting of processes, to a file of the caller's choice.
    allow(
        with(Caps::SYS_PACCT),
        calls! {
            acct
        },
    ),
    deny(
        without(Caps::SYS_PACCT),
        calls! {
            acct
        },
    ),
    // Looks into, and acts on, other processes.
    allow(
        with(Caps::SYS_PTRACE),
        calls! {
            kcmp process_madvise
        },
    ),
    deny(
        without(Caps::SYS_PTRACE),
        calls! {
            kcmp process_madvise
        },
    ),
    // Hardware ports.
    allow(
        with(Caps::SYS_RAWIO),
        calls! {
            ioperm iopl
        },
    ),
    deny(
        without(Caps::SYS_RAWIO),
        calls! {
            ioperm iopl
        },
    ),
    // The clock of the host: there is no namespace for it.
    allow(
        with(Caps::SYS_TIME),
        calls! {
            clock_settime clock_settime64 settimeofday stime
        },
    ),
    deny(
        without(Caps::SYS_TIME),
        calls! {
            clock_settime clock_settime64 settimeofday stime
        },
    ),
    // Hangs up the terminal.
    allow(
        with(Caps::SYS_TTY_CONFIG),
        calls! {
            vhangup
        },
    ),
    deny(
        without(Caps::SYS_TTY_CONFIG),
        calls! {
            vhangup
        },
    ),
    // A netlink socket to the audit system (16, 9): EINVAL, as on a kernel without it, is what PAM and others
    // take as "no audit" and go on; EPERM is an error to them.
    socket(with(Caps::AUDIT_WRITE), ScmpActAllow, None, &[]),
    socket(
        without(Caps::AUDIT_WRITE),
        ScmpActErrno,
        Some(EINVAL),
        &[Cond::new(0, Op::Eq, AF_NETLINK), Cond::new(2, Op::Eq, NETLINK_AUDIT)],
    ),
    socket(without(Caps::AUDIT_WRITE), ScmpActAllow, None, &[Cond::new(0, Op::Ne, AF_NETLINK)]),
    socket(without(Caps::AUDIT_WRITE), ScmpActAllow, None, &[Cond::new(2, Op::Ne, NETLINK_AUDIT)]),
    // Programs in the kernel, and its event counters: since Linux 5.8 each has a capability of its own.
    allow(
        with(Caps::BPF),
        calls! {
            bpf
        },
    ),
    deny(
        without(Caps::SYS_ADMIN.union(Caps::BPF)),
        calls! {
            bpf perf_event_open
        },
    ),
    allow(
        with(Caps::PERFMON),
        calls! {
            perf_event_open
        },
    ),
];
