"""Checks what `CORPUS_OUT=FOLDER cargo test --test corpus` has written, with the validators beside the project.

    validate.py FOLDER

Every request must be one that its provider's protocol knows, every answer must keep its client's grammar, and
an answer must say the same in all protocols: text, reasoning, calls, the reason why it ends, and usage. The
last line says how many of these checks passed and failed. Without validators there is nothing to do, and the
script says so.
"""

import collections
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SHOWN = 12


def main(folder):
    if not (SHARED / "validators").is_dir():
        print("skipped: there are no validators beside the project")
        return 0
    sys.path.insert(0, str(SHARED / "validators"))
    global rlib, vlib
    import rlib
    import vlib

    passed, failed = collections.Counter(), collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).glob("*/*")):
        source, target = path.parent.name.split("-")
        kind = next(kind for kind in ("request.json", "json", "sse") if path.name.endswith(f".{kind}"))
        name = path.name.removesuffix(f".{kind}")
        for what, why in check(source, target, name, kind, path):
            if why is None:
                passed[what] += 1
            else:
                failed[what].append(f"{path.parent.name}/{path.name}: {why}")
    for what in sorted({*passed, *failed}):
        print(f"{what}: {passed[what]} passed, {len(failed[what])} failed")
        for line in failed[what][:SHOWN]:
            print(f"  {line[:400]}")
    bad = sum(map(len, failed.values()))
    print(f"{sum(passed.values())} passed, {bad} failed")
    return 1 if bad else 0


def check(source, target, name, kind, path):
    """Yields what was checked and, if it failed, why."""
    raw = path.read_bytes()
    if kind == "request.json":
        report = rlib.check_request(target, json.loads(raw))
        yield f"request {source}>{target}", first(report)
    elif kind == "json":
        obj = json.loads(raw)
        report, _ = pair(vlib.check_body(target, obj))
        yield f"answer {source}>{target}", first(report)
        yield f"meaning {source}>{target}", difference(source, name, vlib.digest(target, obj=obj))
    else:
        report, _ = pair(vlib.check_stream(target, raw, include_usage=True if target == "chat" else None))
        yield f"stream {source}>{target}", first(report)
        yield f"meaning of stream {source}>{target}", difference(source, name, vlib.digest(target, raw=raw))


def pair(result):
    return result if isinstance(result, tuple) else (result, None)


def first(report):
    errors = report.errors()
    return None if not errors else "; ".join(f"{code} {message}" for _, code, message in errors[:2])


def difference(source, name, got):
    folder = SHARED / "corpus" / source / name
    stream, whole = folder / "response.sse", folder / "response.json"
    if stream.exists():
        wanted = vlib.digest(source, raw=stream.read_bytes())
    else:
        wanted = vlib.digest(source, obj=json.loads(whole.read_bytes()))
    wrong = [f"{key}: {short(wanted[key])} became {short(got[key])}" for key in wanted if same(key, wanted) != same(key, got)]
    return "; ".join(wrong) or None


def same(key, digest):
    value = digest[key]
    if key in ("text", "reasoning"):
        # Blank lines stand between blocks in one protocol and not in another.
        return "".join((value or "").split())
    if key == "refusal":
        return None
    if key == "tools":
        return json.dumps(value, sort_keys=True)
    if key == "usage":
        return [number or 0 for number in value]
    return value


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 120 else text[:117] + "..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
