    import sys
    from os.path import basename, dirname, join

    called = sys.argv[0]
    name = basename(called)
    if name not in programs:
        # By another name: the first argument names the program.
        given = sys.argv[1:2]
        if not given or given[0] not in programs:
            got = f"`{given[0]}`" if given else "none"
            print(f"{name}: error: expected the name of a program, got {got}; there are {', '.join(programs)}", file=sys.stderr)
            sys.exit(2)
        name = given[0]
        sys.argv[:2] = [join(dirname(called), name)]
    module, function = programs[name]
    if function is None:
        import runpy

        runpy._run_module_as_main(module, alter_argv=False)
        return
    __import__(module)
    what = sys.modules[module]
    for part in function.split("."):
        what = getattr(what, part)
    sys.exit(what())


# `__main__` is as empty for a program as it is without others.
globals().pop("run")()
