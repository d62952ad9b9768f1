/*
 * The schemes that are no byte dialogue, asked as a whole by the engine: dns and ntp over real
 * packets on loopback, icmp and exec with the kernel's and the command's part played here, file with
 * a file in memory. An input is one byte that chooses what is asked, and then what comes back, in
 * packets parted by "[NEXT]"; behind "[TCP]" it comes by TCP, if the answer makes dns turn to that.
 * After the packets comes the right answer, so each check ends long before its deadline.
 *
 * Where the first byte of an id, a stamp or a token is 0 the right one is put there: else no packet
 * would be taken for an answer.
 */
#include "fuzz.h"
#include "fuzz_loop.h"

#include "../asking.h"
#include "probe/children.h"

#include <healthsvc/config.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The linker puts these in the place of the functions that the probes call. */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
ssize_t __real_sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to,
                      socklen_t to_len);
ssize_t __wrap_sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to,
                      socklen_t to_len);
ssize_t __real_recvfrom(int fd, void *bytes, size_t len, int flags, struct sockaddr *from,
                        socklen_t *from_len);
ssize_t __wrap_recvfrom(int fd, void *bytes, size_t len, int flags, struct sockaddr *from,
                        socklen_t *from_len);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
int __real_child_start(struct children *c, char *const argv[], child_ended_fn ended, void *arg,
                       struct child **ret_child);
int __wrap_child_start(struct children *c, char *const argv[], child_ended_fn ended, void *arg,
                       struct child **ret_child);

#define PACKETS_MAX 16
#define INPUT_BYTES 16384 /* fits the sockets' buffers, so that no packet is lost */
#define QUESTION_BYTES 512

/* ---- the input ---- */

struct bytes {
    const uint8_t *at;
    size_t len;
};
static struct bytes packets[PACKETS_MAX], by_tcp;
static size_t packet_count, packets_taken;
static bool playing; /* an input, so that the functions above are ours */

/* Up to the mark, which is passed; all, if there is none. */
static struct bytes take_until(struct bytes *from, const char *mark)
{
    struct bytes part = *from;
    const uint8_t *found = memmem(from->at, from->len, mark, strlen(mark));
    size_t skip = from->len;
    if (found != NULL) {
        part.len = (size_t)(found - from->at);
        skip = part.len + strlen(mark);
    }
    from->at += skip;
    from->len -= skip;
    return part;
}

static void read_input(struct bytes input)
{
    struct bytes all = take_until(&input, "[TCP]");
    by_tcp = input;
    packet_count = packets_taken = 0;
    while (all.len > 0 && packet_count < PACKETS_MAX) {
        packets[packet_count] = take_until(&all, "[NEXT]");
        packet_count++;
    }
}

/* ---- the peers of dns and ntp ---- */

static struct loop_watch dns_udp = {.fd = -1}, dns_tcp = {.fd = -1}, ntp_udp = {.fd = -1};

static void put(uint8_t *packet, size_t len, size_t at, const uint8_t *right, size_t right_len)
{
    if (at + right_len <= len && packet[at] == 0)
        memcpy(packet + at, right, right_len);
}

static size_t dns_question_end(const uint8_t *question, size_t len)
{
    size_t at = 12;
    while (at < len && question[at] != 0)
        at += (size_t)question[at] + 1;
    return at + 5 < len ? at + 5 : len;
}

static void mend_dns(uint8_t *packet, size_t len, const uint8_t *question, size_t question_len)
{
    size_t end = dns_question_end(question, question_len);
    put(packet, len, 0, question, 2);
    put(packet, len, 12, question + 12, end - 12);
}

static void mend_ntp(uint8_t *packet, size_t len, const uint8_t *question, size_t question_len)
{
    HOLDS(question_len == 48);
    put(packet, len, 24, question + 40, 8);
}

/* One record, or "no such name": either is an end. */
static size_t right_dns(uint8_t *packet, const uint8_t *question, size_t question_len)
{
    size_t end = dns_question_end(question, question_len);
    memcpy(packet, question, end);
    packet[2] = 0x81;
    packet[3] = 0x83;
    memset(packet + 6, 0, 6);
    return end;
}

