// An agent for SCMP_ACT_NOTIFY: agent SOCKET STATE-FILE. Takes one listener, writes what came with it to a file, and lets
// every call through but mkdir(2), which fails with EXDEV.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    (void)argc;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(socket_, (struct sockaddr *)&address, sizeof address) || listen(socket_, 1)) return 1;
    alarm(60);
    int connection = accept(socket_, NULL, NULL);
    char text[65536], space[CMSG_SPACE(sizeof(int))];
    struct iovec data = {text, sizeof text};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    ssize_t length = recvmsg(connection, &message, 0);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (length <= 0 || !header) return 2;
    int listener;
    memcpy(&listener, CMSG_DATA(header), sizeof listener);
    int file = open(argv[2], O_CREAT | O_WRONLY, 0600);
    if (write(file, text, length) != length) return 3;
    close(file);
    for (;;) {
        struct pollfd watched = {listener, POLLIN, 0};
        if (poll(&watched, 1, -1) < 0 || !(watched.revents & POLLIN)) return 0;
        struct seccomp_notif question = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &question)) continue;
        struct seccomp_notif_resp answer = {.id = question.id};
        if (question.data.nr == SYS_mkdirat
#ifdef SYS_mkdir
            || question.data.nr == SYS_mkdir
#endif
        )
            answer.error = -EXDEV;
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}
