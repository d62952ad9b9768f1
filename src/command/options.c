/* The first fault is the one that is told: those after it often only follow from it. */
#include "command/options.h"

#include "command/ending.h"
#include "command/version.h"

#include <healthsvc/attr.h>
#include <healthsvc/units.h>

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUERY_TIMEOUT_MS 3000 /* a dependency's */
#define QUERY_TIMEOUT_MAX_MS (24 * 3600 * INT64_C(1000))

static const char help[] =
    "usage: healthsvc -c FILE        run, in the foreground; logs to standard error\n"
    "       healthsvc -t -c FILE     check FILE, tell what it will need:\n"
    "                                exit 0, or 2 after every fault\n"
    "       healthsvc -1 -c FILE     ask every dependency once, print the verdict:\n"
    "                                exit 0 healthy, 1 not, 2 could not run\n"
    "       healthsvc -q TARGET      ask a running one, print its answer:\n"
    "                                exit 0 healthy, 1 not, or no answer; TARGET is\n"
    "                                http://HOST[:PORT][/PATH] or unix:FILE[:/PATH]\n"
    "       healthsvc -V             version and features built in\n"
    "       healthsvc -h             this help\n"
    "\n"
    "  With -1, -q: -f FORMAT, text, json or nagios (a plugin's line, exit 0 to 3).\n"
    "  With -q: -T DURATION, how long it may take at most, 3s unless given.\n"
    "  SIGHUP reloads FILE; SIGUSR1 logs who has asked lately;\n"
    "  SIGTERM and SIGINT stop, a second one at once.\n"
    "  GET /health, /health/NAME, /livez, /readyz, /metrics\n"
    "  Manuals: healthsvc(8), health.conf(5)\n";

static void fault(struct options *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fault(struct options *o, const char *fmt, ...)
{
    va_list args;
    if (o->fault[0] != '\0')
        return;
    va_start(args, fmt);
    (void)vsnprintf(o->fault, sizeof o->fault, fmt, args);
    va_end(args);
}

static void take_mode(struct options *o, enum mode mode)
{
    if (o->mode != MODE_SERVE)
        fault(o, "-t, -1 and -q exclude each other and are given once");
    o->mode = mode;
}

static void take_format(struct options *o, const char *word)
{
    if (!render_format_find(word, strlen(word), &o->query.format))
        fault(o, "-f wants text, json or nagios");
    o->query.format_given = true;
}

/* A number without a unit is of seconds, as in a configuration. */
static void take_timeout(struct options *o, const char *text)
{
    int64_t *ms = &o->query.timeout_ms;
    int64_t seconds;
    int r = units_parse_duration_ms(text, ms);
    if (r != 0 && units_parse_int(text, &seconds) == 0 && seconds <= QUERY_TIMEOUT_MAX_MS / 1000) {
        *ms = seconds * 1000;
        r = 0;
    }
    if (r != 0 || *ms < 1 || *ms > QUERY_TIMEOUT_MAX_MS)
        fault(o, "-T wants a duration of 1ms .. 24h, like 500ms or 5s");
    o->timeout_given = true;
}

static void check_options(struct options *o, bool rest)
{
    bool query = o->mode == MODE_QUERY;
    if (rest && query)
        fault(o, "an argument too many: -q takes one TARGET");
    else if (rest)
        fault(o, "an argument too many: the configuration is given by -c FILE");
    if (query && o->path != NULL)
        fault(o, "-c has no use with -q: a running one has its configuration");
    if (!query && o->path == NULL)
        fault(o, "no configuration: -c FILE is missing");
    if (o->query.format_given && !query && o->mode != MODE_ONCE)
        fault(o, "-f has a use with -1 and -q only");
    if (o->timeout_given && !query)
        fault(o, "-T has a use with -q only");
}

bool options_read(int argc, char **argv, struct options *ret_options)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct options *o = ret_options;
    *o = (struct options){.query.timeout_ms = QUERY_TIMEOUT_MS};
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":c:t1q:f:T:Vh", long_options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            o->path = optarg;
            break;
        case 't':
            take_mode(o, MODE_TEST);
            break;
        case '1':
            take_mode(o, MODE_ONCE);
            break;
        case 'q':
            take_mode(o, MODE_QUERY);
            o->query.target = optarg;
            break;
        case 'f':
            take_format(o, optarg);
            break;
        case 'T':
            take_timeout(o, optarg);
            break;
        case 'V':
            version_print();
            return false;
        case 'h':
            (void)fputs(help, stdout);
            return false;
        case ':':
            fault(o, "-%c needs a value", optopt);
            break;
        default:
            fault(o, "unknown option '%s'",
                  optopt != 0 ? (char[]){'-', (char)optopt, '\0'} : argv[optind - 1]);
            break;
        }
    }
    check_options(o, optind < argc);
    return true;
}

int options_usage(const struct options *o)
{
    int code = ending_tell(o->query.format, EXIT_USAGE, NAGIOS_UNKNOWN, "%s", o->fault);
    (void)fputs(help, stderr);
    return code;
}
