/* Makes libseccomp's program for each profile read from standard input, or loads a program into the kernel.
 *
 *   oracle names           name and number, per architecture, of each name on standard input
 *   oracle export          profiles in, programs out, each after its length in bytes
 *   oracle load FLAGS      loads the program on standard input, then makes a few calls under it
 *
 * A profile is lines: "default ACTION", "arch TOKEN" (the host's own is left out unless listed),
 * "rule ACTION NAME COUNT", each followed by COUNT lines "ARG OP A B", and "end".
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const uint32_t tokens[] = {SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM};

static void fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

static int names(void)
{
	char name[128];
	while (scanf("%127s", name) == 1)
		for (int i = 0; i < 5; i++)
			printf("%s %d %d\n", name, i, seccomp_syscall_resolve_name_arch(tokens[i], name));
	return 0;
}

static void write_program(scmp_filter_ctx ctx)
{
	int fd = memfd_create("program", 0);
	int rc = seccomp_export_bpf(ctx, fd);
	if (fd < 0 || rc < 0)
		fail("export", rc);
	uint32_t length = lseek(fd, 0, SEEK_END);
	char *bytes = malloc(length + 1);
	if (pread(fd, bytes, length, 0) != (ssize_t)length)
		fail("read back", errno);
	fwrite(&length, sizeof(length), 1, stdout);
	fwrite(bytes, 1, length, stdout);
	free(bytes);
	close(fd);
}

static void add_rule(scmp_filter_ctx ctx)
{
	uint32_t action;
	char name[128];
	unsigned count;
	struct scmp_arg_cmp args[6];
	if (scanf("%x %127s %u", &action, name, &count) != 3 || count > 6)
		fail("rule", EINVAL);
	for (unsigned i = 0; i < count; i++) {
		unsigned op;
		if (scanf("%u %u %lx %lx", &args[i].arg, &op, &args[i].datum_a, &args[i].datum_b) != 4)
			fail("argument", EINVAL);
		args[i].op = op;
	}
	int number = seccomp_syscall_resolve_name(name);
	int rc = number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(ctx, action, number, count, args);
	if (rc < 0)
		fail(name, rc);
}

static int export_all(void)
{
	char word[32];
	while (scanf("%31s", word) == 1) {
		uint32_t value;
		if (strcmp(word, "default") || scanf("%x", &value) != 1)
			fail(word, EINVAL);
		scmp_filter_ctx ctx = seccomp_init(value);
		int own = 0;
		while (scanf("%31s", word) == 1 && strcmp(word, "end")) {
			if (!strcmp(word, "arch") && scanf("%x", &value) == 1) {
				int rc = seccomp_arch_add(ctx, value);
				own |= value == seccomp_arch_native();
				if (rc < 0 && rc != -EEXIST)
					fail("arch", rc);
			} else if (!strcmp(word, "only")) {
				if (!own && seccomp_arch_remove(ctx, seccomp_arch_native()) < 0)
					fail("remove", EINVAL);
			} else if (!strcmp(word, "rule")) {
				add_rule(ctx);
			} else {
				fail(word, EINVAL);
			}
		}
		write_program(ctx);
		seccomp_release(ctx);
	}
	return 0;
}

static int load(unsigned flags)
{
	static struct sock_filter code[4096];
	struct timespec before, after;
	struct sock_fprog program = {fread(code, sizeof(code[0]), 4096, stdin), code};
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			clock_gettime(CLOCK_MONOTONIC, &before);
			if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program))
				fail("seccomp", errno);
			clock_gettime(CLOCK_MONOTONIC, &after);
			if (getppid() <= 0 || syscall(SYS_bpf, -1, 0, 0) != -1 || errno != EPERM)
				fail("bpf is not EPERM", errno);
			if (syscall(SYS_add_key, 0, 0, 0, 0, 0) != -1 || errno != ENOSYS)
				fail("add_key is not ENOSYS", errno);
			if (syscall(SYS_socket, 16, 3, 9) != -1 || errno != EINVAL)
				fail("an audit socket is not EINVAL", errno);
			if (syscall(SYS_socket, 16, 3, 0) < 0)
				fail("no netlink socket", errno);
			printf("%ld\n", (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec);
			fflush(stdout);
			_exit(0);
		}
		int status;
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "names"))
		return names();
	if (argc == 2 && !strcmp(argv[1], "export"))
		return export_all();
	if (argc == 3 && !strcmp(argv[1], "load"))
		return load(strtoul(argv[2], NULL, 0));
	return 2;
}