static size_t right_ntp(uint8_t *packet, const uint8_t *question, size_t question_len)
{
    (void)question_len;
    memset(packet, 0, 48);
    packet[0] = 0x24;
    packet[1] = 1;
    memcpy(packet + 24, question + 40, 8);
    return 48;
}

/* The question has come: what the input has, then what is right. */
static void answer(const struct loop_watch *w, const uint8_t *question, size_t question_len,
                   const struct sockaddr_in *to)
{
    static uint8_t packet[INPUT_BYTES];
    bool dns = w == &dns_udp;
    socklen_t to_len = sizeof *to;
    for (; packets_taken < packet_count; packets_taken++) {
        struct bytes p = packets[packets_taken];
        memcpy(packet, p.at, p.len);
        (dns ? mend_dns : mend_ntp)(packet, p.len, question, question_len);
        (void)__real_sendto(w->fd, packet, p.len, 0, (const struct sockaddr *)to, to_len);
    }
    size_t len = (dns ? right_dns : right_ntp)(packet, question, question_len);
    (void)__real_sendto(w->fd, packet, len, 0, (const struct sockaddr *)to, to_len);
}

static void on_packet(struct loop_watch *w, uint32_t events)
{
    uint8_t question[QUESTION_BYTES];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t len;
    (void)events;
    while ((len = __real_recvfrom(w->fd, question, sizeof question, 0, (struct sockaddr *)&from,
                                  &from_len)) > 0)
        answer(w, question, (size_t)len, &from);
}

/* The question is on its way, or here; the answer's id is not known to who cannot wait for it, so
 * what comes by TCP is as the input has it, but for the id of the question if that is here. */
static void on_connection(struct loop_watch *w, uint32_t events)
{
    static uint8_t message[INPUT_BYTES];
    (void)events;
    for (int fd; (fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(fd)) {
        uint8_t question[QUESTION_BYTES];
        struct timeval limit = {.tv_usec = 1000};
        size_t len = by_tcp.len;
        memcpy(message, by_tcp.at, len);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        ssize_t asked = recv(fd, question, sizeof question, 0);
        if (asked > 14 && len > 2)
            mend_dns(message + 2, len - 2, question + 2, (size_t)asked - 2);
        (void)send(fd, message, len, MSG_NOSIGNAL);
    }
}

static uint16_t open_peer(struct loop_watch *w, int type, uint16_t port)
{
    checker_role_assert();
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = __real_socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    HOLDS(fd >= 0);
    if (bind(fd, (struct sockaddr *)&at, len) != 0 ||
        (type == SOCK_STREAM && listen(fd, 16) != 0)) {
        close(fd);
        return 0;
    }
    HOLDS(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    w->ready = type == SOCK_STREAM ? on_connection : on_packet;
    HOLDS(loop_watch_add(fuzz_loop(), w, fd) == 0);
    return ntohs(at.sin_port);
}

/* ---- the kernel's part of icmp ---- */

#define ECHO_BYTES 24
#define TOKEN_AT 8

static int icmp_fd = -1;
static uint8_t echo[ECHO_BYTES]; /* as sent */
static struct sockaddr_storage echo_to;
static bool echo_answered;

int __wrap_socket(int domain, int type, int protocol)
{
    if (!playing || protocol != IPPROTO_ICMP)
        return __real_socket(domain, type, protocol);
    icmp_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC); /* readable: there is something */
    return icmp_fd;
}

ssize_t __wrap_sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to,
                      socklen_t to_len)
{
    if (!playing || fd != icmp_fd)
        return __real_sendto(fd, bytes, len, flags, to, to_len);
    HOLDS(len == ECHO_BYTES && to_len <= sizeof echo_to);
    memcpy(echo, bytes, len);
    memcpy(&echo_to, to, to_len);
    echo_answered = false;
    return (ssize_t)len;
}

