"""What modules need to be told, once they have run."""

import os


def register_importer(abc):
    """Makes the importer an instance of the classes whose methods it has."""
    for name in "MetaPathFinder", "ExecutionLoader", "ResourceLoader":
        getattr(abc, name).register(type(Importer))


def mend_namespace_reader(readers):
    """Keeps importlib 3.13 from taking the executable for a zip file when it looks for a package's portions."""
    resolve_zip_path = getattr(readers.NamespaceReader, "_resolve_zip_path", None)
    if resolve_zip_path is None:
        return

    def outside(path):
        return () if path.startswith(ROOT) else resolve_zip_path(path)

    readers.NamespaceReader._resolve_zip_path = staticmethod(outside)


def locate_real_files(metadata):
    """Lets projects locate the files of packages that have real ones."""
    original = metadata.PathDistribution.locate_file

    def locate_file(self, path):
        located = original(self, path)
        packed = os.path.normpath(located)
        if packed.startswith(ROOT + "/"):
            real = Importer._real_path(packed[len(ROOT) + 1 :])
            return type(located)(real) if real else located
        return located

    metadata.PathDistribution.locate_file = locate_file


def let_strict_paths_pass(posixpath):
    """Lets `realpath(strict=True)` pass the executable, which it takes for no folder since 3.13."""
    original = posixpath.realpath

    def realpath(filename, *, strict=False):
        try:
            return original(filename, strict=strict)
        except NotADirectoryError:
            path = original(filename)
            os.lstat(path)
            return path

    for name in "__doc__", "__module__", "__name__", "__qualname__":
        setattr(realpath, name, getattr(original, name))
    posixpath.realpath = realpath


# Where distributions of Linux keep the certificates that they trust, as one file.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Red Hat 7 and later
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)


def trust_system_certificates(ssl):
    """Lets a context find the system's certificates when it is told to load the default ones.

    OpenSSL knows one file and one folder, those of the system that it was built on.
    """
    variables = ssl.get_default_verify_paths()
    original = ssl.SSLContext.set_default_verify_paths

    def set_default_verify_paths(self):
        original(self)
        if variables.openssl_cafile_env in os.environ or variables.openssl_capath_env in os.environ:
            return
        if _has_hashed_names(variables.openssl_capath):
            return
        for path in CERTIFICATES:
            if os.path.isfile(path):
                self.load_verify_locations(path)
                return

    ssl.SSLContext.set_default_verify_paths = set_default_verify_paths


def _has_hashed_names(folder):
    """Whether OpenSSL can find certificates in a folder: `1c7314a2.0` and the like."""
    import re

    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return any(re.fullmatch("[0-9a-f]{8}\\.[0-9]+", name) for name in names)


def serve_pkg_resources(pkg_resources):
    """Teaches setuptools' pkg_resources, which knows finders and loaders by their types."""
    finder = type(pkg_resources.get_importer(ROOT))
    pkg_resources.register_finder(finder, pkg_resources.find_on_path)
    pkg_resources.register_loader_type(type(Importer), pkg_resources.DefaultProvider)
    # What it has gathered before it knew.
    pkg_resources._initialize_master_working_set()
