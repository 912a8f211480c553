"""What modules need to be told, once they have run."""

import os
from importlib.util import decode_source


def cache_lines(filename, location):
    """linecache.updatecache for a file in the executable, by the name that code has it under."""
    import linecache

    try:
        lines = decode_source(Importer._read(location)).splitlines(keepends=True)
    except (SyntaxError, UnicodeDecodeError):
        return []
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    # Without a time, `checkcache` takes the entry for one that no file can outdate.
    linecache.cache[filename] = len(lines), None, lines, filename
    return lines


def mend_namespace_reader(readers):
    """Keeps importlib 3.13 from taking the executable for a zip file when it looks for a package's portions."""
    resolve_zip_path = getattr(readers.NamespaceReader, "_resolve_zip_path", None)
    if resolve_zip_path is None:
        return

    def outside(path):
        return () if path.startswith(ROOT) else resolve_zip_path(path)

    readers.NamespaceReader._resolve_zip_path = staticmethod(outside)


# Where distributions of Linux keep the certificates that they trust, as one file.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Red Hat 7 and later
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)


def trust_system_certificates(ssl):
    """Lets `load_default_certs` find the system's certificates.

    OpenSSL knows one folder, that of the system that it was built on, and it is not there.
    """
    variables = ssl.get_default_verify_paths()
    original = ssl.SSLContext.load_default_certs

    def load_default_certs(self, purpose=ssl.Purpose.SERVER_AUTH):
        original(self, purpose)
        if variables.openssl_cafile_env in os.environ or variables.openssl_capath_env in os.environ:
            return
        for path in CERTIFICATES:
            if os.path.isfile(path):
                self.load_verify_locations(path)
                return

    load_default_certs.__qualname__ = original.__qualname__
    load_default_certs.__doc__ = original.__doc__
    ssl.SSLContext.load_default_certs = load_default_certs


def serve_pkg_resources(pkg_resources):
    """Teaches setuptools' pkg_resources, which knows finders and loaders by their types.

    It reads through `os` and `open`, which serve paths in the executable.
    """

    def find_projects(_, path, only=False):
        for folder in Importer._metadata_folders() if path == ROOT else ():
            yield from pkg_resources.distributions_from_metadata(f"{path}/{folder}")

    finder = type(pkg_resources.get_importer(ROOT))
    pkg_resources.register_finder(finder, find_projects)
    pkg_resources.register_loader_type(type(Importer), pkg_resources.DefaultProvider)
    # What it has gathered before it knew.
    pkg_resources._initialize_master_working_set()
