/* What an Accept header chooses: weights, specificity, ties, and everything malformed. */
#include "web/negotiate.h"

#include "../testing.h"

static int choose(const char *accept)
{
    struct negotiation n = {0};
    negotiate_add(&n, accept);
    return (int)negotiate_choose(&n);
}

TEST(plain_wishes)
{
    EXPECT_INT(choose("text/plain"), MEDIA_TEXT);
    EXPECT_INT(choose("application/json"), MEDIA_JSON);
    EXPECT_INT(choose("application/health+json"), MEDIA_HEALTH_JSON);
    EXPECT_INT(choose("APPLICATION/Json"), MEDIA_JSON);
    EXPECT_INT(choose("  application/json  "), MEDIA_JSON);
    EXPECT_INT(choose("application/json;charset=utf-8"), MEDIA_JSON);
}

TEST(no_header_is_text)
{
    struct negotiation n = {0};
    EXPECT_INT(negotiate_choose(&n), MEDIA_TEXT);
    EXPECT_INT(choose(""), MEDIA_TEXT);
}

TEST(ranges)
{
    EXPECT_INT(choose("*/*"), MEDIA_TEXT);
    EXPECT_INT(choose("text/*"), MEDIA_TEXT);
    EXPECT_INT(choose("application/*"), MEDIA_HEALTH_JSON);
    EXPECT_INT(choose("application/*, application/health+json;q=0"), MEDIA_JSON);
    EXPECT_INT(choose("*/json"), MEDIA_TEXT);
}

TEST(weights)
{
    EXPECT_INT(choose("text/plain;q=0.5, application/json;q=0.6"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;q=0.6, text/plain;q=0.5"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;q=0.499, text/plain;q=0.5"), MEDIA_TEXT);
    EXPECT_INT(choose("text/plain ; q=0.001 , application/json ; Q=0.002"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;q=0.3, application/health+json;q=0.4"), MEDIA_HEALTH_JSON);
    EXPECT_INT(choose("application/json;q=1.000, text/plain;q=0.999"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;q=1., text/plain;q=0."), MEDIA_JSON);
}

TEST(the_most_specific_range_counts)
{
    EXPECT_INT(choose("*/*, text/plain;q=0.1"), MEDIA_HEALTH_JSON);
    EXPECT_INT(choose("text/plain;q=0.1, */*"), MEDIA_HEALTH_JSON);
    EXPECT_INT(choose("text/*;q=0.2, text/plain;q=0.9, application/json;q=0.5"), MEDIA_TEXT);
    EXPECT_INT(choose("application/json, */*;q=0.8"), MEDIA_JSON);
    EXPECT_INT(choose("text/plain;q=0.1, text/plain;q=0.9, application/json;q=0.5"), MEDIA_TEXT);
}

TEST(ties_go_to_text_then_to_the_health_type)
{
    EXPECT_INT(choose("application/json, text/plain"), MEDIA_TEXT);
    EXPECT_INT(choose("application/json, text/plain, */*"), MEDIA_TEXT);
    EXPECT_INT(choose("application/json, application/health+json"), MEDIA_HEALTH_JSON);
}

TEST(browsers_get_text)
{
    EXPECT_INT(choose("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
                      "image/webp,*/*;q=0.8"),
               MEDIA_TEXT);
}

TEST(nothing_acceptable_is_text)
{
    EXPECT_INT(choose("image/png"), MEDIA_TEXT);
    EXPECT_INT(choose("text/plain;q=0, application/json;q=0"), MEDIA_TEXT);
    EXPECT_INT(choose("text/plain;q=0, */*;q=0.0"), MEDIA_TEXT);
    EXPECT_INT(choose("text/plain;q=0, application/json;q=0.001"), MEDIA_JSON);
}

TEST(malformed_elements_do_not_count)
{
    static const char *const bad[] = {
        "application/json;q=2",
        "application/json;q=1.001",
        "application/json;q=",
        "application/json;q=0.1234",
        "application/json;q=.5",
        "application/json;q=-1",
        "application/json;q=1x",
        "application/json x",
        "application / json",
        "application",
        "application/",
        "/json",
        "/",
        ";q=1",
        "application/json;q",
        "application/json;=1",
        "application/json\x80",
        "application/json;q=\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char list[200];
        if (!EXPECT_INT(choose(bad[i]), MEDIA_TEXT))
            printf("# for %s\n", bad[i]);
        snprintf(list, sizeof list, "%s, application/health+json", bad[i]);
        if (!EXPECT_INT(choose(list), MEDIA_HEALTH_JSON))
            printf("# for %s\n", list);
    }
}

TEST(empty_elements_and_quotes)
{
    EXPECT_INT(choose(",,  ,application/json,,"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;;q=1;"), MEDIA_JSON);
    EXPECT_INT(choose("application/json;a=\",text/plain\""), MEDIA_JSON);
    EXPECT_INT(choose("application/json;a=\"\\\",text/plain;\";q=0.5, text/plain;q=0.4"),
               MEDIA_JSON);
    EXPECT_INT(choose("image/png;a=\"open, application/json"), MEDIA_TEXT);
    EXPECT_INT(choose("image/png;a=\"\\"), MEDIA_TEXT);
}

TEST(several_headers_are_one_list)
{
    struct negotiation n = {0};
    negotiate_add(&n, "text/plain;q=0.5");
    negotiate_add(&n, "application/json;q=0.7");
    EXPECT_INT(negotiate_choose(&n), MEDIA_JSON);
    negotiate_add(&n, "text/plain;q=0.7");
    EXPECT_INT(negotiate_choose(&n), MEDIA_TEXT);
}

int main(void)
{
    RUN(plain_wishes);
    RUN(no_header_is_text);
    RUN(ranges);
    RUN(weights);
    RUN(the_most_specific_range_counts);
    RUN(ties_go_to_text_then_to_the_health_type);
    RUN(browsers_get_text);
    RUN(nothing_acceptable_is_text);
    RUN(malformed_elements_do_not_count);
    RUN(empty_elements_and_quotes);
    RUN(several_headers_are_one_list);
    return testing_end();
}
