/*
 * Replays the corpora without a fuzzer, so that every input that ever mattered is part of
 * "make check"; with arguments, a target's name and files, those instead.
 */
#include "fuzz.h"

#include "../testing.h"

#include <healthsvc/probe.h>

#include <dirent.h>

#define INPUT_MAX_BYTES (1024 * 1024)

static const struct fuzz_target *target;
static char **inputs; /* of the command line, ended by NULL */

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX_BYTES);
    if (EXPECT(file != NULL) && EXPECT(data != NULL)) {
        size_t len = fread(data, 1, INPUT_MAX_BYTES, file);
        printf("# %s\n", path); /* the last one named is the one that crashed */
        fflush(stdout);
        uint8_t *input = fuzz_copy(data, len);
        target->run(target, input, len);
        free(input);
    }
    free(data);
    if (file != NULL)
        fclose(file);
}

static void replay_inputs(void)
{
    for (; *inputs != NULL; inputs++)
        replay(*inputs);
}

static void replay_corpus(void)
{
    const char *top = getenv("TOP_SRCDIR");
    char folder[1024], path[2048];
    int count = 0;
    (void)snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".",
                   target->name);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        replay(path);
        count++;
    }
    if (!EXPECT(count > 0))
        printf("# nothing in %s\n", folder);
    if (dir != NULL)
        closedir(dir);
}

/* A new scheme needs a subject in fuzz_dialogue.c, or a part in fuzz_probes.c. */
TEST(every_scheme_has_a_target)
{
    for (size_t i = 0; scheme_at(i) != NULL; i++) {
        const struct scheme *scheme = scheme_at(i);
        const char *name = scheme->ops != NULL ? fuzz_target_of_scheme(scheme->name) : NULL;
        if (scheme->ops == NULL)
            continue;
        if (!EXPECT(name != NULL) || !EXPECT(fuzz_target_find(name) != NULL))
            printf("# scheme %s\n", scheme->name);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        target = fuzz_target_find(argv[1]);
        inputs = argv + 2;
        if (target == NULL || argc == 2) {
            fprintf(stderr, "usage: replay [TARGET INPUT ...]\n");
            return 2;
        }
        testing_run("replay_inputs", replay_inputs);
        return testing_end();
    }
    RUN(every_scheme_has_a_target);
    for (size_t i = 0; (target = fuzz_target_at(i)) != NULL; i++)
        testing_run(target->name, replay_corpus);
    return testing_end();
}
