/* perfdata: each form of the guidelines, each near miss, and where in an output it is looked for. */
#include <healthsvc/perfdata.h>

#include <healthsvc/probe.h>
#include <healthsvc/strbuf.h>
#include <healthsvc/units.h>

#include <math.h>

#include "../testing.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static void show_number(struct strbuf *out, const char *key, double value)
{
    if (isnan(value))
        return;
    strbuf_adds(out, key);
    units_format_decimal(out, value);
}

static void show_range(struct strbuf *out, const char *key, const struct perf_range *range)
{
    if (isnan(range->start))
        return;
    strbuf_adds(out, key);
    strbuf_adds(out, range->inside ? "@" : "");
    units_format_decimal(out, range->start);
    strbuf_adds(out, "..");
    units_format_decimal(out, range->end);
}

/* "[label]=value unit w0..1 c@2..3 min4 max5", one a line. */
static void show(struct strbuf *out, const struct perfdata *p)
{
    strbuf_clear(out);
    for (size_t i = 0; p != NULL && i < p->count; i++) {
        const struct perf_value *v = &p->values[i];
        strbuf_addf(out, "%s[%s]=", i > 0 ? "\n" : "", v->label);
        units_format_decimal(out, v->value);
        strbuf_addf(out, "%s%s%s", v->unit[0] != '\0' ? " " : "", v->unit,
                    v->counter ? " counter" : "");
        show_range(out, " w", &v->warn);
        show_range(out, " c", &v->crit);
        show_number(out, " min", v->min);
        show_number(out, " max", v->max);
    }
}

struct row {
    const char *output, *seen;
};

static void check_rows(const struct row *rows, size_t count, const char *before)
{
    struct strbuf output, seen;
    strbuf_init(&output, 65536);
    strbuf_init(&seen, 65536);
    for (size_t i = 0; i < count; i++) {
        strbuf_clear(&output);
        strbuf_adds(&output, before);
        strbuf_adds(&output, rows[i].output);
        /* A copy that is exactly as long, so that a sanitizer sees any step beyond. */
        char *exact = malloc(output.len > 0 ? output.len : 1);
        if (exact == NULL)
            abort();
        memcpy(exact, output.data, output.len);
        struct perfdata *p = perfdata_parse(exact, output.len, false);
        free(exact);
        show(&seen, p);
        if (!EXPECT_STR(seen.data, rows[i].seen))
            printf("# for \"%s\"\n", output.data);
        perfdata_unref(p);
    }
    strbuf_done(&output);
    strbuf_done(&seen);
}

TEST(labels)
{
    static const struct row rows[] = {
        {"a=1", "[a]=1"},
        {"/=1 /var=2", "[/]=1\n[/var]=2"},
        {"'a'=1", "[a]=1"},
        {"'a b'=1", "[a b]=1"},
        {"'it''s'=1", "[it's]=1"},
        {"''''=1", "[']=1"},
        {"'a=b'=1", "[a=b]=1"},
        {"'a|b'=1", "[a|b]=1"},
        {"C:\\=1", "[C:\\]=1"},
        {"it's=1", "[it's]=1"},
        {"'C:\\ used %'=1", "[C:\\ used %]=1"},
        {"gr\xc3\xb6\xc3\x9f"
         "e=1",
         "[gr.e]=1"},
        {"a\x1b[31m=1", "[a.[31m]=1"},
        {"=1 b=2", "[b]=2"},
        {"''=1 b=2", "[b]=2"},
        {"a b=2", "[b]=2"},
        {"'a b=1 c=2", "[b]=1\n[c]=2"},
        {"'a\nb'=1 c=2", ""}, /* a line's data ends with it */
        {"'a'b=1 c=2", "[c]=2"},
        {"'a' =1 c=2", "[c]=2"},
        {"'a' c=2", "[c]=2"},
        {"'a'", ""},
        {"'", ""},
        {"a", ""},
        {"a=", ""},
        {"a= 1 b=2", "[b]=2"},
    };
    check_rows(rows, COUNT(rows), "TEXT|");
}

