"""The npm packages: a launcher, and the binary of one platform, which npm chooses by `os`, `cpu` and `libc`."""

import json
from pathlib import Path

from archive import Item, gzipped, tar
from binary import ARCHITECTURES

LAUNCHER = Path(__file__).parent / "launcher.js"


def write(release, folder):
    cpu = ARCHITECTURES[release.needs.arch][1]
    platform = f"@crossmodel/linux-{cpu}"
    common = {"version": release.version, "description": release.description, "license": release.licence}
    launcher = {
        "name": "crossmodel",
        **common,
        "bin": {"crossmodel": "launcher.js"},
        "files": ["launcher.js"],
        "engines": {"node": ">=18"},
        "optionalDependencies": {name: release.version for name in platforms()},
    }
    own = {"name": platform, **common, "os": ["linux"], "cpu": [cpu], "libc": ["glibc"], "files": ["bin", "*.json", "*.txt"]}
    yield packed(release, folder / f"crossmodel-{release.version}.tgz", launcher, [
        Item("launcher.js", LAUNCHER.read_bytes(), 0o755),
        Item("README.md", release.readme.encode()),
        *[item for item in release.licences if item.path == "LICENSE"],
    ])  # fmt: skip
    yield packed(release, folder / f"crossmodel-linux-{cpu}-{release.version}.tgz", own, [
        Item("bin/crossmodel", release.binary, 0o755),
        Item("crossmodel.cdx.json", release.bill),
        *release.licences,
    ])  # fmt: skip


def platforms():
    return [f"@crossmodel/linux-{cpu}" for _, cpu in sorted(ARCHITECTURES.values())]


def packed(release, file, manifest, items):
    manifest = Item("package.json", (json.dumps(manifest, indent=2) + "\n").encode())
    file.write_bytes(gzipped(tar([manifest, *items], release.time, "package")))
    return file
