"""A third-party packer: `pyox.manifest/1` in, a blob out.

Written from docs/formats/blob.md alone and sharing nothing with pyox, so that the specification
is held to what it says: the tests link, import and run the blob that this makes. It uses the
standard library only, so it stores every file as it is (no zstd), and it compiles with the
interpreter that runs it, which therefore has to be of the distribution's minor version.
With `--groups` code and sources lie in groups, whose zstd frames hold their bytes as they are.

    python packer.py -m MANIFEST.json -o OUT.blob
"""

import argparse
import hashlib
import importlib.util
import json
import marshal
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

MAGIC = b"PYOXBLOB"
HEADER_SIZE, SECTION_ENTRY_SIZE = 64, 32
ALIGNMENT, PAGE = 16, 4096

# Section codes, in the order in which the sections lie in the blob.
CONFIG, MODULES, MODULE_INDEX, FILES, FILE_INDEX, NEEDS, PROJECTS, STRINGS, CODE, DATA, COLD, GROUPS = range(1, 13)

MODULE_KINDS = {"module": 1, "package": 2, "namespace-package": 3}
EXTENSION, BUILTIN = 4, 5
FILE_KINDS = {"module": 1, "package": 1, "package-data": 2, "metadata": 3, "extension-module": 4, "shared-library": 5}
FLAG_PACKAGE = 1
PLACEMENTS = {"cache": 0, "beside": 1}
STORED, GROUPED = 0, 2
GROUP_SIZE = 100_000


# --- The configuration record: bincode 2.0.1, standard configuration.


def varint(number):
    if number < 251:
        return bytes([number])
    for tag, shape in ((251, "<H"), (252, "<I"), (253, "<Q")):
        if number < 1 << 8 * struct.calcsize(shape):
            return bytes([tag]) + struct.pack(shape, number)
    raise ValueError(f"{number}: does not fit 64 bits")


def string(text):
    data = text.encode()
    return varint(len(data)) + data


def vector(items):
    return varint(len(items)) + b"".join(items)


def attribute(setting):
    """The value of an attribute of `sys`: the one setting that can be a bool."""
    return varint(3) + bytes([setting]) if isinstance(setting, bool) else value(setting)


def value(setting):
    if isinstance(setting, int):  # True and False too: they are 1 and 0.
        number = int(setting)
        return varint(0) + varint(number << 1 if number >= 0 else (-number << 1) - 1)
    if isinstance(setting, str):
        return varint(1) + string(setting)
    return varint(2) + vector([string(item) for item in setting])


def run(document):
    match document["mode"]:
        case "repl":
            return varint(0)
        case "module":
            return varint(1) + string(document["module"])
        case "script":
            return varint(2)
        case "code":
            return varint(3) + string(document["code"])
        case "entry-point":
            return varint(4) + string(document["module"]) + string(document["function"])
        case mode:
            raise SystemExit(f"packer.py: error: run: unknown mode {mode}")


def config_record(manifest):
    settings = [
        vector([string(name) + value(setting) for name, setting in sorted(manifest.get(key, {}).items())])
        for key in ("preconfig", "config")
    ]
    return b"".join([
        bytes(sys.version_info[:2]),
        varint(int.from_bytes(importlib.util.MAGIC_NUMBER, "little")),
        string(manifest["distribution"]["sha256"]),
        run(manifest["run"]),
        *settings,
        bytes([{False: 0, True: 1, None: 2}[manifest.get("interpreter")]]),
        vector([
            string(package) + varint(PLACEMENTS[placement])
            for package, placement in sorted(manifest.get("placements", {}).items())
            if placement != "memory"
        ]),
        vector([string(name) + attribute(setting) for name, setting in sorted(manifest.get("sys", {}).items())]),
        vector([string(folder) for folder in manifest.get("search_path", [])]),
        vector([string(name) + string(text) for name, text in sorted(manifest.get("environment", {}).items())]),
        b"\1" + string(manifest["module_lists"]) if "module_lists" in manifest else b"\0",
    ])


# --- Sections.


def aligned(length, to):
    return -length % to


class Payloads:
    """A section of payloads: each is put at a multiple of 16 and found by its offset in the section."""

    def __init__(self):
        self.data = bytearray()

    def add(self, payload):
        if not payload:
            return None
        self.data += bytes(aligned(len(self.data), ALIGNMENT))
        offset = len(self.data)
        self.data += payload
        return offset


class Groups:
    """Payloads in groups: each is found by a group's number and an offset in the group."""

    def __init__(self):
        self.groups = []

    def add(self, payload):
        if not self.groups or len(self.groups[-1]) + len(payload) > GROUP_SIZE:
            self.groups.append(bytearray())
        offset = len(self.groups[-1])
        self.groups[-1] += payload
        return len(self.groups) - 1, offset

    def frames(self):
        return [zstd_frame(group) for group in self.groups]


