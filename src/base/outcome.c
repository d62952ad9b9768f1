/* The tables are switches made from outcome.def: a value without a row cannot be compiled. */
#include <healthsvc/outcome.h>

#include <errno.h>

const char *outcome_token(enum outcome o)
{
    switch (o) {
#define OUTCOME(id, token, class, sentence) \
    case OUTCOME_##id:                      \
        return token;
#include <healthsvc/outcome.def>
#undef OUTCOME
    case OUTCOME_FIRST_UNUSED:
    case OUTCOME_COUNT:
        break;
    }
    return "none";
}

const char *outcome_sentence(enum outcome o)
{
    switch (o) {
#define OUTCOME(id, token, class, sentence) \
    case OUTCOME_##id:                      \
        return sentence;
#include <healthsvc/outcome.def>
#undef OUTCOME
    case OUTCOME_FIRST_UNUSED:
    case OUTCOME_COUNT:
        break;
    }
    return "no outcome";
}

enum outcome_class outcome_class(enum outcome o)
{
    switch (o) {
#define OUTCOME(id, token, class, sentence) \
    case OUTCOME_##id:                      \
        return OUTCOME_CLASS_##class;
#include <healthsvc/outcome.def>
#undef OUTCOME
    case OUTCOME_FIRST_UNUSED:
    case OUTCOME_COUNT:
        break;
    }
    return OUTCOME_CLASS_NOT_TRIED;
}

const char *outcome_class_token(enum outcome_class c)
{
    switch (c) {
    case OUTCOME_CLASS_GOOD:
        return "good";
    case OUTCOME_CLASS_WARNING:
        return "warning";
    case OUTCOME_CLASS_BAD:
        return "bad";
    case OUTCOME_CLASS_NOT_TRIED:
        return "not_tried";
    }
    return "none";
}

enum outcome outcome_of_errno(int err)
{
    switch (err) {
    case EMFILE:
    case ENFILE:
        return OUTCOME_OWN_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS:
        return OUTCOME_OWN_MEMORY;
    case ENETUNREACH:
    case ENETDOWN:
        return OUTCOME_OWN_NO_ROUTE;
    case EADDRNOTAVAIL:
    case EADDRINUSE:
        return OUTCOME_OWN_NO_PORT;
    case EACCES:
    case EPERM:
        return OUTCOME_OWN_FORBIDDEN;
    case ECONNREFUSED:
        return OUTCOME_CONNECT_REFUSED;
    case ETIMEDOUT:
        return OUTCOME_CONNECT_TIMEOUT;
    case EHOSTUNREACH:
    case EHOSTDOWN:
        return OUTCOME_CONNECT_UNREACHABLE;
    case ECONNRESET:
    case EPIPE:
        return OUTCOME_RESET;
    default:
        return OUTCOME_OWN_ERROR;
    }
}
