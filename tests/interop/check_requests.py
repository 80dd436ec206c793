"""Checks recorded requests to the Bot API against aiogram's models of it.

    check_requests.py REQUESTS.jsonl [METHOD…]

Each line of the file is `{"method": "SendMessage", "body": {…}}` as the stand-in Bot API received it, with
`"multipart": true` where the request was one (then every field of the body is text, objects as JSON in it, and a file is
`attach://NAME`). Each METHOD that is named must have been sent at least once. Ends with 1 and every problem, where there
is one, and where there is nothing to check.
"""

import collections
import json
import pathlib
import sys

import pydantic
from aiogram import methods

# The Bot API takes a method's name in any case.
METHODS = {name.lower(): getattr(methods, name) for name in methods.__all__ if name != "TelegramMethod"}


def problems_of(line):
    """The method's name as the Bot API writes it, and what is wrong with the request."""
    try:
        request = json.loads(line)
        method, body = request["method"], request.get("body") or {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return None, [f"not a recorded request: {error!r}"]
    model = METHODS.get(str(method).lower())
    if model is None:
        return None, [f"{method}: the Bot API has no such method"]
    if not isinstance(body, dict):
        return model.__name__, [f"{method}: the body is not an object"]
    if request.get("multipart"):
        body = {key: from_form(value) for key, value in body.items()}
    try:
        parsed = model.model_validate(body)
    except pydantic.ValidationError as error:
        return model.__name__, [
            f"{method}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        ]
    return model.__name__, [f"{method}: {path}: the Bot API has no such field" for path in unknown(parsed)]


def from_form(value):
    """A field of a form: objects and lists are sent as JSON in text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def unknown(value, path=""):
    """The paths of fields that the models do not know; aiogram keeps them instead of refusing them."""
    if isinstance(value, pydantic.BaseModel):
        for name in value.model_extra or {}:
            yield path + name
        for name in value.model_fields_set & set(type(value).model_fields):
            yield from unknown(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from unknown(item, f"{path}{at}.")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    file, expected = pathlib.Path(sys.argv[1]), sys.argv[2:]
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        sys.exit(f"the recorded requests cannot be read: {error}")
    seen, problems = collections.Counter(), []
    for number, line in enumerate(lines, 1):
        method, found = problems_of(line)
        seen[method] += 1
        problems += [f"line {number}: {problem}" for problem in found]
    problems += [f"{method} was never sent" for method in expected if not seen[method]]
    if not lines:
        problems.append("no request was recorded")
    for problem in problems:
        print(problem, file=sys.stderr)
    known = sum(1 for method in seen if method)
    print(f"{len(lines)} requests to {known} methods checked, {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
