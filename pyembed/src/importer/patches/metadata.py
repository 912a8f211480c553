"""Lets projects locate the files of packages that have real ones."""

import os


def patch(metadata):
    original = metadata.PathDistribution.locate_file

    def locate_file(self, path):
        located = original(self, path)
        packed = os.path.normpath(located)
        if packed.startswith(ROOT + "/"):
            real = Importer._real_path(packed[len(ROOT) + 1 :])
            return type(located)(real) if real else located
        return located

    metadata.PathDistribution.locate_file = locate_file