/* The next packet, of which the first byte says whether it is an error; false: there is no more of
 * that kind. */
static bool next_echo(bool error, uint8_t *packet, size_t *ret_len, struct bytes *ret_rest)
{
    if (packets_taken == packet_count || packets[packets_taken].len < 1 ||
        (packets[packets_taken].at[0] % 2 == 1) != error)
        return false;
    struct bytes p = packets[packets_taken++];
    *ret_len = p.len - 1 < ECHO_BYTES ? p.len - 1 : ECHO_BYTES;
    memcpy(packet, p.at + 1, *ret_len);
    put(packet, *ret_len, 6, echo + 6, ECHO_BYTES - 6);
    *ret_rest = (struct bytes){p.at + 1 + *ret_len, p.len - 1 - *ret_len};
    return true;
}

ssize_t __wrap_recvfrom(int fd, void *bytes, size_t len, int flags, struct sockaddr *from,
                        socklen_t *from_len)
{
    struct bytes rest = {NULL, 0};
    size_t got = 0;
    if (!playing || fd != icmp_fd)
        return __real_recvfrom(fd, bytes, len, flags, from, from_len);
    HOLDS(len == ECHO_BYTES && *from_len >= sizeof(struct sockaddr_in));
    if (packets_taken < packet_count && packets[packets_taken].len == 0)
        packets_taken++;
    if (next_echo(false, bytes, &got, &rest)) {
        ;
    } else if (!echo_answered) {
        echo_answered = true;
        memcpy(bytes, echo, ECHO_BYTES);
        *(uint8_t *)bytes = 0; /* ICMP_ECHOREPLY */
        got = ECHO_BYTES;
    } else {
        errno = EAGAIN;
        return -1;
    }
    *from_len = sizeof(struct sockaddr_in);
    memcpy(from, &echo_to, *from_len);
    if (rest.len >= 4)
        memcpy(&((struct sockaddr_in *)from)->sin_addr, rest.at, 4);
    return (ssize_t)got;
}

/* The error queue: the packet that was sent, and why it did not arrive. */
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct sock_extended_err why = {.ee_origin = SO_EE_ORIGIN_ICMP};
    struct bytes rest;
    size_t got;
    HOLDS(playing && fd == icmp_fd && flags == MSG_ERRQUEUE);
    HOLDS(message->msg_iovlen == 1 && message->msg_iov[0].iov_len == ECHO_BYTES);
    if (!next_echo(true, message->msg_iov[0].iov_base, &got, &rest)) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(&why, rest.at, rest.len < sizeof why ? rest.len : sizeof why);
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    HOLDS(c != NULL);
    c->cmsg_level = rest.len > 20 && rest.at[20] == 1 ? SOL_SOCKET : IPPROTO_IP;
    c->cmsg_type = IP_RECVERR;
    c->cmsg_len = CMSG_LEN(sizeof why);
    memcpy(CMSG_DATA(c), &why, sizeof why);
    message->msg_controllen = CMSG_SPACE(sizeof why);
    return (ssize_t)got;
}

/* ---- a command ---- */

/* Two bytes are how it ended, as waitpid() tells it; the rest is what it printed. */
int __wrap_child_start(struct children *c, char *const argv[], child_ended_fn ended, void *arg,
                       struct child **ret_child)
{
    checker_role_assert();
    if (!playing)
        return __real_child_start(c, argv, ended, arg, ret_child);
    struct bytes said = packet_count > 0 ? packets[0] : by_tcp;
    int status = said.len >= 2 ? (said.at[0] & 0x7f) | said.at[1] << 8 : 0;
    size_t skip = said.len < 2 ? said.len : 2, len = said.len - skip;
    if ((status & 0x7f) == 0x7f)
        status = 0; /* "stopped" is no end */
    len = len < CHILD_OUTPUT_BYTES ? len : CHILD_OUTPUT_BYTES;
    char *output = fuzz_copy(said.at + skip, len);
    ended(arg, status, output, len);
    free(output);
    return 0;
}

/* ---- the checks ---- */

