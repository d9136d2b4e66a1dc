// The floor: the kernel work of running one process in a container, and nothing besides.
//
//   floor [-n COUNT] [-c CGROUP] [-p] [-S] -r ROOTFS [-- PROGRAM ARGUMENT…]
//
//   -r  root file system, with empty proc, dev, sys and tmp
//   -c  make a control group of this name in every hierarchy for each run, join it, remove it
//   -p  the parent moves the child into its groups. Otherwise the child joins those of version 1 itself, one task at a
//       time, and is cloned into the one of version 2: neither has to wait for other tasks of the machine
//   -S  no seccomp filter
//   -n  number of runs, one after the other
//
// gcc -O2 -static floor.c -o floor
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint64_t NAMESPACES =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
enum { SAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC };

static const char *root, *group;
static int parent_moves, unfiltered;
static char **program;

// Where hierarchies are mounted; on a machine with the unified one alone, that is the mount point itself.
static const char *hierarchies[] = {"cpu",   "cpuacct", "cpuset", "memory",  "devices", "freezer",
                                    "blkio", "pids",    "systemd", "unified", NULL};
static const char *only_unified[] = {".", NULL};

static void die(const char *what) {
    dprintf(2, "floor: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static const char **mounted(void) {
    return access("/sys/fs/cgroup/cgroup.procs", F_OK) ? hierarchies : only_unified;
}

static void copy_file(const char *from, const char *to) {
    char text[256];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    close(fd);
    fd = open(to, O_WRONLY | O_CLOEXEC);
    if (n > 0 && write(fd, text, n) < 0) die(to);
    close(fd);
}

// Makes the groups. Returns descriptors of the lists of members of those to be joined, and in `into` the directory of
// the group of version 2 when the child is to be cloned into it.
static int make_groups(int *fds, int *into) {
    char path[4096], file[4200];
    int n = 0;
    for (const char **h = mounted(); *h; h++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", *h, group);
        if (mkdir(path, 0755) && errno != EEXIST) continue;
        if (!strcmp(*h, "cpuset")) {
            snprintf(file, sizeof file, "%s/cpuset.cpus", path);
            copy_file("/sys/fs/cgroup/cpuset/cpuset.cpus", file);
            snprintf(file, sizeof file, "%s/cpuset.mems", path);
            copy_file("/sys/fs/cgroup/cpuset/cpuset.mems", file);
        }
        int unified = !strcmp(*h, "unified") || !strcmp(*h, ".");
        if (unified && !parent_moves) {
            *into = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
            continue;
        }
        snprintf(file, sizeof file, "%s/%s", path, parent_moves ? "cgroup.procs" : "tasks");
        fds[n] = open(file, O_WRONLY | O_CLOEXEC);
        if (fds[n] >= 0) n++;
    }
    return n;
}

static void remove_groups(void) {
    char path[4096];
    for (const char **h = mounted(); *h; h++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", *h, group);
        rmdir(path);
    }
}

static void mounts(void) {
    if (mount("proc", "proc", "proc", SAFE, NULL)) die("proc");
    if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k")) die("dev");
    mkdir("dev/pts", 0755);
    mkdir("dev/shm", 0755);
    mkdir("dev/mqueue", 0755);
    if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")) die("pts");
    if (mount("shm", "dev/shm", "tmpfs", SAFE, "mode=1777,size=65536k")) die("shm");
    if (mount("mqueue", "dev/mqueue", "mqueue", SAFE, NULL)) die("mqueue");
    if (mount("sysfs", "sys", "sysfs", SAFE | MS_RDONLY, NULL)) die("sysfs");
    static const struct { const char *name; int major, minor; } devices[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5},    {"dev/full", 1, 7},
        {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++)
        mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor));
    (void)!symlink("/proc/self/fd", "dev/fd");
    (void)!symlink("pts/ptmx", "dev/ptmx");
    static const char *masked[] = {"proc/kcore", "proc/keys", "proc/timer_list", NULL};
    for (const char **m = masked; *m; m++) mount("dev/null", *m, NULL, MS_BIND, NULL);
    static const char *read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", NULL};
    for (const char **r = read_only; *r; r++)
        if (!mount(*r, *r, NULL, MS_BIND | MS_REC, NULL)) mount(NULL, *r, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
}

// About 400 instructions, none of which refuses anything.
static void filter(void) {
    static struct sock_filter f[420];
    int n = 0;
    f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    for (int i = 0; i < 200; i++) {
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000 + i, 0, 1);
        f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog p = {n, f};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p)) die("seccomp");
}

static void child(const int *fds, int n, int go) {
    char x;
    if (parent_moves) (void)!read(go, &x, 1);
    else
        for (int i = 0; i < n; i++)
            if (write(fds[i], "0", 1) < 0) die("join a control group");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("private");
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL)) die("bind");
    if (chdir(root)) die("chdir");
    mounts();
    if (syscall(SYS_pivot_root, ".", ".")) die("pivot_root");
    if (umount2(".", MNT_DETACH)) die("umount");
    if (chdir("/")) die("chdir");
    if (sethostname("floor", 5)) die("sethostname");
    if (!unfiltered) filter();
    execv(program[0], program);
    die("exec");
}

static int one(void) {
    int fds[16], n = 0, go[2] = {-1, -1}, into = -1, status;
    if (group) n = make_groups(fds, &into);
    if (parent_moves && pipe2(go, O_CLOEXEC)) die("pipe");
    struct clone_args how = {.flags = NAMESPACES, .exit_signal = SIGCHLD};
    if (into >= 0) {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = (uint64_t)into;
    }
    pid_t pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid < 0) die("clone");
    if (!pid) {
        close(go[1]);
        child(fds, n, go[0]);
    }
    if (parent_moves) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", pid);
        for (int i = 0; i < n; i++) (void)!write(fds[i], text, length);
        close(go[0]);
        close(go[1]);
    }
    for (int i = 0; i < n; i++) close(fds[i]);
    if (into >= 0) close(into);
    waitpid(pid, &status, 0);
    if (group) remove_groups();
    return status;
}

int main(int count, char **arguments) {
    static char *standard[] = {"/bin/busybox", "true", NULL};
    int option, n = 1, failed = 0;
    while ((option = getopt(count, arguments, "+n:r:c:pS")) > 0) switch (option) {
        case 'n': n = atoi(optarg); break;
        case 'r': root = optarg; break;
        case 'c': group = optarg; break;
        case 'p': parent_moves = 1; break;
        case 'S': unfiltered = 1; break;
        default: return 2;
        }
    if (!root) return 2;
    program = arguments[optind] ? arguments + optind : standard;
    for (int i = 0; i < n; i++) failed |= one();
    return failed ? 1 : 0;
}
