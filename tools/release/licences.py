"""The licence texts of all crates in the binary, and of the C code that some of them bring along."""

import re
from pathlib import Path

import sbom

TEXT = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)([-._].*)?", re.IGNORECASE)
# Code in one of these, and not a text.
CODE = {".c", ".h", ".py", ".rs", ".toml", ".sh"}


def texts(data):
    """Each text once, below the crates that have it."""
    root = data["resolve"]["root"]
    packages = {package["id"]: package for package in data["packages"]}
    owners, without = {}, []
    for package in (packages[name] for name in sbom.linked(data) if name != root):
        title = f"{package['name']} {package['version']} ({package['license']})"
        folder = Path(package["manifest_path"]).parent
        found = {file.read_text(errors="replace").strip() for file in folder.rglob("*") if is_text(file)}
        for text in found:
            owners.setdefault(text, []).append(title)
        if not found:
            without.append(title)
    parts = sorted((sorted(titles), text) for text, titles in owners.items())
    if without:
        parts.append((sorted(without), "These come without a text. Their licence is the one that is named above."))
    rule = "=" * 80
    return "\n".join(f"{rule}\n" + "\n".join(titles) + f"\n{rule}\n\n{text}\n" for titles, text in parts)


def is_text(file):
    return TEXT.fullmatch(file.name) is not None and file.suffix not in CODE and file.is_file()
