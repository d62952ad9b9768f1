/* Prints every setting as the source's rows describe it, for test_docs.py to compare. */
#include <healthsvc/config.h>
#include <healthsvc/strbuf.h>

#include <stdio.h>

int main(void)
{
    struct strbuf text;
    strbuf_init(&text, 1024 * 1024);
    config_describe(&text);
    bool printed = strbuf_error(&text) == 0 && fputs(text.data, stdout) >= 0;
    strbuf_done(&text);
    return printed ? 0 : 1;
}
