/*
 * Replays a fuzz target's corpus without a fuzzer, so that every input that ever mattered is part
 * of "make check". Arguments are files to be replayed instead.
 */
#include "fuzz.h"

#include "../testing.h"

#include <dirent.h>

#define INPUT_MAX_BYTES (1024 * 1024)

static const char *const *inputs; /* of the command line; NULL: the corpus */

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX_BYTES);
    if (EXPECT(file != NULL) && EXPECT(data != NULL)) {
        size_t len = fread(data, 1, INPUT_MAX_BYTES, file);
        printf("# %s\n", path); /* the last one named is the one that crashed */
        fflush(stdout);
        EXPECT_INT(LLVMFuzzerTestOneInput(data, len), 0);
    }
    free(data);
    if (file != NULL)
        fclose(file);
}

TEST(replay_inputs)
{
    for (; *inputs != NULL; inputs++)
        replay(*inputs);
}

TEST(replay_corpus)
{
    const char *top = getenv("TOP_SRCDIR");
    char folder[1024], path[2048];
    int count = 0;
    (void)snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".",
                   fuzz_corpus);
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

int main(int argc, char **argv)
{
    if (argc > 1) {
        inputs = (const char *const *)argv + 1;
        RUN(replay_inputs);
    } else {
        RUN(replay_corpus);
    }
    return testing_end();
}
