"""Lets `realpath(strict=True)` pass the executable, which it takes for no folder since 3.13."""


def patch(posixpath):
    original = posixpath.realpath

    def realpath(filename, *, strict=False):
        try:
            return original(filename, strict=strict)
        except NotADirectoryError:
            path = original(filename)
            posixpath.os.lstat(path)
            return path

    for name in "__doc__", "__module__", "__name__", "__qualname__":
        setattr(realpath, name, getattr(original, name))
    posixpath.realpath = realpath
