/*
 * Prints what the source knows of itself, one thing a line, tab-separated, for test_docs.py to write
 * the documents from:
 *     describe settings | schemes | outcomes
 */
#include <healthsvc/config.h>
#include <healthsvc/outcome.h>
#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>

#include <stdio.h>
#include <string.h>

static void add_port(const struct scheme *scheme, struct strbuf *out)
{
    const unsigned none = SCHEME_COMMAND | SCHEME_FILE | SCHEME_NO_PORT;
    if (scheme->port != 0)
        strbuf_addf(out, "%u", (unsigned)scheme->port);
    else if (!(scheme->flags & none))
        strbuf_adds(out, "the URL names the port");
}

static void add_scheme(const struct scheme *scheme, struct strbuf *out)
{
    static const struct {
        unsigned flag;
        const char *word;
    } facts[] = {
        {SCHEME_TLS, "tls"},
        {SCHEME_STARTTLS, "starttls"},
        {SCHEME_SECRET, "login"},
        {SCHEME_PATH, "path"},
    };
    strbuf_addf(out, "%s\t", scheme->name);
    add_port(scheme, out);
    strbuf_addc(out, '\t');
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        if (scheme->flags & facts[i].flag)
            strbuf_addf(out, "%s ", facts[i].word);
    }
    strbuf_addf(out, "%s\n", scheme->dialogue != NULL ? "unix" : "");
}

static void add_schemes(struct strbuf *out)
{
    for (size_t i = 0; scheme_at(i) != NULL; i++)
        add_scheme(scheme_at(i), out);
}

static void add_outcomes(struct strbuf *out)
{
    for (int i = 0; i < OUTCOME_COUNT; i++) {
        enum outcome o = (enum outcome)i;
        strbuf_addf(out, "%s\t%s\t%s\n", outcome_token(o), outcome_class_token(outcome_class(o)),
                    outcome_sentence(o));
    }
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    struct strbuf text;
    strbuf_init(&text, 1024 * 1024);
    if (strcmp(what, "settings") == 0)
        config_describe(&text);
    else if (strcmp(what, "schemes") == 0)
        add_schemes(&text);
    else if (strcmp(what, "outcomes") == 0)
        add_outcomes(&text);
    bool printed = text.len > 0 && strbuf_error(&text) == 0 && fputs(text.data, stdout) >= 0;
    strbuf_done(&text);
    return printed ? 0 : 1;
}
