/* RFC 1035 section 4: one question in, its answer out. Malformed questions get none. */
#include "dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_RULES 32
#define MESSAGE_BYTES 1024
#define TYPE_A 1
#define TYPE_AAAA 28

struct rule {
    char name[64];
    enum dns_reply reply;
    char addresses[256];
    uint32_t ttl_s;
    unsigned count, count_six;
};

struct dns_server {
    int udp, tcp, wake[2];
    char address[32];
    pthread_t thread;
    pthread_mutex_t lock;
    struct rule rules[MAX_RULES];
    size_t rule_count;
};

/* With the lock held. */
static struct rule *find(struct dns_server *s, const char *name)
{
    for (size_t i = 0; i < s->rule_count; i++)
        if (strcasecmp(s->rules[i].name, name) == 0)
            return &s->rules[i];
    return NULL;
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Reads the question's name as text; returns the offset behind type and class, 0 if malformed. */
static size_t read_question(const uint8_t *in, size_t len, char name[64], unsigned *ret_type)
{
    size_t at = 12, out = 0;
    if (len < at || in[4] != 0 || in[5] != 1)
        return 0;
    while (at < len && in[at] != 0) {
        size_t label = in[at++];
        if (label > 63 || at + label > len || out + label + 2 > 64)
            return 0;
        if (out > 0)
            name[out++] = '.';
        memcpy(name + out, in + at, label);
        out += label;
        at += label;
    }
    name[out] = '\0';
    if (at + 5 > len)
        return 0;
    *ret_type = (unsigned)(in[at + 1] << 8 | in[at + 2]);
    return at + 5;
}

static size_t add_address(uint8_t *out, size_t at, unsigned type, const char *address,
                          uint32_t ttl_s)
{
    size_t bytes = type == TYPE_A ? 4 : 16;
    if (at + 12 + bytes > MESSAGE_BYTES ||
        inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, out + at + 12) != 1)
        return at;
    put16(out + at, 0xc00c); /* the name: as in the question */
    put16(out + at + 2, type);
    put16(out + at + 4, 1);
    put16(out + at + 6, ttl_s >> 16);
    put16(out + at + 8, ttl_s & 0xffff);
    put16(out + at + 10, (unsigned)bytes);
    put16(out + 6, (unsigned)(out[6] << 8 | out[7]) + 1);
    return at + 12 + bytes;
}

static size_t reply_to(struct dns_server *s, const uint8_t *in, size_t len, bool tcp, uint8_t *out)
{
    char name[64];
    unsigned type = 0;
    size_t at = read_question(in, len, name, &type);
    if (at == 0)
        return 0;
    struct rule r = {.reply = DNS_REPLY_NXDOMAIN};
    pthread_mutex_lock(&s->lock);
    struct rule *rule = find(s, name);
    if (rule != NULL) {
        rule->count += type == TYPE_A && !tcp;
        rule->count_six += type == TYPE_AAAA && !tcp;
        r = *rule;
    }
    pthread_mutex_unlock(&s->lock);

    bool half = r.reply == DNS_REPLY_HALF;
    if (r.reply == DNS_REPLY_SILENCE || (half && type == TYPE_AAAA && r.count_six == 1))
        return 0;
    memcpy(out, in, at);
    put16(out + 2, 0x8180); /* a response, recursion desired and available */
    memset(out + 6, 0, 6);
    if (r.reply == DNS_REPLY_NXDOMAIN)
        out[3] |= 3;
    else if (r.reply == DNS_REPLY_SERVFAIL || (half && type == TYPE_A))
        out[3] |= 2;
    else if (r.reply == DNS_REPLY_BY_TCP && !tcp)
        out[2] |= 2;
    else if (type == TYPE_A || type == TYPE_AAAA) {
        char *rest = NULL;
        for (char *a = strtok_r(r.addresses, " ", &rest); a != NULL; a = strtok_r(NULL, " ", &rest))
            at = add_address(out, at, type, a, r.ttl_s);
    }
    return at;
}

