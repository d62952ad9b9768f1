/* What is expected of an HTTP reply beside its status and body, and what other health services say
 * of themselves. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "transcript.h"

#include <healthsvc/probe.h>

extern const struct scheme scheme_http;

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define CLOSED OK_HEAD "\r\n" /* a body up to the end of the connection */
#define A10 "aaaaaaaaaa"

#define GOOD .outcome = OUTCOME_OK, .http_status = 200
#define WRONG(says) .outcome = OUTCOME_WRONG_ANSWER, .http_status = 200, .text = (says)
#define STATUS(status, says) .outcome = OUTCOME_HTTP_STATUS, .http_status = (status), .text = (says)
#define WARNS(says) .outcome = OUTCOME_WARNING, .http_status = 200, .text = (says)
#define FAILS(says) .outcome = OUTCOME_NOT_SERVING, .http_status = 200, .text = (says)

#define REQUEST(first, accept, more)                                           \
    first " HTTP/1.1\r\nHost: trips\r\nUser-Agent: healthsvc/" PACKAGE_VERSION \
          "\r\nAccept: " accept "\r\nAccept-Encoding: identity\r\nConnection: close\r\n" more
#define ACCEPT_HEALTH "application/health+json, application/json;q=0.9, */*;q=0.5"
#define GOOD_REPLY .reply = BYTES(OK_HEAD "Content-Length: 0\r\n\r\n"), GOOD

static const struct transcript requests[] = {
    {.name = "post a body",
     .settings = "method = \"POST\"; body = \"{\\\"a\\\":1}\\r\\n\"; "
                 "headers = \"Content-Type: application/json\";",
     GOOD_REPLY,
     .sent = REQUEST("POST /health", ACCEPT_HEALTH,
                     "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"a\":1}\r\n")},
    {.name = "put nothing",
     .settings = "method = \"PUT\";",
     GOOD_REPLY,
     .sent = REQUEST("PUT /health", ACCEPT_HEALTH, "Content-Length: 0\r\n\r\n")},
    {.name = "options",
     .settings = "method = \"OPTIONS\";",
     GOOD_REPLY,
     .sent = REQUEST("OPTIONS /health", ACCEPT_HEALTH, "\r\n")},
    {.name = "a pattern is for what anybody gets",
     .settings = "expect_body = \"^$\";",
     GOOD_REPLY,
     .sent = REQUEST("GET /health", "*/*", "\r\n")},
    {.name = "a body with GET",
     .settings = "body = \"x\";",
     .fault = "'body' has no use with GET and HEAD: set 'method'"},
    {.name = "a JSON expectation of HEAD",
     .settings = "method = \"HEAD\"; expect_json = \"/a\";",
     .fault = "'expect_json': the answer to HEAD has no body"},
};

#define HEADER(rule) .settings = "expect_headers = ( " rule " );"

