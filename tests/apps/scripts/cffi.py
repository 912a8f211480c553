"""Calls into libc, and a callback from it."""
import cffi

ffi = cffi.FFI()
ffi.cdef("size_t strlen(const char *); void qsort(void *, size_t, size_t, int (*)(const void *, const void *));")
libc = ffi.dlopen(None)
print(libc.strlen(b"twelve chars"))
numbers = ffi.new("int[]", [3, 1, 2])


@ffi.callback("int(const void *, const void *)")
def compare(a, b):
    return ffi.cast("int *", a)[0] - ffi.cast("int *", b)[0]


libc.qsort(numbers, 3, 4, compare)
print(list(numbers))
