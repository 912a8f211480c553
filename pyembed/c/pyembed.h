/* pyembed: a Python interpreter that imports from memory, for programs in C and C++.
 *
 * A blob with the Python code is linked in, or lies in a file. One interpreter runs at a time, in the thread that has
 * started it; that thread is attached to it (it "holds the GIL"), so between pyembed_start and pyembed_end it may also call
 * all of Python's C API, as Python.h declares it. Strings are in UTF-8, paths as the system has them.
 *
 *     if (pyembed_start(NULL) != PYEMBED_DONE || pyembed_run_code("import app; app.serve()") != PYEMBED_DONE) {
 *         fputs(pyembed_error(), stderr);
 *     }
 *     pyembed_end();
 */
#ifndef PYEMBED_H
#define PYEMBED_H

#ifdef __cplusplus
extern "C" {
#endif

/* What a call gives. */
enum {
    PYEMBED_DONE = 0,   /* it is done */
    PYEMBED_FAILED = 1, /* it is not: pyembed_error says why; for an exception, with its traceback */
    PYEMBED_EXIT = 2    /* Python code has called sys.exit: pyembed_exit_status says with what */
};

/* How an interpreter starts. Zeroes are the defaults. */
struct pyembed_options {
    int argc;                       /* sys.argv, program name first; */
    const char *const *argv;        /* without one, that of the process */
    const char *blob_file;          /* a blob's file, which must stay as it is; without one, the blob that is linked in */
    const char *const *search_path; /* folders behind the packed ones in sys.path, with a NULL at their end */
};

/* Runs what the blob says, from start to end, and gives the exit status. Errors are printed. */
int pyembed_main(int argc, char *const *argv);

/* Starts the interpreter; `options` may be NULL. */
int pyembed_start(const struct pyembed_options *options);

/* To be called before: adds a module that is part of the program. `init` is its PyInit_NAME, and `name` must stay. */
struct _object;
void pyembed_add_builtin(const char *name, struct _object *(*init)(void));

/* Runs Python source in the namespace of __main__. */
int pyembed_run_code(const char *source);

/* Runs a module, or a package's __main__, as `python -m` does. */
int pyembed_run_module(const char *name);

/* Runs a script of the file system, as `python FILE` does. */
int pyembed_run_file(const char *path);

/* Reads statements from stdin and runs them, until it ends. */
int pyembed_repl(void);

/* Ends the interpreter: exit handlers run, and files are flushed. Another may be started then. */
void pyembed_end(void);

/* What the last call in this thread that was not done has to say; valid until the next one. */
const char *pyembed_error(void);

/* The exit status after PYEMBED_EXIT. */
int pyembed_exit_status(void);

#ifdef __cplusplus
}
#endif

#endif
