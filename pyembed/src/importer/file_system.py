"""What `open` and functions of `os` do for paths below the executable."""

import errno
import io
import os
import posixpath
import stat


def _anonymous_file(location):
    """A descriptor of an anonymous file with the bytes of a file, at its beginning."""
    try:
        descriptor = os.memfd_create(posixpath.basename(location), os.MFD_CLOEXEC)
    except OSError:
        # It may be forbidden.
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        data = memoryview(Importer._read(location))
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class FileSystem:
    """What functions of `os` and `open` do for paths below ROOT; NotImplemented for all others.

    Each has the parameters of the function that it stands in for. Files are served as descriptors of
    anonymous files, so that `fileno`, `mmap` and the like work.
    """

    _roots = None

    @classmethod
    def _location(cls, path):
        """The location that a path names, and what is there; raises what the file system would."""
        if cls._roots is None:
            # Applications resolve links in `__file__`.
            cls._roots = tuple({ROOT + "/", os.path.realpath(ROOT) + "/"})
        try:
            path = os.fspath(path)
        except TypeError:
            return None, None
        full = posixpath.normpath(os.fsdecode(path))
        for root in cls._roots:
            if full.startswith(root):
                location = full[len(root) :]
                kind = Importer._kind(location)
                if kind is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                return location, kind
        return None, None

    @staticmethod
    def _refuse(number, path):
        raise OSError(number, os.strerror(number), path)

    @classmethod
    def _descriptor(cls, path, flags):
        location, kind = cls._location(path)
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            cls._refuse(errno.EROFS, path)
        if kind == "folder":
            cls._refuse(errno.EISDIR, path)
        return _anonymous_file(location)

    @classmethod
    def open(cls, path, *args, **kwargs):
        if args and isinstance(args[0], int):
            # os.open
            return NotImplemented if cls._is_foreign(path) else cls._descriptor(path, args[0])
        if isinstance(path, int) or cls._is_foreign(path):
            return NotImplemented
        if len(args) > 6 or "opener" in kwargs:
            return NotImplemented
        return io.open(path, *args, **kwargs, opener=cls._descriptor)

    @classmethod
    def open_code(cls, path):
        return cls.open(path, "rb")

    @classmethod
    def _is_foreign(cls, path):
        try:
            return cls._location(path)[0] is None
        except FileNotFoundError:
            return False

    @classmethod
    def stat(cls, path, *, dir_fd=None, follow_symlinks=True):
        location, kind = cls._location(path)
        if location is None or dir_fd is not None:
            return NotImplemented
        mode, size = stat.S_IFDIR | 0o555, 0
        if kind == "file":
            mode, size = stat.S_IFREG | 0o444, Importer._size(location)
        executable = os.stat(ROOT)
        # Distinct for distinct files, as `os.path.samefile` wants it.
        inode = hash(location) & 0x7FFF_FFFF_FFFF_FFFF
        return os.stat_result(
            (mode, inode, executable.st_dev, 1, executable.st_uid, executable.st_gid, size)
            + tuple(map(int, (executable.st_atime, executable.st_mtime, executable.st_ctime)))
        )

    @classmethod
    def lstat(cls, path, *, dir_fd=None):
        return cls.stat(path, dir_fd=dir_fd)

    @classmethod
    def listdir(cls, path="."):
        names = cls._names(path)
        return names if names is NotImplemented else [name for name, _ in names]

    @classmethod
    def scandir(cls, path="."):
        names = cls._names(path)
        if names is NotImplemented:
            return NotImplemented
        return _Scan(_Entry(name, os.path.join(path, name), is_dir) for name, is_dir in names)

    @classmethod
    def _names(cls, path):
        """What is in a folder, `(name, is folder)` each."""
        location, kind = cls._location(path)
        if location is None:
            return NotImplemented
        if kind == "file":
            cls._refuse(errno.ENOTDIR, path)
        # Names are of the path's own type, as everywhere in `os`.
        spell = os.fsencode if isinstance(os.fspath(path), bytes) else str
        return [(spell(name), is_dir) for name, is_dir in Importer._list_files(location + "/")]

    @classmethod
    def access(cls, path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
        try:
            location, _ = cls._location(path)
        except FileNotFoundError:
            return False
        return NotImplemented if location is None else not mode & (os.W_OK | os.X_OK)


class _Scan:
    """What os.scandir gives: an iterator that can be closed."""

    def __init__(self, entries):
        self._entries = entries

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._entries.close()


class _Entry:
    """An os.DirEntry."""

    def __init__(self, name, path, is_dir):
        self.name, self.path, self._is_dir = name, path, is_dir

    def is_dir(self, *, follow_symlinks=True):
        return self._is_dir

    def is_file(self, *, follow_symlinks=True):
        return not self._is_dir

    def is_symlink(self):
        return False

    def is_junction(self):
        return False

    def stat(self, *, follow_symlinks=True):
        return FileSystem.stat(self.path)

    def inode(self):
        return self.stat().st_ino

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"<DirEntry {self.name!r}>"
