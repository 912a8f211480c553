/* A program in C with Python in it. */
#include <stdio.h>

#include "pyembed.h"

int main(int argc, char **argv)
{
    struct pyembed_options options = {.argc = argc, .argv = (const char *const *)argv};
    if (pyembed_start(&options) != PYEMBED_DONE) {
        fprintf(stderr, "%s\n", pyembed_error());
        return 1;
    }
    int outcome = pyembed_run_code("import greeting, sys; print(greeting.greet(sys.argv[1]), flush=True)");
    if (outcome == PYEMBED_FAILED) {
        fprintf(stderr, "%s", pyembed_error());
    }
    pyembed_end();
    return outcome == PYEMBED_DONE ? 0 : 1;
}
