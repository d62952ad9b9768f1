/*
 * CivetWeb, as Debian 12 builds it, knows the addresses of IPv4 only, and tells nobody the
 * descriptor of a connection. But it passes on what accept() said. Our accept() (listener.c) says
 * the descriptor, written as an address that no peer can have: 0.128.0.0/9, port and all. The worker
 * asks the kernel, once a connection; the descriptor cannot have become another's, since it is
 * closed by that same worker.
 */
#include "web/peer.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include <healthsvc/pollers.h>

/* RFC 1122 section 3.2.1.3: 0.0.0.0/8 is never the source of anything that is connected. */
#define MARK UINT32_C(0x00800000)
#define MARK_MASK UINT32_C(0xff800000)
#define LOW_BITS 16 /* of the descriptor, in the port; 15 more are in the address */

static _Thread_local struct {
    bool found;
    struct sockaddr_storage addr;
} peer;

void peer_mark(int fd, struct sockaddr_in *ret_mark)
{
    uint32_t bits = (uint32_t)fd;
    memset(ret_mark, 0, sizeof *ret_mark);
    ret_mark->sin_family = AF_INET;
    ret_mark->sin_port = htons((uint16_t)bits);
    ret_mark->sin_addr.s_addr = htonl(MARK | bits >> LOW_BITS);
}

int peer_descriptor(const struct mg_request_info *info)
{
    struct in_addr addr;
    if (inet_pton(AF_INET, info->remote_addr, &addr) != 1 || info->remote_port < 0 ||
        info->remote_port > UINT16_MAX)
        return -1;
    uint32_t bits = ntohl(addr.s_addr);
    if ((bits & MARK_MASK) != MARK)
        return -1;
    return (int)((bits & ~MARK_MASK) << LOW_BITS | (uint32_t)info->remote_port);
}

static void unmap(struct sockaddr_storage *addr)
{
    const struct sockaddr_in6 in6 = *(const struct sockaddr_in6 *)addr;
    if (addr->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        return;
    struct sockaddr_in *in = (struct sockaddr_in *)addr;
    memset(addr, 0, sizeof *addr);
    in->sin_family = AF_INET;
    in->sin_port = in6.sin6_port;
    memcpy(&in->sin_addr, in6.sin6_addr.s6_addr + 12, sizeof in->sin_addr);
}

void peer_forget(void)
{
    peer.found = false;
}

const struct sockaddr_storage *peer_find(const struct mg_request_info *info)
{
    if (peer.found)
        return &peer.addr;
    int fd = peer_descriptor(info);
    socklen_t len = sizeof peer.addr;
    memset(&peer.addr, 0, sizeof peer.addr);
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&peer.addr, &len) != 0)
        peer.addr.ss_family = AF_UNSPEC;
    unmap(&peer.addr);
    peer.found = true;
    return &peer.addr;
}

bool peer_is_local(const struct sockaddr_storage *addr)
{
    enum poller_from from = pollers_from((const struct sockaddr *)addr);
    return from == POLLER_FROM_UNIX || from == POLLER_FROM_LOOPBACK;
}
