"""The wheel for `pip install` and `uvx`: the binary, and no Python code."""

import base64
import hashlib
import io
import time
import zipfile

from archive import Item
from binary import dotted


def write(release, folder):
    version, tag = release.version, tag_of(release.needs)
    info = f"crossmodel-{version}.dist-info"
    licences = [Item(f"{info}/licenses/{item.path}", item.data) for item in release.licences]
    items = [
        Item(f"crossmodel-{version}.data/scripts/crossmodel", release.binary, 0o755),
        Item(f"{info}/METADATA", metadata(release, [item.path for item in release.licences]).encode()),
        Item(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: crossmodel\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()),
        Item(f"{info}/sboms/crossmodel.cdx.json", release.bill),
        *licences,
    ]
    record = "".join(f"{item.path},sha256={digest(item.data)},{len(item.data)}\n" for item in items)
    items.append(Item(f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    file = folder / f"crossmodel-{version}-{tag}.whl"
    file.write_bytes(zipped(items, release.time))
    return file


def tag_of(needs):
    return f"py3-none-manylinux_{dotted(needs.glibc).replace('.', '_')}_{needs.arch}"


def metadata(release, licences):
    lines = [
        "Metadata-Version: 2.4",
        "Name: crossmodel",
        f"Version: {release.version}",
        f"Summary: {release.description}",
        f"License-Expression: {release.licence}",
        *(f"License-File: {path}" for path in licences),
        "Requires-Python: >=3.8",
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + f"\n\n{release.readme}"


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def zipped(items, seconds):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for item in items:
            entry = zipfile.ZipInfo(item.path, time.gmtime(seconds)[:6])
            entry.create_system, entry.external_attr = 3, (0o100000 | item.mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, item.data, compresslevel=6)
    return out.getvalue()
