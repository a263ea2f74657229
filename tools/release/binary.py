"""What a binary needs of the machine that it runs on."""

import re
import subprocess
from dataclasses import dataclass

# The oldest glibc that a build here may need: that of Ubuntu 22.04, Debian 12 and RHEL 9. `tools/release/build` gets
# below it where it can.
NEWEST_GLIBC = (2, 34)
# All of them belong to every such system.
LIBRARIES = re.compile(r"lib(c|m|gcc_s|dl|pthread|rt)\.so\.\d+|ld-linux-[\w-]+\.so\.\d")
# The name of a processor to Debian's packages and to npm's.
ARCHITECTURES = {"x86_64": ("amd64", "x64"), "aarch64": ("arm64", "arm64")}
# 25 MB today, a quarter of which are the names of functions.
MAX_BINARY_BYTES = 32 << 20


class Unfit(Exception):
    """Why a binary is not for other machines."""


@dataclass(frozen=True)
class Needs:
    arch: str
    glibc: tuple[int, int]
    libraries: tuple[str, ...]


def needs(path):
    """Reads them from the file's dynamic section."""
    said = subprocess.run(["objdump", "-p", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    arch = re.search(r"file format elf64-(x86-64|littleaarch64)", said)
    if not arch:
        raise Unfit(f"{path} is no ELF binary of a processor that is known here")
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"\bGLIBC_(2\.\d+)", said)}
    libraries = tuple(sorted(re.findall(r"^\s+NEEDED\s+(\S+)", said, re.MULTILINE)))
    return Needs("x86_64" if arch[1] == "x86-64" else "aarch64", max(versions, default=(2, 17)), libraries)


def fit(path, newest=NEWEST_GLIBC):
    """What the binary needs, if other machines have all of it."""
    found = needs(path)
    if other := [name for name in found.libraries if not LIBRARIES.fullmatch(name)]:
        raise Unfit(f"{path} needs {', '.join(other)}, which not every system has")
    if found.glibc > newest:
        raise Unfit(f"{path} needs glibc {dotted(found.glibc)}; the newest that it may need is {dotted(newest)}")
    if (size := path.stat().st_size) > MAX_BINARY_BYTES:
        raise Unfit(f"{path} has {size} bytes, and may have {MAX_BINARY_BYTES}: cargo build --profile dist")
    return found


def dotted(version):
    return ".".join(map(str, version))