static const struct transcript headers[] = {
    {.name = "is there",
     HEADER("\"x-a\""),
     .reply = BYTES(OK_HEAD "X-A:\r\nContent-Length: 0\r\n\r\n"),
     GOOD},
    {.name = "is missing",
     HEADER("\"X-A\""),
     .reply = BYTES(OK_HEAD "X-AB: 1\r\n\r\n"),
     WRONG("header X-A is missing")},
    {.name = "must not be there",
     HEADER("\"!X-A\""),
     .reply = BYTES(OK_HEAD "X-A: 1\r\n\r\n"),
     WRONG("header X-A is there")},
    {.name = "must not be there and is not",
     HEADER("\"!X-A\""),
     .reply = BYTES(OK_HEAD "Content-Length: 0\r\n\r\n"),
     GOOD},
    {.name = "matches",
     HEADER("\"X-A: ^b+$\", \"Server\""),
     .reply = BYTES(OK_HEAD "X-A:  bbb \r\nServer: s\r\nContent-Length: 0\r\n\r\n"),
     GOOD},
    {.name = "does not match",
     HEADER("\"X-A: ^b+$\""),
     .reply = BYTES(OK_HEAD "X-A: abb\r\n\r\n"),
     WRONG("header X-A does not match")},
    {.name = "one of two matches",
     HEADER("\"X-A: ^b+$\""),
     .reply = BYTES(OK_HEAD "X-A: a\r\nX-A: b\r\nX-A: c\r\nContent-Length: 0\r\n\r\n"),
     GOOD},
    {.name = "a pattern is given up",
     HEADER("\"X-A: ^(a+)+$\""),
     .reply = BYTES(OK_HEAD "X-A: " A10 A10 A10 A10 "b\r\nX-A: a\r\n\r\n"),
     WRONG("header X-A does not match")},
    {.name = "those of a 1xx do not count",
     HEADER("\"X-A\""),
     .reply = BYTES("HTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" OK_HEAD "\r\n"),
     WRONG("header X-A is missing")},
    {.name = "those of the trailer do not count",
     HEADER("\"!X-A\""),
     .reply = BYTES(OK_HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n\r\n"),
     GOOD},
    {.name = "the status comes first",
     HEADER("\"X-A\""),
     .reply = BYTES("HTTP/1.1 500 a\r\n\r\n"),
     STATUS(500, "HTTP 500")},
    {.name = "a rule that is none",
     HEADER("\"X A\""),
     .fault = "'expect_headers': not \"Name\", \"!Name\" or \"Name: pattern\": X A"},
    {.name = "a rule of absence with a pattern",
     HEADER("\"!X-A: b\""),
     .fault = "'expect_headers': not \"Name\", \"!Name\" or \"Name: pattern\": !X-A: b"},
    {.name = "a rule with a bad pattern",
     HEADER("\"X-A: a(b\""),
     .fault = "'expect_headers': missing closing parenthesis, at offset 3"},
};

#define INVERT "invert = true; "
static const struct transcript inverted[] = {
    {.name = "inverted: a refusal is good",
     .settings = INVERT,
     .reply = BYTES("HTTP/1.1 403 Forbidden\r\n\r\n"),
     .outcome = OUTCOME_OK,
     .http_status = 403,
     .sent = REQUEST("GET /health", "*/*", "\r\n")},
    {.name = "inverted: an answer is bad",
     .settings = INVERT,
     .reply = BYTES(OK_HEAD "Content-Length: 0\r\n\r\n"),
     WRONG("HTTP 200 and all else as it must not be")},
    {.name = "inverted: what must not be found is found",
     .settings = INVERT "expect_body = \"maintenance\";",
     .reply = BYTES(CLOSED "in maintenance"),
     .eof = true,
     WRONG("HTTP 200 and all else as it must not be")},
    {.name = "inverted: what must not be found is not",
     .settings = INVERT "expect_body = \"maintenance\";",
     .reply = BYTES(CLOSED "up"),
     .eof = true,
     GOOD},
    {.name = "inverted: a pattern that is given up is no proof",
     .settings = INVERT "expect_body = \"^(a+)+$\";",
     .reply = BYTES(CLOSED A10 A10 A10 A10 "b"),
     .eof = true,
     .outcome = OUTCOME_BODY_MISMATCH,
     .http_status = 200,
     .text = "body match given up: the pattern backtracks too much"},
    {.name = "inverted: no reply is bad",
     .settings = INVERT,
     .reply = BYTES("hello\r\n"),
     .outcome = OUTCOME_BAD_REPLY,
     .text = "not HTTP: \"hello\""},
    {.name = "inverted: a status without a meaning is bad",
     .settings = INVERT,
     .reply = BYTES("HTTP/1.1 000 a\r\n\r\n"),
     STATUS(0, "HTTP 000")},
    {.name = "inverted: half a reply is bad",
     .settings = INVERT,
     .reply = BYTES(OK_HEAD "Content-Length: 3\r\n\r\n"),
     .eof = true,
     .outcome = OUTCOME_CLOSED,
     .http_status = 200,
     .text = "closed in the middle of the body"},
    {.name = "inverted: a header that must be missing",
     .settings = INVERT "expect_headers = \"X-Debug\";",
     .reply = BYTES(OK_HEAD "\r\n"),
     GOOD},
};

#define TEXT_PLAIN "Content-Type: text/plain; charset=utf-8\r\n\r\n"
static const struct transcript said_in_text[] = {
    {.name = "text: a leaf",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "Up and running\n"),
     .eof = true,
     GOOD},
    {.name = "text: all is well",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "trips status: OK\nDependencies:\na status: OK\n"),
     .eof = true,
     GOOD},
    {.name = "text: who is to blame",
     .reply = BYTES("HTTP/1.1 500 a\r\n" TEXT_PLAIN
                    "gateway status: Error\nDependencies:\ntrips status: OK\n"
                    "airports status: Error. connection refused\n"),
     .eof = true,
     STATUS(500, "HTTP 500: airports: connection refused")},
    {.name = "text: several, but not those that do not count",
     .reply = BYTES("HTTP/1.1 500 a\r\n" TEXT_PLAIN
                    "gateway status: Error\nDependencies:\na status: Error. x\n"
                    "b status: Error. y (optional)\nc status: Warning. z\nd status: Error. u\n"
                    "e status: Error. v (info)\nf status: Error"),
     .eof = true,
     STATUS(500, "HTTP 500: a: x; d: u; f")},
    {.name = "text: a warning",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "gateway status: Warning\nDependencies:\n"
                                       "a status: Error. down (optional)\n"
                                       "b status: Warning. slow\n"),
     .eof = true,
     WARNS("a: down (optional); b: slow")},
    {.name = "text: a warning without a word",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "gateway status: Warning\n"),
     .eof = true,
     WARNS("it says of itself: warn")},
    {.name = "text: its own reason",
     .reply = BYTES("HTTP/1.1 503 a\r\n" TEXT_PLAIN
                    "gateway status: Error. shutting down\nDependencies:\na status: OK\n"),
     .eof = true,
     STATUS(503, "HTTP 503: shutting down")},
    {.name = "text: an error in spite of 200",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "trips status: Error. no planes\n"),
     .eof = true,
     FAILS("no planes")},
    {.name = "text: another one's error page",
     .reply = BYTES("HTTP/1.1 500 a\r\n" TEXT_PLAIN "Internal Server Error\n"),
     .eof = true,
     STATUS(500, "HTTP 500")},
    {.name = "text: an error whose body does not come",
     .reply = BYTES("HTTP/1.1 500 a\r\nContent-Length: 100\r\n" TEXT_PLAIN "gateway status: Er"),
     .eof = true,
     STATUS(500, "HTTP 500")},
    {.name = "text: an error whose body is broken",
     .reply = BYTES("HTTP/1.1 500 a\r\nTransfer-Encoding: chunked\r\n" TEXT_PLAIN "zz\r\n"),
     STATUS(500, "HTTP 500")},
    {.name = "text: nearly, but not quite",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "gateway status: Errors are rare\n"),
     .eof = true,
     GOOD},
    {.name = "text: a pattern decides alone",
     .settings = "expect_body = \"Warning\";",
     .reply = BYTES(OK_HEAD TEXT_PLAIN "gateway status: Warning\n"),
     .eof = true,
     GOOD},
    {.name = "text: html is not looked at",
     .reply = BYTES(OK_HEAD "Content-Type: text/html\r\n\r\ngateway status: Warning\n"),
     .eof = true,
     GOOD},
    {.name = "text: bounded and escaped",
     .reply = BYTES("HTTP/1.1 500 a\r\n" TEXT_PLAIN "g status: Error\nDependencies:\n"),
     .unit = "d\x1b[1m status: Error. " A10 A10 A10 A10 "\xff\n",
     .times = 50,
     .eof = true,
     STATUS(500, "HTTP 500: d.[1m: " A10 A10 A10 A10 ".; d.[1m: " A10 A10 A10 A10
                 ".; d.[1m: " A10 A10 A10 A10 ".; and 47 more")},
};

