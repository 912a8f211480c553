"""A command of Mercurial, by what the `hg` script calls: that script is no entry point."""
import sys

from mercurial import dispatch

sys.argv = ["hg", "version", "--verbose"]
dispatch.run()
