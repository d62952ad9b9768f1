/*
 * plain_server PORT THREADS FILE: the least that CivetWeb can do: writes FILE, a complete response,
 * to every request, by begin_request and one mg_write. What /health is measured against.
 */
#include <civetweb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static char response[65536];
static size_t response_len;

static int on_request(struct mg_connection *conn)
{
    return mg_write(conn, response, response_len) > 0 ? 200 : -1;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 4 ? fopen(argv[3], "rb") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: plain_server PORT THREADS FILE\n");
        return 2;
    }
    response_len = fread(response, 1, sizeof response, file);
    fclose(file);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%s", argv[1]);
    /* As the daemon's own server sets them. */
    const char *options[] = {
        "listening_ports",
        address,
        "num_threads",
        argv[2],
        "enable_keep_alive",
        "yes",
        "keep_alive_timeout_ms",
        "5000",
        "request_timeout_ms",
        "2000",
        "tcp_nodelay",
        "1",
        "listen_backlog",
        "1024",
        NULL,
    };
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct mg_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.begin_request = on_request;
    mg_init_library(0);
    struct mg_context *ctx = mg_start(&callbacks, NULL, options);
    struct mg_server_port port;
    if (ctx == NULL || mg_get_server_ports(ctx, 1, &port) < 1)
        return 1;
    printf("%d\n", port.port);
    fflush(stdout);
    int signal_seen;
    sigwait(&signals, &signal_seen);
    return 0; /* mg_stop() would wait for its poll */
}
