"""Compiles sources for pyox-pack, one after the other, in the distribution's own interpreter.

It runs as `python -c THIS OPTIMIZE` and talks over stdin and stdout, all integers u32 little-endian:

    once, to the packer     the bytecode magic number (4 bytes); length of the version, version
    each request            length of the location, length of the source, location (UTF-8), source
    each answer             0, length, the marshalled code object; or
                            1, line, length, why the source does not compile (UTF-8); or
                            2, line, length, the same, but it may compile another time

It ends when stdin does. Warnings are for whoever wrote the source, not for whoever packs it.
"""

import marshal
import sys
import warnings
from importlib._bootstrap_external import MAGIC_NUMBER


def u32(number):
    return number.to_bytes(4, "little")


def answer(location, source, optimize):
    kind = 1
    try:
        code = compile(source, location, "exec", dont_inherit=True, optimize=optimize)
        data = marshal.dumps(code)
        return u32(0) + u32(len(data)) + data
    except SyntaxError as error:
        line, message = error.lineno or 0, error.msg or "invalid syntax"
    except MemoryError:  # the machine's, or the parser's own limit
        kind, line, message = 2, 0, "MemoryError: there was too little memory, or it is nested too deeply"
    except Exception as error:  # RecursionError, ValueError, ...: what the source provokes
        line, message = 0, f"{type(error).__name__}: {error}"
    data = message.encode("utf-8", "replace")
    return u32(kind) + u32(max(line, 0)) + u32(len(data)) + data


def main():
    optimize = int(sys.argv[1])
    warnings.simplefilter("ignore")
    read, output = sys.stdin.buffer.read, sys.stdout.buffer
    version = sys.version.split()[0].encode()
    output.write(MAGIC_NUMBER + u32(len(version)) + version)
    output.flush()
    while len(head := read(8)) == 8:
        location_length = int.from_bytes(head[:4], "little")
        source_length = int.from_bytes(head[4:], "little")
        location = read(location_length).decode("utf-8")
        output.write(answer(location, read(source_length), optimize))
        output.flush()


main()