#define HEALTH_JSON "Content-Type: application/health+json\r\n\r\n"
static const struct transcript said_in_json[] = {
    {.name = "json: pass",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"pass\",\"output\":\"\"}"),
     .eof = true,
     GOOD,
     .sent = REQUEST("GET /health", ACCEPT_HEALTH, "\r\n")},
    {.name = "json: up",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"UP\"}"),
     .eof = true,
     GOOD},
    {.name = "json: no body to HEAD",
     .settings = "method = \"HEAD\";",
     .reply = BYTES(OK_HEAD HEALTH_JSON),
     GOOD},
    {.name = "json: application/json is not of this kind",
     .reply = BYTES(OK_HEAD "Content-Type: application/json\r\n\r\n{\"status\":\"fail\"}"),
     .eof = true,
     GOOD},
#ifdef HAVE_JANSSON
    {.name = "json: warn, with its word",
     .reply = BYTES(OK_HEAD HEALTH_JSON
                    "{\"status\":\"warn\",\"output\":\"postgres: connection refused\"}"),
     .eof = true,
     WARNS("postgres: connection refused")},
    {.name = "json: warn, with its parts",
     .reply = BYTES(OK_HEAD
                    "content-type:Application/Health+JSON;charset=utf-8\r\n\r\n"
                    "{\"status\":\"WARN\",\"checks\":{"
                    "\"cache:responseTime\":[{\"status\":\"warn\",\"output\":\"slow\"}],"
                    "\"postgres:connections\":[{\"status\":\"pass\"},"
                    "{\"status\":\"fail\",\"output\":\"full\"}],\"disk\":{\"status\":\"warn\"}}}"),
     .eof = true,
     WARNS("postgres: full; cache: slow; disk")},
    {.name = "json: warn without a word",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"warn\"}"),
     .eof = true,
     WARNS("it says of itself: warn")},
    {.name = "json: fail, behind its status",
     .reply = BYTES("HTTP/1.1 503 a\r\n" HEALTH_JSON
                    "{\"status\":\"fail\",\"checks\":{\"airports:responseTime\":"
                    "[{\"status\":\"fail\",\"output\":\"connection refused\"}],"
                    "\"trips\":[{\"status\":\"warn\"}]}}"),
     .eof = true,
     STATUS(503, "HTTP 503: airports: connection refused")},
    {.name = "json: fail in spite of 200",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"down\"}"),
     .eof = true,
     FAILS("it says of itself: fail")},
    {.name = "json: fail with a status that is expected",
     .settings = "expect_status = ( \"2xx\", 503 );",
     .reply = BYTES("HTTP/1.1 503 a\r\n" HEALTH_JSON "{\"status\":\"fail\"}"),
     .eof = true,
     .outcome = OUTCOME_OK,
     .http_status = 503},
    {.name = "json: not JSON, behind a failing status",
     .reply = BYTES("HTTP/1.1 500 a\r\n" HEALTH_JSON "{\"status\":\"fail\""),
     .eof = true,
     STATUS(500, "HTTP 500")},
    {.name = "json: not JSON, behind a good status: that alone counts",
     .reply = BYTES(OK_HEAD HEALTH_JSON "warn"),
     .eof = true,
     GOOD},
    {.name = "json: longer than 64 KB is not understood",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"warn\"}"),
     .unit = "                ",
     .times = 4096,
     GOOD},
    {.name = "json: an output of another type, checks of another type",
     .reply = BYTES(OK_HEAD HEALTH_JSON
                    "{\"status\":\"warn\",\"output\":[1],\"checks\":[{\"status\":\"fail\"}]}"),
     .eof = true,
     WARNS("it says of itself: warn")},
    {.name = "json: bounded and escaped",
     .reply = BYTES("HTTP/1.1 500 a\r\n" HEALTH_JSON
                    "{\"status\":\"fail\",\"output\":\"\\u001b[31m\\u0000\\n"),
     .unit = A10,
     .times = 30,
     .tail = BYTES("\"}"),
     .eof = true,
     STATUS(500,
            "HTTP 500: .[31m." A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
            "a...")},
