"""What importlib.metadata wants to know of the projects in the executable."""

import pathlib
from importlib import metadata


class Distribution(metadata.Distribution):
    """A project in the executable, by its `.dist-info` folder."""

    def __init__(self, folder):
        self._folder = folder

    def read_text(self, filename):
        data = Importer._read(f"{self._folder}/{filename}")
        return None if data is None else data.decode("utf-8")

    def locate_file(self, path):
        # What code gets from an installed project, and it hands it to all that takes a path.
        location = str(path)
        return pathlib.Path(Importer._real_path(location) or f"{ROOT}/{location}")

    @property
    def _normalized_name(self):
        return _project(self._folder)


def find_distributions(context=None):
    """The projects that a `DistributionFinder.Context` asks for."""
    given = {} if context is None else vars(context)
    if ROOT not in given.get("path", [ROOT]):
        # A search in other folders.
        return
    name = getattr(context, "name", None)
    wanted = None if name is None else metadata.Prepared.normalize(name)
    for folder in Importer._metadata_folders():
        if wanted is None or _project(folder) == wanted:
            yield Distribution(folder)


def _project(folder):
    return metadata.Prepared.normalize(folder.partition("-")[0])