static struct engine *engine;
static struct config *config;
static int file_fd = -1;
static bool ended;

static void begin(void)
{
    struct strbuf text;
    uint16_t dns = 0, ntp = open_peer(&ntp_udp, SOCK_DGRAM, 0);
    checker_role_assert();
    for (int tries = 0; tries < 100 && dns == 0; tries++) { /* the same port by both */
        uint16_t port = open_peer(&dns_udp, SOCK_DGRAM, 0);
        dns = open_peer(&dns_tcp, SOCK_STREAM, port);
        if (dns == 0)
            loop_watch_close(fuzz_loop(), &dns_udp);
    }
    file_fd = memfd_create("fuzz", MFD_CLOEXEC);
    HOLDS(dns != 0 && file_fd >= 0);
    const char *const questions[] = {
        "trips.test\"; expect_records = [ \"192.0.2.1\" ]; min_records = 2;",
        "trips.test?type=MX\"; authoritative = true;",
        "trips.test?type=TXT\"; expect_records = [ \"v=1\", \"v=2\" ];",
        "trips.test?type=SOA\"; expect_rcode = [ \"NOERROR\", \"NXDOMAIN\" ];",
        "trips.test?type=SRV\"; expect_records = \"1 2 443 a.test.\";",
    };
    strbuf_init(&text, 8192);
    strbuf_addf(&text, "defaults = { period = \"24h\"; timeout = \"1h\"; }; dependencies = (\n");
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
        strbuf_addf(&text, "{ name = \"dns%zu\"; url = \"dns://127.0.0.1:%u/%s },\n", i, dns,
                    questions[i]);
    strbuf_addf(&text,
                "{ name = \"ntp\"; url = \"ntp://127.0.0.1:%u\"; max_stratum = 3; },\n"
                "{ name = \"clock\"; url = \"ntp://127.0.0.1:%u\"; max_offset = \"1s\"; },\n"
                "{ name = \"icmp\"; url = \"icmp://127.0.0.1\"; },\n"
                "{ name = \"exec\"; exec = [ \"/bin/true\" ]; },\n"
                "{ name = \"file\"; url = \"file:///proc/self/fd/%d\"; match = \"^(a+)+$\"; } );\n",
                ntp, ntp, file_fd);
    HOLDS(strbuf_error(&text) == 0);
    config = ask_config(text.data);
    strbuf_done(&text);
    HOLDS(config != NULL && engine_new(fuzz_loop(), "127.0.0.1:9", &engine) == 0);
}

static void on_done(struct probe *p, const struct probe_result *result, void *arg)
{
    const struct target_conf *conf = arg;
    checker_role_assert();
    (void)p;
    HOLDS(!ended && result->outcome > OUTCOME_FIRST_UNUSED && result->outcome < OUTCOME_COUNT);
    HOLDS(memchr(result->text, '\0', sizeof result->text) != NULL && fuzz_is_plain(result->text));
    /* The right answer has come. */
    HOLDS(result->outcome != OUTCOME_TIMEOUT);
    HOLDS(!result->has_dns_serial || strcmp(conf->name, "dns3") == 0);
    ended = true;
    loop_stop(fuzz_loop());
}

void fuzz_probes(const struct fuzz_target *target, const uint8_t *data, size_t size)
{
    struct probe *probe;
    (void)target;
    if (size < 1 || size > INPUT_BYTES)
        return;
    if (engine == NULL)
        begin();
    const struct target_conf *conf = config->targets[data[0] % config->target_count];
    read_input((struct bytes){data + 1, size - 1});
    if (strcmp(conf->scheme->name, "file") == 0)
        HOLDS(ftruncate(file_fd, 0) == 0 &&
              pwrite(file_fd, data + 1, size - 1, 0) == (ssize_t)size - 1);
    ended = false;
    playing = true;
    HOLDS(probe_start(engine, conf, NULL, on_done, (void *)(uintptr_t)conf, &probe) == 0);
    loop_run(fuzz_loop());
    playing = false;
    HOLDS(ended);
    icmp_fd = -1;
}
