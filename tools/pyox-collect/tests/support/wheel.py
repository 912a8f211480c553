"""Makes a wheel: NAME-VERSION-TAGS, its files as a JSON list of pairs, and what is wrong with its RECORD."""

import base64
import hashlib
import json
import sys
import zipfile

name, files, forge = sys.argv[1:]
project, version = name.split("-")[:2]
folder = f"{project}-{version}.dist-info"
tags = "-".join(name.split("-")[2:]) or "py3-none-any"
metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
files = dict(json.loads(files))
files[f"{folder}/METADATA"] = metadata + files.pop("METADATA", "")
files[f"{folder}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tags}\n"
if "entry_points.txt" in files:
    files[f"{folder}/entry_points.txt"] = files.pop("entry_points.txt")
record = []
for path, text in files.items():
    digest = hashlib.sha256(text.encode()).digest()
    digest = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    record.append(f"{path},sha256={digest},{len(text)}")
if forge == "missing":
    record.append(f"{project}/missing.py,sha256={digest},1")
if forge == "wrong":
    record[0] = record[0].split(",")[0] + ",sha256=" + "A" * 43 + ",1"
if forge == "outside":
    record.append(f"{project}/../../../../etc/passwd,,")
record.append(f"{folder}/RECORD,,")
wheel = f"{project}-{version}-{tags}.whl"
with zipfile.ZipFile(wheel, "w") as archive:
    for path, text in files.items():
        archive.writestr(path, text)
    archive.writestr(f"{folder}/RECORD", "\n".join(record) + "\n")
print(wheel)