TEST(only_the_first_of_a_name)
{
    static const struct row rows[] = {
        {"a=1 a=2 b=3 'a'=4", "[a]=1\n[b]=3"},
        {"a=x a=2", "[a]=2"},
        {"a:b=1 a_b=2 a.b=3", "[a:b]=1\n[a.b]=3"},
        {"a_b:c=1 a:b_c=2 a_b=3", "[a_b:c]=1\n[a_b]=3"},
        {"a=1 A=2", "[a]=1\n[A]=2"},
    };
    check_rows(rows, COUNT(rows), "TEXT|");
}

TEST(values)
{
    static const struct row rows[] = {
        {"a=0 b=-1 c=1.5 d=-.5 e=5.", "[a]=0\n[b]=-1\n[c]=1.5\n[d]=-0.5\n[e]=5"},
        {"a=270552530944", "[a]=270552530944"},
        {"a=9007199254740993", "[a]=9007199254740992"},
        {"a=1e3 b=2.5E-06 c=1e+2", "[a]=1000\n[b]=2.5e-06\n[c]=100"},
        {"a=U b=1", "[b]=1"},
        {"a=U;1;2 b=1", "[b]=1"},
        {"a=1,5 b=1", "[b]=1"},
        {"a=+1 b=1", "[b]=1"},
        {"a=1-2 b=1", "[b]=1"},
        {"a=--1 b=1", "[b]=1"},
        {"a=1.2.3 b=1", "[b]=1"},
        {"a=. b=1", "[b]=1"},
        {"a=- b=1", "[b]=1"},
        {"a=;1 b=1", "[b]=1"},
        {"a=0x10 b=1", "[b]=1"},
        {"a=inf b=nan c=1", "[c]=1"},
        {"a=1e999 b=1", "[b]=1"},
        {"a=1e308KB b=1", "[b]=1"},
        {"a=1=2 b=1", "[b]=1"},
        {"a=1'b'=2 c=1", "[c]=1"},
    };
    check_rows(rows, COUNT(rows), "TEXT|");
}

TEST(units)
{
    static const struct row rows[] = {
        {"a=3s b=19ms c=7us d=8ns", "[a]=3 s\n[b]=0.019 s\n[c]=7e-06 s\n[d]=8e-09 s"},
        {"a=12.5%", "[a]=0.125 ratio"},
        {"a=1B b=1KB c=1MB d=1GB e=1TB f=1PB",
         "[a]=1 B\n[b]=1024 B\n[c]=1048576 B\n[d]=1073741824 B\n[e]=1099511627776 B\n"
         "[f]=1125899906842624 B"},
        {"a=2kB b=1mb c=1S", "[a]=2048 B\n[b]=1048576 B\n[c]=1 s"},
        {"a=12c b=12C", "[a]=12 counter\n[b]=12 C"},
        {"a=900rpm b=1e c=2eV d=3W/m", "[a]=900 rpm\n[b]=1 e\n[c]=2 eV\n[d]=3 W/m"},
        {"a=20\xc2\xb0"
         "C",
         "[a]=20 .C"},
        {"a=1unitsofmeasurement", "[a]=1 unitsofmeasur..."},
        {"a=1m2 b=1", "[b]=1"},
        {"a=80ms;100;200;0;400", "[a]=0.08 s w0..0.1 c0..0.2 min0 max0.4"},
        {"a=80%;90;95;0;100", "[a]=0.8 ratio w0..0.9 c0..0.95 min0 max1"},
        {"a=1KB;~:2;@3:4", "[a]=1024 B w-inf..2048 c@3072..4096"},
    };
    check_rows(rows, COUNT(rows), "TEXT|");
}