def zstd_frame(data):
    """A frame (RFC 8878) whose blocks are raw: nothing is compressed. It has one segment, and its content's size in 4 bytes."""
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))
    for start in range(0, len(data), 1 << 16):
        block = data[start : start + (1 << 16)]
        is_last = start + len(block) == len(data)
        frame += struct.pack("<I", len(block) << 3 | is_last)[:3] + block
    return frame


class Strings:
    def __init__(self):
        self.data = bytearray()
        self.known = {}

    def add(self, text):
        """Offset and length, as a record holds them."""
        encoded = text.encode()
        if text not in self.known:
            self.known[text] = len(self.data)
            self.data += encoded
        return struct.pack("<II", self.known[text], len(encoded))


def fnv1a(name):
    number = 0xCBF29CE484222325
    for byte in name.encode():
        number = (number ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return number


def index(names):
    """The hash index over records that are sorted by these names."""
    size = 1
    while size < 2 * len(names):
        size *= 2
    slots = [(0, 0)] * size
    for number, name in enumerate(names):
        digest = fnv1a(name)
        at = digest % size
        while slots[at][1]:
            at = (at + 1) % size
        slots[at] = (digest >> 32, number + 1)
    return b"".join(struct.pack("<II", *slot) for slot in slots)


# --- What goes into them.


def file_name_at(code, location):
    """Where marshalled code has the name of its file: a string's type, its length, and the text, the first time."""
    text = location.encode()
    for types, length in ((b"zZ", "<B"), (b"aAut", "<I")):
        if length == "<B" and len(text) > 255:
            continue
        at = code.find(struct.pack(length, len(text)) + text) - 1
        if at > 0 and code[at] & 0x7F in types:
            return at
    return 0  # not known


class Packer:
    def __init__(self, manifest, with_groups=False):
        self.manifest = manifest
        self.groups = Groups()
        self.with_groups = with_groups
        self.level = manifest.get("bytecode", {}).get("optimize", 0)
        self.keep_sources = manifest.get("bytecode", {}).get("sources", True)
        self.projects = sorted(manifest["projects"], key=lambda project: project["name"].encode())
        self.project_numbers = {project["name"]: n for n, project in enumerate(self.projects)}
        self.files = {}  # path -> (kind, project, bytes, needs)
        self.file_names = {}  # name -> where its code has the name of its file
        self.modules = {}  # name -> (kind, flags, project, code, path of its file)

    def collect(self):
        for resource in self.manifest["resources"]:
            self.collect_resource(resource)

    def collect_resource(self, resource):
        kind, name = resource["kind"], resource["name"]
        project = self.project_numbers[resource["project"]]
        location = resource.get("location")
        payload = self.payload(resource)
        if kind == "namespace-package":
            self.modules[name] = MODULE_KINDS[kind], 0, project, b"", None
        elif kind == "extension-module":
            flags = FLAG_PACKAGE if resource.get("package") else 0
            if payload is None:
                self.modules[name] = BUILTIN, flags, project, b"", None
            else:
                self.modules[name] = EXTENSION, flags, project, b"", location
                self.files[location] = FILE_KINDS[kind], project, payload, resource.get("needs", [])
        elif kind in ("module", "package"):
            code = self.compile(location, payload)
            if code is None:
                self.files[location] = FILE_KINDS["package-data"], project, payload, []
                return
            self.modules[name] = MODULE_KINDS[kind], 0, project, code, location if self.keep_sources else None
            self.file_names[name] = file_name_at(code, location)
            if self.keep_sources:
                self.files[location] = FILE_KINDS[kind], project, payload, []
        else:
            self.files[location] = FILE_KINDS[kind], project, payload, resource.get("needs", [])

    def payload(self, resource):
        reference = resource.get("payload")
        if reference is None:
            return None
        data = Path(reference["path"]).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != reference["sha256"]:
            raise SystemExit(
                f"packer.py: error: {resource['name']}: digest mismatch: "
                f"manifest {reference['sha256'][:12]}, file {found[:12]}"
            )
        return data

    def compile(self, location, source):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return marshal.dumps(compile(source, location, "exec", dont_inherit=True, optimize=self.level))
        except (SyntaxError, ValueError) as error:
            print(f"packer.py: warning: {location}: kept as data: {error}", file=sys.stderr)
            return None

    def blob(self):
        strings, code, data = Strings(), Payloads(), Payloads()
        # Offsets in records count from the blob's beginning. Everything before `strings` has a length
        # that is known by now, and code and data follow, so the records can be made in two steps:
        # payloads first, then records with the bases added.
        module_names = sorted(self.modules, key=str.encode)
        file_paths = sorted(self.files, key=str.encode)
        file_numbers = {path: n for n, path in enumerate(file_paths)}
        is_grouped = lambda kind, payload: self.with_groups and kind == FILE_KINDS["module"] and payload
        code_at, code_group, data_at, data_group = {}, {}, {}, {}
        for name in module_names:
            payload = self.modules[name][3]
            if self.with_groups and payload:
                code_group[name] = self.groups.add(payload)
            else:
                code_at[name] = code.add(payload)
        for path in file_paths:
            kind, _, payload, _ = self.files[path]
            if is_grouped(kind, payload):
                data_group[path] = self.groups.add(payload)
            else:
                data_at[path] = data.add(payload)
        frames = self.groups.frames()
        name_at = {name: strings.add(name) for name in module_names}
        path_at = {path: strings.add(path) for path in file_paths}
        projects = b"".join(
            strings.add(project["name"]) + strings.add(project.get("version") or "") for project in self.projects
        )
        needs, needs_at = bytearray(), {}
        for path in file_paths:
            needs_at[path] = len(needs) // 4
            for need in self.files[path][3]:
                needs += struct.pack("<I", file_numbers[need])

        sections = {
            CONFIG: (config_record(self.manifest), 0),
            MODULES: (bytes(48 * len(module_names)), len(module_names)),
            MODULE_INDEX: (index(module_names), None),
            FILES: (bytes(56 * len(file_paths)), len(file_paths)),
            FILE_INDEX: (index(file_paths), None),
            NEEDS: (bytes(needs), len(needs) // 4),
            PROJECTS: (projects, len(self.projects)),
            STRINGS: (bytes(strings.data), 0),
            CODE: (bytes(code.data), 0),
            DATA: (bytes(data.data), 0),
            COLD: (b"".join(frames), 0),
        }
        if frames:
            sections[GROUPS] = bytes(24 * len(frames)), len(frames)
        for kind in (MODULE_INDEX, FILE_INDEX):
            sections[kind] = sections[kind][0], len(sections[kind][0]) // 8
        offsets, end = {}, HEADER_SIZE + SECTION_ENTRY_SIZE * len(sections)
        for kind, (content, _) in sections.items():
            end += aligned(end, PAGE if kind in (DATA, COLD) else ALIGNMENT)
            offsets[kind] = end
            end += len(content)

        def absolute(at, section):
            return 0 if at is None else at + offsets[section]

        modules = bytearray()
        for name in module_names:
            kind, flags, project, payload, path = self.modules[name]
            number, at = code_group.get(name, (-1, None))
            record = struct.pack(
                "<QIIIHHIII",
                absolute(code_at[name], CODE) if at is None else at,
                len(payload),
                zlib.crc32(payload),
                0 if path is None else file_numbers[path] + 1,
                kind,
                flags,
                project,
                self.file_names.get(name, 0),
                number + 1,
            )
            modules += name_at[name] + record + struct.pack("<I", zlib.crc32(name.encode() + record))
        files = bytearray()
        for path in file_paths:
            kind, project, payload, needed = self.files[path]
            number, at = data_group.get(path, (None, None))
            record = struct.pack(
                "<QQQIHHIII",
                absolute(data_at[path], DATA) if at is None else at,
                len(payload) if at is None else number,
                len(payload),
                zlib.crc32(payload),
                kind,
                STORED if at is None else GROUPED,
                project,
                needs_at[path],
                len(needed),
            )
            files += path_at[path] + record + struct.pack("<I", zlib.crc32(path.encode() + record))
        sections[MODULES] = bytes(modules), len(module_names)
        sections[FILES] = bytes(files), len(file_paths)
        groups, frame_at = bytearray(), offsets[COLD]
        for frame, group in zip(frames, self.groups.groups):
            record = struct.pack("<QIII", frame_at, len(frame), len(group), zlib.crc32(frame))
            groups += record + struct.pack("<I", zlib.crc32(record))
            frame_at += len(frame)
        if frames:
            sections[GROUPS] = bytes(groups), len(frames)

        table, body = bytearray(), bytearray()
        for kind, (content, count) in sections.items():
            table += struct.pack("<IIQQQ", kind, zlib.crc32(content), offsets[kind], len(content), count)
        body += table
        for kind, (content, _) in sections.items():
            body += bytes(offsets[kind] - HEADER_SIZE - len(body))
            body += content
        header = MAGIC + struct.pack("<HHIQ", *((2, 0) if frames else (1, 1)), len(sections), HEADER_SIZE + len(body))
        header += hashlib.sha256(body).digest() + struct.pack("<I", zlib.crc32(table))
        return header + struct.pack("<I", zlib.crc32(header)) + body


def main():
    parser = argparse.ArgumentParser(description="Pack a pyox.manifest/1 into a blob.")
    parser.add_argument("-m", "--manifest", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--groups", action="store_true")
    arguments = parser.parse_args()
    manifest = json.loads(arguments.manifest.read_bytes())
    if manifest.get("schema") != "pyox.manifest/1":
        raise SystemExit(f"packer.py: error: {arguments.manifest}: expected a pyox.manifest/1")
    minor = tuple(map(int, manifest["distribution"]["version"].split(".")[:2]))
    if minor != sys.version_info[:2]:
        raise SystemExit(f"packer.py: error: python: expected {minor[0]}.{minor[1]}, running on {sys.version.split()[0]}")
    packer = Packer(manifest, arguments.groups)
    packer.collect()
    temporary = arguments.output.with_name(arguments.output.name + f".{os.getpid()}.tmp")
    temporary.write_bytes(packer.blob())
    temporary.replace(arguments.output)


if __name__ == "__main__":
    main()
