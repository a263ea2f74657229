#!/usr/bin/env python3
"""Writes a bill of materials (CycloneDX 1.6) of what the gateway is built from to standard output.

It lists the crates of a default build for Linux, with their licences and checksums, and who needs whom; crates that
only tests and build scripts need are left out, as `cargo tree` does with `--edges normal`.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PLATFORM = "x86_64-unknown-linux-gnu"


def metadata():
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", PLATFORM]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def linked(data):
    """The packages that end up in the binary, and the ones that each of them needs."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    needs, todo = {}, [data["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package not in needs:
            normal = [d["pkg"] for d in nodes[package]["deps"] if any(k["kind"] is None for k in d["dep_kinds"])]
            needs[package] = sorted(normal)
            todo += normal
    return needs


def component(package, checksums):
    name, version = package["name"], package["version"]
    made = {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
        "scope": "required",
    }
    if package["license"]:
        # Older crates write "A/B" for "A OR B".
        made["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if checksum := checksums.get((name, version)):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return made


def bill(data):
    """The bill of materials of what `cargo metadata` describes."""
    packages = {package["id"]: package for package in data["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    needs, root = linked(data), data["resolve"]["root"]
    made = {package: component(packages[package], checksums) for package in needs}
    refs = {package: made[package]["bom-ref"] for package in made}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**made[root], "type": "application"}},
        "components": [made[package] for package in sorted(made, key=refs.get) if package != root],
        "dependencies": [
            {"ref": refs[package], "dependsOn": [refs[other] for other in needs[package]]}
            for package in sorted(made, key=refs.get)
        ],
    }


if __name__ == "__main__":
    json.dump(bill(metadata()), sys.stdout, indent=1)
    print()