#endif
};

#ifdef HAVE_JANSSON
#define JSON(rule) .settings = "expect_json = ( " rule " );"
#define DOC                                                                                        \
    "{\"status\":\"UP\",\"n\":3,\"f\":2.5,\"ok\":true,\"nil\":null,\"list\":[10,{\"a/b\":\"x\"}]," \
    "\"m~n\":\"y\",\"o\":{}}"
#define SAYS .reply = BYTES(CLOSED DOC), .eof = true

static const struct transcript rules[] = {
    {.name = "rule: a word", JSON("\"/status = UP\""), SAYS, GOOD},
    {.name = "rule: a word in quotes", JSON("\"/status = \\\"UP\\\"\""), SAYS, GOOD},
    {.name = "rule: another word",
     JSON("\"/status = DOWN\""),
     SAYS,
     WRONG("/status is \"UP\", expected = DOWN")},
    {.name = "rule: unequal", JSON("\"/status != DOWN\""), SAYS, GOOD},
    {.name = "rule: unequal to what is missing",
     JSON("\"/state != DOWN\""),
     SAYS,
     WRONG("/state is missing")},
    {.name = "rule: is there, is not there", JSON("\"/nil\", \"!/error\""), SAYS, GOOD},
    {.name = "rule: must not be there", JSON("\"!/nil\""), SAYS, WRONG("/nil is there")},
    {.name = "rule: a number",
     JSON("\"/n = 3.0\", \"/n >= 3\", \"/n <= 3\", \"/n < 4\", \"/n > 2\""),
     SAYS,
     GOOD},
    {.name = "rule: a number that is too large",
     JSON("\"/n < 3\""),
     SAYS,
     WRONG("/n is 3, expected < 3")},
    {.name = "rule: a word is not less",
     JSON("\"/status < 3\""),
     SAYS,
     WRONG("/status is \"UP\", expected < 3")},
    {.name = "rule: true and null", JSON("\"/ok = true\", \"/nil = null\""), SAYS, GOOD},
    {.name = "rule: true is no word",
     JSON("\"/ok = \\\"true\\\"\""),
     SAYS,
     WRONG("/ok is true, expected = \"true\"")},
    {.name = "rule: into lists and odd names",
     JSON("\"/list/0 = 10\", \"/list/1/a~1b = x\", \"/m~0n = y\""),
     SAYS,
     GOOD},
    {.name = "rule: beyond a list", JSON("\"/list/2\""), SAYS, WRONG("/list/2 is missing")},
    {.name = "rule: no index", JSON("\"/list/01\""), SAYS, WRONG("/list/01 is missing")},
    {.name = "rule: into a word", JSON("\"/status/x\""), SAYS, WRONG("/status/x is missing")},
    {.name = "rule: an object", JSON("\"/o = 1\""), SAYS, WRONG("/o is an object, expected = 1")},
    {.name = "rule: an object's value", JSON("\"/o = {}\""), SAYS, GOOD},
    {.name = "rule: all of it", JSON("\" = 1\""), .reply = BYTES(CLOSED "1"), .eof = true, GOOD},
    {.name = "rule: not JSON",
     JSON("\"/a\""),
     .reply = BYTES(CLOSED "<html>"),
     .eof = true,
     WRONG("body is not JSON")},
    {.name = "rule: half a JSON",
     JSON("\"/a\""),
     .reply = BYTES(CLOSED "{\"a\":"),
     .eof = true,
     WRONG("body is not JSON")},
    {.name = "rule: 64 levels",
     JSON("\"!/a\""),
     .reply = BYTES(CLOSED),
     .unit = "[",
     .times = 64,
     .tail = BYTES("]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
     .eof = true,
     GOOD},
    {.name = "rule: nested without end",
     JSON("\"/a\""),
     .reply = BYTES(CLOSED),
     .unit = "[",
     .times = 5000,
     .eof = true,
     WRONG("body is not JSON")},
    {.name = "rule: too long",
     JSON("\"/a\""),
     .reply = BYTES(CLOSED "{\"a\":1}"),
     .unit = "                ",
     .times = 4096,
     WRONG("body is longer than 64 KB")},
    {.name = "rule: a pattern too",
     .settings = "expect_json = \"/n = 3\"; expect_body = \"down\";",
     SAYS,
     .outcome = OUTCOME_BODY_MISMATCH,
     .http_status = 200},
    {.name = "rule: inverted",
     .settings = "invert = true; expect_json = \"/status = DOWN\";",
     SAYS,
     GOOD},
    {.name = "rule: a status of health comes behind it",
     .settings = "expect_json = \"/version = 2\";",
     .reply = BYTES(OK_HEAD HEALTH_JSON "{\"status\":\"warn\",\"version\":2}"),
     .eof = true,
     WARNS("it says of itself: warn")},
    {.name = "rule: none",
     JSON("\"status = UP\""),
     .fault = "'expect_json': not \"/pointer\", \"!/pointer\" or \"/pointer OP value\" with OP one "
              "of = != < <= > >=: status = UP"},
    {.name = "rule: a bad escape",
     JSON("\"/a~2\""),
     .fault = "'expect_json': not \"/pointer\", \"!/pointer\" or \"/pointer OP value\" with OP one "
              "of = != < <= > >=: /a~2"},
    {.name = "rule: less than a word",
     JSON("\"/a < b\""),
     .fault = "'expect_json': only a number can be less or more: /a < b"},
};
#else
static const struct transcript rules[] = {
    {.name = "rule: not in this build",
     .settings = "expect_json = \"/a\";",
     .fault = "'expect_json': this build reads no JSON (it was configured --without-jansson)"},
};
#endif

#define RUN_ROWS(rows) transcripts_run(&scheme_http, rows, sizeof rows / sizeof rows[0])

int main(void)
{
    RUN_ROWS(requests);
    RUN_ROWS(headers);
    RUN_ROWS(inverted);
    RUN_ROWS(said_in_text);
    RUN_ROWS(said_in_json);
    RUN_ROWS(rules);
    return testing_end();
}