/* One connection after the other, all its questions. */
static void serve_tcp(struct dns_server *s)
{
    uint8_t in[MESSAGE_BYTES], out[2 + MESSAGE_BYTES];
    int fd = accept(s->tcp, NULL, NULL);
    while (fd >= 0 && recv(fd, in, 2, MSG_WAITALL) == 2) {
        size_t len = (size_t)(in[0] << 8 | in[1]);
        if (len > sizeof in || recv(fd, in, len, MSG_WAITALL) != (ssize_t)len)
            break;
        size_t bytes = reply_to(s, in, len, true, out + 2);
        put16(out, (unsigned)bytes);
        /* Byte by byte, to be read in pieces. */
        for (size_t i = 0; i < bytes + 2; i++)
            if (send(fd, out + i, 1, MSG_NOSIGNAL) != 1)
                break;
    }
    if (fd >= 0)
        close(fd);
}

static void *serve(void *arg)
{
    struct dns_server *s = arg;
    uint8_t in[MESSAGE_BYTES], out[MESSAGE_BYTES];
    for (;;) {
        struct pollfd p[3] = {{.fd = s->wake[0], .events = POLLIN},
                              {.fd = s->udp, .events = POLLIN},
                              {.fd = s->tcp, .events = POLLIN}};
        if (poll(p, 3, -1) < 0)
            continue;
        if (p[0].revents != 0)
            return NULL;
        if (p[1].revents != 0) {
            struct sockaddr_in from;
            socklen_t from_len = sizeof from;
            ssize_t len = recvfrom(s->udp, in, sizeof in, 0, (struct sockaddr *)&from, &from_len);
            size_t bytes = len > 0 ? reply_to(s, in, (size_t)len, false, out) : 0;
            if (bytes > 0)
                (void)sendto(s->udp, out, bytes, 0, (struct sockaddr *)&from, from_len);
        }
        if (p[2].revents != 0)
            serve_tcp(s);
    }
}

/* The same port for both, so UDP may have to look for one that TCP has free too. */
static bool bind_both(struct dns_server *s)
{
    for (int i = 0; i < 20; i++) {
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof addr;
        s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(s->udp, (struct sockaddr *)&addr, len) == 0 &&
            getsockname(s->udp, (struct sockaddr *)&addr, &len) == 0 &&
            bind(s->tcp, (struct sockaddr *)&addr, len) == 0 && listen(s->tcp, 16) == 0) {
            snprintf(s->address, sizeof s->address, "127.0.0.1:%u", ntohs(addr.sin_port));
            return true;
        }
        close(s->udp);
        close(s->tcp);
    }
    return false;
}

struct dns_server *dns_server_start(void)
{
    struct dns_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    if (bind_both(s)) {
        if (pipe(s->wake) == 0) {
            if (pthread_create(&s->thread, NULL, serve, s) == 0)
                return s;
            close(s->wake[0]);
            close(s->wake[1]);
        }
        close(s->udp);
        close(s->tcp);
    }
    free(s);
    return NULL;
}

void dns_server_stop(struct dns_server *s)
{
    close(s->wake[1]);
    pthread_join(s->thread, NULL);
    close(s->wake[0]);
    close(s->udp);
    close(s->tcp);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *dns_server_address(const struct dns_server *s)
{
    return s->address;
}

void dns_server_set(struct dns_server *s, const char *name, enum dns_reply reply,
                    const char *addresses, uint32_t ttl_s)
{
    pthread_mutex_lock(&s->lock);
    struct rule *rule = find(s, name);
    if (rule == NULL && s->rule_count < MAX_RULES)
        rule = &s->rules[s->rule_count++];
    if (rule != NULL) {
        unsigned count = rule->count;
        *rule = (struct rule){.reply = reply, .ttl_s = ttl_s, .count = count};
        snprintf(rule->name, sizeof rule->name, "%s", name);
        snprintf(rule->addresses, sizeof rule->addresses, "%s", addresses);
    }
    pthread_mutex_unlock(&s->lock);
}

unsigned dns_server_count(struct dns_server *s, const char *name)
{
    pthread_mutex_lock(&s->lock);
    const struct rule *rule = find(s, name);
    unsigned count = rule != NULL ? rule->count : 0;
    pthread_mutex_unlock(&s->lock);
    return count;
}
