"""Tells whether this distribution works: imports every built-in module and uses those with libraries.

The archive holds it as `build/run_tests.py`, the place where the format expects the distribution's own
tests; CPython's test suite is not in the archive. Exit status 1 and one line per module that fails.
"""

import importlib
import sys

failed = False
for name in sys.builtin_module_names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed = True
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)

import bz2
import ctypes
import curses
import decimal
import hashlib
import lzma
import readline
import sqlite3
import ssl
import uuid
import xml.etree.ElementTree
import zlib


def check(what, ok):
    global failed
    if not ok:
        failed = True
        print(f"{what}: wrong answer", file=sys.stderr)


for codec in (bz2, lzma, zlib):
    check(codec.__name__, codec.decompress(codec.compress(b"pyox")) == b"pyox")
check("ctypes", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(41) == 42)
check("curses", hasattr(curses, "unget_wch"))
check("decimal", decimal.Decimal("0.1") * 3 == decimal.Decimal("0.3"))
check("hashlib", hashlib.new("sha512", b"").digest() == hashlib.sha512(b"").digest())
check("readline", "libedit" in readline.__doc__)
check("sqlite3", sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,))
check("ssl", ssl.create_default_context().check_hostname)
check("uuid", uuid.uuid1().version == 1)
check("xml", xml.etree.ElementTree.fromstring("<a><b/></a>")[0].tag == "b")
sys.exit(failed)
