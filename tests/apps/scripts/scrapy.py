"""Makes a project and a spider from scrapy's templates."""
import os
import sys
from pathlib import Path

from scrapy.cmdline import execute


def command(*arguments):
    sys.argv[1:] = arguments
    try:
        execute(["scrapy", *arguments])
    except SystemExit as end:
        print("status", end.code)


command("startproject", "shop")
for path in sorted(Path("shop").rglob("*")):
    print(path, oct(path.stat().st_mode & 0o777), path.stat().st_size if path.is_file() else "")
os.chdir("shop")
command("genspider", "books", "books.example")
print(Path("shop/spiders/books.py").read_text())
