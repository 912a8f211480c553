"""A repository with one archive, by the command line that the project installs."""
import os
import sys

from borg.archiver import main

os.environ |= {"BORG_PASSPHRASE": "secret", "BORG_BASE_DIR": os.getcwd(), "BORG_EXIT_CODES": "modern"}


def borg(*arguments):
    """Runs a command; gives its exit status."""
    sys.argv = ["borg", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code


with open("note.txt", "w") as stream:
    stream.write("a note\n" * 1000)
print(borg("--version")[0])
print(borg("init", "--encryption=repokey-blake2", "store")[0])
print(borg("create", "--compression=lz4", "store::first", "note.txt")[0])
print(borg("list", "--format={path} {size}{NL}", "store::first"), flush=True)
print(borg("check", "--verify-data", "store")[0])
os.rename("note.txt", "kept.txt")
print(borg("extract", "store::first")[0], open("note.txt").read() == open("kept.txt").read())
