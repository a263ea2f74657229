"""Checks what `CORPUS_OUT=FOLDER cargo test --test corpus` has written, with the validators beside the project.

    validate.py FOLDER

Every request must be one that its provider's protocol knows, every answer must keep its client's grammar, and
an answer must say the same in all protocols: text, reasoning, calls, the reason why it ends, and usage. Where it
does not, `explained.py` has to know why. The last lines say how many of these checks passed, which were explained
and by what, and how many were not. Without validators there is nothing to do, and the script says so.
"""

import collections
import json
import pathlib
import re
import sys

from explained import Case, Difference, explained, squeezed

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def main(folder):
    if not (SHARED / "validators").is_dir():
        print("skipped: there are no validators beside the project")
        return 0
    sys.path.insert(0, str(SHARED / "validators"))
    global rlib, vlib
    import rlib
    import vlib

    passed, reasons, unexplained = collections.Counter(), collections.Counter(), []
    for path in sorted(pathlib.Path(folder).glob("*/*")):
        for what, differences in check(path):
            whys = [explained(difference) for difference in differences]
            unknown = [d for d, why in zip(differences, whys, strict=True) if why is None]
            passed[what] += not differences
            if unknown:
                unexplained.append(f"{what}, {path.parent.name}/{path.name}: {'; '.join(map(told, unknown))}")
            else:
                # A check counts once, whatever differs.
                reasons[" + ".join(dict.fromkeys(whys))] += bool(differences)
    report(passed, +reasons, unexplained)
    return 1 if unexplained or not passed else 0


def report(passed, reasons, unexplained):
    for what, count in sorted(passed.items()):
        print(f"{count:6} passed     {what}")
    for why, count in reasons.most_common():
        print(f"{count:6} explained  {why}")
    for line in unexplained:
        print(f"UNEXPLAINED  {line}")
    print(f"{sum(reasons.values())} explained")
    print(f"{sum(passed.values())} passed, {len(unexplained)} failed")


def check(path):
    """Yields each thing that is checked, and the differences that were found."""
    source, target = path.parent.name.split("-")
    name, kind = re.fullmatch(r"(.*?)\.(request\.json|json|sse)", path.name).groups()
    folder = SHARED / "corpus" / source / name
    if kind == "request.json":
        asked = json.loads((folder / "request.json").read_bytes())
        yield from check_request(Case(source, target, b"", asked, path.read_bytes()))
        return
    recording = next(path for path in (folder / "response.sse", folder / "response.json") if path.exists())
    case = Case(source, target, first_response(recording.read_bytes()), {}, path.read_bytes())
    yield from check_answer(case, recording.suffix == ".sse", kind == "sse")


def check_request(case):
    [sent] = case.translated
    yield f"request {case.source}>{case.target}", findings(rlib.check_request(case.target, sent), case)


def check_answer(case, recorded_stream, stream):
    target, way = case.target, f"{'stream' if stream else 'answer'} {case.source}>{case.target}"
    if stream:
        result = vlib.check_stream(target, case.translation, include_usage=True if target == "chat" else None)
    else:
        result = vlib.check_body(target, *case.translated)
    yield way, findings(result, case)
    wanted = vlib.digest(case.source, **as_given(recorded_stream, case.recording))
    got = vlib.digest(target, **as_given(stream, case.translation))
    yield f"meaning of {way}", list(unlike(wanted, got, case))


def first_response(recording):
    """A recording may hold several responses one after the other, of which a client would read the first."""
    head, end, rest = recording.partition(b'data: {"type":"response.completed"')
    return head + end + rest.partition(b"\n\n")[0] + b"\n\n" if end else recording


def as_given(stream, raw):
    return {"raw": raw} if stream else {"obj": json.loads(raw)}


def findings(result, case):
    report = result[0] if isinstance(result, tuple) else result
    return [Difference(code, None, message, case) for _, code, message in report.errors()]


def unlike(wanted, got, case):
    # Anthropic's protocol has no refusal apart from the text.
    refusal = () if "messages" in (case.source, case.target) else ("refusal",)
    for part in ("text", "reasoning", "tools", "stop", "usage", *refusal):
        if comparable(part, wanted) != comparable(part, got):
            yield Difference(part, wanted[part], got[part], case, (wanted, got))


def comparable(part, digest):
    value = digest[part]
    if part in ("text", "reasoning", "refusal"):
        return squeezed(value)
    if part == "tools":
        return json.dumps(value, sort_keys=True)
    if part == "usage":
        return [number or 0 for number in value]
    return value


def told(difference):
    if difference.wanted is None and not difference.digests[0]:
        return f"{difference.part} {difference.got}"
    return f"{difference.part}: {short(difference.wanted)} became {short(difference.got)}"


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 120 else text[:117] + "..."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
