"""Lets a context find the system's certificates when it is told to load the default ones.

OpenSSL knows one file and one folder, those of the system that it was built on.
"""

import os

# Where distributions of Linux keep the certificates that they trust, as one file.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Red Hat 7 and later
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD
)


def patch(ssl):
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