TEST(thresholds)
{
    static const struct row rows[] = {
        {"a=1;10", "[a]=1 w0..10"},
        {"a=1;10;20;0;30", "[a]=1 w0..10 c0..20 min0 max30"},
        {"a=1;10;20;0;30;40;50", "[a]=1 w0..10 c0..20 min0 max30"},
        {"a=1;;;; b=1;", "[a]=1\n[b]=1"},
        {"a=1;;20;;30", "[a]=1 c0..20 max30"},
        {"a=1;10:;~:20", "[a]=1 w10..inf c-inf..20"},
        {"a=1;10:20;@10:20", "[a]=1 w10..20 c@10..20"},
        {"a=1;@10;@~:5", "[a]=1 w@0..10 c@-inf..5"},
        {"a=1;-5:-1;0:7", "[a]=1 w-5..-1 c0..7"},
        {"a=1;:7;0:", "[a]=1 w0..7 c0..inf"},
        {"a=1;5:5", "[a]=1 w5..5"},
        /* A threshold that cannot be read costs only itself. */
        {"a=1;20:10;30", "[a]=1 c0..30"},
        {"a=1;-5;30", "[a]=1 c0..30"},
        {"a=1;x;30", "[a]=1 c0..30"},
        {"a=1;10%;~", "[a]=1"},
        {"a=1;@;1:2:3;U;y", "[a]=1"},
        {"a=1;@@1;~10:20", "[a]=1"},
    };
    check_rows(rows, COUNT(rows), "TEXT|");
}

TEST(where_it_is_looked_for)
{
    static const struct row rows[] = {
        {"", ""},
        {"a=1", ""},
        {"TEXT a=1", ""},
        {"|", ""},
        {"TEXT | ", ""},
        {"| a=1", "[a]=1"},
        {"TEXT|a=1\n", "[a]=1"},
        {"TEXT | a=1 \t b=2 \r\n", "[a]=1\n[b]=2"},
        {"TEXT|a=1\nb=2\n", "[a]=1"},
        {"TEXT|a=1\nb=2\nc=3|d=4\ne=5\n\n f=6", "[a]=1\n[d]=4\n[e]=5\n[f]=6"},
        {"TEXT\nmore a=1\nlast|b=2\nc=3", "[b]=2\n[c]=3"},
        {"TEXT|a=1\nmore\n|b=2", "[a]=1\n[b]=2"},
        {"TEXT|a=1 | b=2", "[a]=1\n[b]=2"},
        {"TEXT\n'a\n|b'=1 c=2", "[b']=1\n[c]=2"},
    };
    check_rows(rows, COUNT(rows), "");
}

/* The words of the real plugins, as they print them. */
TEST(real_ones)
{
    static const struct row rows[] = {
        {"DISK OK - free space: / 80365MiB (86% inode=97%);| "
         "/=13523484672B;267847005634;270552530944;0;270552530944\n",
         "[/]=13523484672 B w0..267847005634 c0..270552530944 min0 max270552530944"},
        {"LOAD OK - total load average: 3.59, 1.45, 0.59|load1=3.590;100.000;200.000;0; "
         "load5=1.450;100.000;200.000;0; load15=0.590;100.000;200.000;0; \n",
         "[load1]=3.59 w0..100 c0..200 min0\n[load5]=1.45 w0..100 c0..200 min0\n"
         "[load15]=0.59 w0..100 c0..200 min0"},
        {"PING OK - Packet loss = 0%, RTA = 0.02 ms|rta=0.019000ms;100.000000;200.000000;0.000000 "
         "pl=0%;10;20;0;\n",
         "[rta]=1.9e-05 s w0..0.1 c0..0.2 min0\n[pl]=0 ratio w0..0.1 c0..0.2 min0"},
        {"PROCS OK: 93 processes | procs=93;;;0;\n", "[procs]=93 min0"},
        {"FILE_AGE OK: /etc/passwd is 287 seconds old and 2320 bytes | "
         "age=287s;1000000000;600 size=2320B;0;0;0\n",
         "[age]=287 s w0..1000000000 c0..600\n[size]=2320 B w0..0 c0..0 min0"},
    };
    check_rows(rows, COUNT(rows), "");
}

