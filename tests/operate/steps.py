"""The list of steps."""

STEPS = []


class Skip(Exception):
    """Why a step is not taken here."""


def step(title):
    def add(function):
        STEPS.append((title, function))
        return function

    return add


def has(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} is missing in:\n{text}"


def lacks(text, *parts):
    for part in parts:
        assert part not in text, f"{part!r} is in:\n{text}"
