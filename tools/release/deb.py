"""The Debian package: the binary, a unit for systemd, and its configuration, which an upgrade keeps."""

import os
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path

from archive import Item, gzipped
from binary import ARCHITECTURES, dotted

CONFIGURATION = "etc/crossmodel/crossmodel.yaml"
# The store in /var/lib/crossmodel, with keys and money, is nobody's to remove but the operator's.
SCRIPTS = {
    "postinst": """\
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    if [ -n "$2" ]; then systemctl try-restart crossmodel.service || true; fi
fi
""",
    "prerm": """\
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now crossmodel.service || true
fi
""",
    "postrm": """\
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
""",
}


def write(release, folder):
    arch = ARCHITECTURES[release.needs.arch][0]
    file = folder / f"crossmodel_{release.version}-1_{arch}.deb"
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        items = list(installed(release))
        for item in items:
            place(root / item.path, item)
        size = sum(len(item.data) for item in items) // 1024 + 1
        place(root / "DEBIAN/control", Item("", control(release, arch, size).encode()))
        place(root / "DEBIAN/conffiles", Item("", f"/{CONFIGURATION}\n".encode()))
        for name, text in SCRIPTS.items():
            place(root / "DEBIAN" / name, Item("", f"#!/bin/sh\nset -e\n{text}".encode(), 0o755))
        root.chmod(0o755)
        for path in root.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(release.time)}
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, file]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return file


def place(path, item):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(item.data)
    path.chmod(item.mode)


def installed(release):
    share, doc = "usr/share", "usr/share/doc/crossmodel"
    unit = release.file("conf/crossmodel.service").replace(b"/usr/local/bin/", b"/usr/bin/")
    yield Item("usr/bin/crossmodel", release.binary, 0o755)
    yield Item("usr/lib/systemd/system/crossmodel.service", unit)
    yield Item(CONFIGURATION, release.file("conf/service.yaml"))
    for page in release.pages:
        yield Item(f"{share}/man/man1/{page.path}.gz", gzipped(page.data))
    yield Item(f"{share}/bash-completion/completions/crossmodel", release.completions["bash"])
    yield Item(f"{share}/zsh/vendor-completions/_crossmodel", release.completions["zsh"])
    yield Item(f"{share}/fish/vendor_completions.d/crossmodel.fish", release.completions["fish"])
    yield Item(f"{doc}/copyright", copyright_file(release).encode())
    yield Item(f"{doc}/changelog.gz", gzipped(release.file("CHANGELOG.md")))
    yield Item(f"{doc}/changelog.Debian.gz", gzipped(changelog(release).encode()))
    yield Item(f"{doc}/crossmodel.cdx.json", release.bill)
    for item in release.licences:
        if item.path != "LICENSE":
            yield Item(f"{doc}/{item.path}.gz", gzipped(item.data))


def maintainer():
    return os.environ.get("CROSSMODEL_MAINTAINER", "The CrossModel authors <crossmodel@example.org>")


def control(release, arch, size):
    return f"""\
Package: crossmodel
Version: {release.version}-1
Architecture: {arch}
Maintainer: {maintainer()}
Installed-Size: {size}
Depends: libc6 (>= {dotted(release.needs.glibc)}), libgcc-s1, ca-certificates
Section: net
Priority: optional
Description: LLM gateway with one base URL and one key for every model
 Clients speak OpenAI Chat Completions, OpenAI Responses, Anthropic Messages or
 Gemini's API, whichever of them the provider speaks. The gateway has keys,
 accounts, prices, budgets, fail-over and metrics.
"""


def changelog(release):
    return f"""\
crossmodel ({release.version}-1) unstable; urgency=medium

  * Release {release.version}; changelog.gz says what is new.

 -- {maintainer()}  {formatdate(release.time)}
"""


def copyright_file(release):
    return f"""\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: crossmodel

Files: *
Copyright: The CrossModel authors
License: Apache-2.0
 On Debian systems, the text of the licence is in
 /usr/share/common-licenses/Apache-2.0.
Comment:
 The binary contains other people's crates. THIRD-PARTY-LICENSES.txt.gz has
 their licences, and crossmodel.cdx.json lists them.
"""