TEST(plain_thresholds)
{
    static const struct {
        const char *range;
        double plain;
    } rows[] = {
        {"10", 10},   {"0:10", 10}, {"0", 0},    {"10:", NAN}, {"~:10", NAN},
        {"@10", NAN}, {"1:2", NAN}, {"0:", NAN}, {"x", NAN},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[40];
        int len = snprintf(text, sizeof text, "|a=1;%s", rows[i].range);
        struct perfdata *p = perfdata_parse(text, (size_t)len, false);
        if (EXPECT(p != NULL)) {
            double plain = perf_range_plain(&p->values[0].warn);
            EXPECT(isnan(rows[i].plain) ? isnan(plain) : plain == rows[i].plain);
        }
        perfdata_unref(p);
    }
}

/* What was cut off might have been the end of the last word's number. */
TEST(the_last_word_of_a_cut_output_is_not_believed)
{
    static const char output[] = "TEXT|a=1 b=22";
    struct strbuf seen;
    strbuf_init(&seen, 1000);
    for (size_t len = 0; len < sizeof output; len++) {
        struct perfdata *p = perfdata_parse(output, len, true);
        show(&seen, p);
        EXPECT_STR(seen.data, len >= sizeof "TEXT|a=1 " - 1 ? "[a]=1" : "");
        perfdata_unref(p);
    }
    struct perfdata *p = perfdata_parse("TEXT|a=1 b=22\n", sizeof output, true);
    show(&seen, p);
    EXPECT_STR(seen.data, "[a]=1\n[b]=22");
    perfdata_unref(p);
    strbuf_done(&seen);
}

TEST(bounds)
{
    struct strbuf output;
    strbuf_init(&output, 1 << 20);
    strbuf_adds(&output, "TEXT|");
    for (int i = 0; i < 5000; i++)
        strbuf_addf(&output, "'label %d'=%dms ", i, i);
    struct perfdata *p = perfdata_parse(output.data, output.len, false);
    if (EXPECT(p != NULL)) {
        EXPECT_INT(p->count, PERFDATA_MAX);
        EXPECT_STR(p->values[PERFDATA_MAX - 1].label, "label 127");
    }
    perfdata_unref(p);

    char label[PERFDATA_LABEL_MAX + 2];
    memset(label, 'l', sizeof label);
    strbuf_clear(&output);
    strbuf_addf(&output, "|%.*s=1 '%.*s'=2 b=3", PERFDATA_LABEL_MAX + 1, label, PERFDATA_LABEL_MAX,
                label);
    p = perfdata_parse(output.data, output.len, false);
    if (EXPECT(p != NULL)) {
        EXPECT_INT(p->count, 2);
        EXPECT_INT(strlen(p->values[0].label), PERFDATA_LABEL_MAX);
        EXPECT_STR(p->values[1].label, "b");
    }
    perfdata_unref(p);
    strbuf_done(&output);
}

TEST(references)
{
    struct perfdata *p = perfdata_parse("|a=1", 4, false);
    EXPECT(perfdata_ref(p) == p);
    EXPECT(perfdata_unref(p) == NULL);
    if (EXPECT(p != NULL))
        EXPECT_STR(p->values[0].label, "a");
    EXPECT(perfdata_unref(p) == NULL);
    EXPECT(perfdata_ref(NULL) == NULL);
    EXPECT(perfdata_unref(NULL) == NULL);
}

int main(void)
{
    RUN(labels);
    RUN(only_the_first_of_a_name);
    RUN(values);
    RUN(units);
    RUN(thresholds);
    RUN(where_it_is_looked_for);
    RUN(real_ones);
    RUN(plain_thresholds);
    RUN(the_last_word_of_a_cut_output_is_not_believed);
    RUN(bounds);
    RUN(references);
    return testing_end();
}
