"""Archives that are the same whoever makes them, whenever and wherever."""

import gzip
import io
import tarfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """A file of a package."""

    path: str
    data: bytes
    mode: int = 0o644


def tar(items, time, root):
    """A tar archive of the files and their folders below `root`, sorted, and nobody's own."""
    out = io.BytesIO()
    folders, paths = set(), {f"{root}/{item.path}": item for item in items}
    for path in paths:
        parts = path.split("/")[:-1]
        folders |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for path in sorted(folders | set(paths)):
            entry, item = tarfile.TarInfo(path), paths.get(path)
            entry.mtime, entry.uname, entry.gname = time, "root", "root"
            entry.type, entry.mode = (tarfile.DIRTYPE, 0o755) if item is None else (tarfile.REGTYPE, item.mode)
            entry.size = 0 if item is None else len(item.data)
            file.addfile(entry, item and io.BytesIO(item.data))
    return out.getvalue()


def gzipped(data):
    return gzip.compress(data, compresslevel=6, mtime=0)
