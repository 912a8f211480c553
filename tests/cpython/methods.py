"""Runs one module of CPython's tests and writes what becomes of each method, a JSON line for each.

The same script is the packed application and runs under plain `python`. Arguments: the file to
append to, and the module's name. Each method has two lines, one before it runs and one with its
outcome, so that the file tells which method a crash or a hang has ended. Methods that the file
knows already are left out: the next process goes on there.
"""

import json
import os
import sys
import unittest

ORDER = ("passed", "skipped", "failed", "error")


class Result(unittest.TestResult):
    """Writes outcomes; the worst of a method's subtests is the method's."""

    def __init__(self, file):
        super().__init__()
        self.file = file
        self.outcome = self.detail = None

    def write(self, **record):
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def startTest(self, test):
        super().startTest(test)
        self.outcome, self.detail = "passed", ""
        self.write(start=test.id())

    def stopTest(self, test):
        super().stopTest(test)
        self.write(id=test.id(), outcome=self.outcome, detail=self.detail)
        self.outcome = None

    def add(self, test, outcome, detail):
        if self.outcome is None:
            # `setUpClass` and `setUpModule` have no `startTest`.
            self.write(id=test.id(), outcome=outcome, detail=detail)
        elif ORDER.index(outcome) > ORDER.index(self.outcome):
            self.outcome, self.detail = outcome, detail

    def last_lines(self, test, error):
        return self._exc_info_to_string(error, test)[-1500:]

    def addError(self, test, error):
        self.add(test, "error", self.last_lines(test, error))

    def addFailure(self, test, error):
        self.add(test, "failed", self.last_lines(test, error))

    def addSubTest(self, test, subtest, error):
        if error is not None:
            failed = issubclass(error[0], test.failureException)
            self.add(test, "failed" if failed else "error", self.last_lines(test, error))

    def addSkip(self, test, reason):
        self.add(test, "skipped", reason)

    def addUnexpectedSuccess(self, test):
        self.add(test, "failed", "unexpected success")


def without(suite, known):
    """The suite without the methods that have run; suites stay, for their classes' fixtures."""
    left = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            left.addTest(without(test, known))
        elif test.id() not in known:
            left.addTest(test)
    return left


def main():
    path, module = sys.argv[1:]
    # Tests look at the command line.
    del sys.argv[1:]
    from test import support

    # As `python -m test` without `-u`: no network, no sound, no large files.
    support.use_resources = []
    support.verbose = 0
    known = set()
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        known = {record["id"] for record in records if "id" in record}
    # Some tests close descriptors, or count them.
    with open(path, "a", encoding="utf-8") as file:
        result = Result(file)
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName(module)
        except unittest.SkipTest as skip:
            result.write(id=module, outcome="skipped", detail=str(skip))
        else:
            without(suite, known).run(result)
        result.write(end=True)
    # What threads and children the tests have left must not keep the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
