/* A program that knows nothing of Python until it loads a library that has it. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL) {
        fprintf(stderr, "host: error: %s\n", argc > 1 ? dlerror() : "expected the path of a library");
        return 2;
    }
    int (*start)(const void *) = (int (*)(const void *))dlsym(library, "pyembed_start");
    int (*run_module)(const char *) = (int (*)(const char *))dlsym(library, "pyembed_run_module");
    const char *(*error)(void) = (const char *(*)(void))dlsym(library, "pyembed_error");
    void (*end)(void) = (void (*)(void))dlsym(library, "pyembed_end");
    if (start(NULL) != 0 || run_module("greeting") != 0) {
        fprintf(stderr, "%s\n", error());
        return 1;
    }
    end();
    return 0;
}
