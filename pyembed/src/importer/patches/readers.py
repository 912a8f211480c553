"""Keeps importlib 3.13 from taking the executable for a zip file when it looks for a package's portions."""


def patch(readers):
    resolve_zip_path = getattr(readers.NamespaceReader, "_resolve_zip_path", None)
    if resolve_zip_path is None:
        return

    def outside(path):
        return () if path.startswith(ROOT) else resolve_zip_path(path)

    readers.NamespaceReader._resolve_zip_path = staticmethod(outside)
