"""Find what looks like a secret in text, and hide it, in time linear in its length.

No quantifier has a neighbour that takes the same characters, unless both have bounds: hostile
text must not take longer.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Final, TypeAlias

HIDDEN: Final = "***"

_Replacement: TypeAlias = str | Callable[[re.Match[str]], str]

_QUOTE = r"""\\{0,2}["']"""
# `name=`, `"name": `, `("name", "`, `env["name"] = `, `<name>`, and a URL's `name%3D`.
_ASSIGNS = (
    rf"(?:(?:{_QUOTE})?\]?\s{{0,8}}(?:[=-]>|:=|[:=]|%3[ad])\s{{0,8}}"
    rf"|{_QUOTE}\s{{0,8}},\s{{0,8}}|>)"
)
_QUOTED = rf"(?P<quote>{_QUOTE})(?:(?!(?P=quote))(?:\\.|.))*(?:(?P=quote)|\Z)"
_VALUE = (
    rf"(?:(?:[bruf]{{1,2}}|[a-z_][\w.]{{0,40}}\()?{_QUOTED}"
    r"|[\[({][^\])}]*|[^\s,;&<>\"')}\]]+)"
)
_WORD = (
    r"(?:pass(?:word|wd|phrase)|(?<![a-z])pass(?=\W)|pwd|secret(?!ar)|token(?!s\b|iz)|credential"
    r"|(?:api|access|account|auth|encryption|master|private|secret|shared|signing)[ _-]?key"
    r"|session[_-]?id|(?<![a-z])sig(?:nature)?(?=\W)|(?<![a-z])(?:cvv2?|cvc2?|otp)(?=\W))"
    # The name of an exception is followed by its message.
    r"(?![\w.]{0,32}(?:error|exception|warning|expired|invalid|mismatch|missing|notfound)\b)"
    r"[\w.-]{0,32}"
)
_NO_VALUE = (
    r"(?!(?:auth\w*|credentials?|error|format|has|header|is|not|of|or|realm|scheme|tokens?|was)\b)"
)
_WELL_KNOWN = (
    r"(?:A(?:BIA|CCA|GPA|IDA|KIA|NPA|ROA|SIA)[A-Z0-9]{8,}|eyJ[\w-]{6,}(?:\.[\w-]*){0,4}"
    r"|gh[oprsu]_\w{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}|xox[abeoprs]-[\w-]{8,}"
    r"|(?:sk|pk|rk|whsec)_(?:(?:live|test)_)?\w{16,}|sk-[\w-]{16,}|AIza[\w-]{16,}|ya29\.[\w-]{8,}"
    r"|SG\.[\w-]{8,}(?:\.[\w-]*)?|(?:npm|hf|dop_v1)_\w{16,}|pypi-[\w-]{16,})"
)
# An authority without an `@` that is a host, with or without a port.
_HOST = re.compile(r"[^:]*(?::\d{1,5})?|\[.*", re.DOTALL)
_LONGEST_CARD: Final = 19
# ISO/IEC 7812: the shortest in use has 13 digits.
_CARD = re.compile(rf"[2-6]\d{{12,{_LONGEST_CARD - 1}}}")
_SPACE = "[ \\t\u00a0\u2009\u202f-]{0,2}"
_LETTERS = "[A-Za-z0-9+/]"


def hide_secrets(text: str) -> str:
    """Return `text` with `***` for what looks like a password, token, key or card number.

    Passwords in URLs, `Authorization` and cookies, values of names such as `password` or `api_key`,
    bearer tokens, JWTs, private keys, keys of well-known services, card numbers that pass Luhn's
    check. A secret that the end of the text cuts off is hidden as well, and so is a private key
    whose beginning is missing.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _in_url(match: re.Match[str]) -> str:
    """Hide the password of a URL, whose end is at the last `@` before its path."""
    rest = match["rest"]
    # RFC 3986 3.2: the authority ends at the first of these. Its last `@` ends the userinfo, for
    # users write passwords with an `@` in them as they are.
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    if not at:
        return _in_malformed_url(match, authority)
    user, colon, _ = userinfo.partition(":")
    shown = f"{user}:{HIDDEN}" if colon else _if_token(user)
    return f"://{shown}{rest[len(userinfo) :]}"


def _if_token(user: str) -> str:
    """Hide a user that is as long as a token, which services for code take in its place."""
    return HIDDEN if len(user) >= 20 else user


def _in_malformed_url(match: re.Match[str], authority: str) -> str:
    """Hide a password with a `/`, `?` or `#` in it, or one that was cut off before its `@`."""
    if _HOST.fullmatch(authority):
        return _in_host(match, authority)
    user, rest = authority.partition(":")[0], match["rest"]
    _, at, host = rest.rpartition("@")
    return f"://{user}:{HIDDEN}{at}{host if at else ''}"


def _in_host(match: re.Match[str], authority: str) -> str:
    """Hide what looks like a port at the very end: so may a password begin that was cut off."""
    user, colon, _ = authority.partition(":")
    is_cut = match.end() == len(match.string) and authority == match["rest"]
    return f"://{user}:{HIDDEN}" if colon and is_cut else match[0]


def _if_card(match: re.Match[str]) -> str:
    """Hide the groups of digits that make up a card number."""
    parts = re.split(r"(\D+)", match[0])
    found = _card_in(parts[::2])
    if found is None:
        return match[0]
    # Every other part is what stands between two groups: it stays.
    for group in found:
        parts[2 * group] = HIDDEN
    return "".join(parts)


def _card_in(groups: list[str]) -> range | None:
    """Return which groups of digits, one after another, are a card number."""
    for first in range(len(groups)):
        beginnings = accumulate(groups[first : first + _LONGEST_CARD])
        for end, digits in enumerate(beginnings, first + 1):
            if _CARD.fullmatch(digits) and _passes_luhn(digits):
                return range(first, end)
    return None


def _passes_luhn(digits: str) -> bool:
    """Tell whether the check digit of ISO/IEC 7812-1 fits."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


# DOTALL: a password may hold a line break, and text that ends behind it must not show its rest.
def _rule(pattern: str, replacement: _Replacement, flags: int = re.IGNORECASE) -> "_Rule":
    return re.compile(pattern, flags | re.DOTALL), replacement


_Rule: TypeAlias = tuple[re.Pattern[str], _Replacement]
_RULES: Final[tuple[_Rule, ...]] = (
    _rule(
        r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:(?!-----).)*(?:-----END [A-Z ]{0,40}-----)?",
        HIDDEN,
    ),
    _rule(r"\A[A-Za-z0-9+/=\s\\:,]*-----END [A-Z ]{0,30}PRIVATE KEY-----", HIDDEN),
    _rule(
        rf"((?:authorization|(?<![a-z])cookies?){_ASSIGNS})"
        rf"(?:\*{{3}}|b?{_QUOTED}|(?:basic|bearer|token|apikey)\s{{1,8}}[^\s\"',;]+|[^\r\n]+)",
        rf"\1{HIDDEN}",
    ),
    _rule(rf"(\bbearer(?:[:=]\s{{0,8}}|\s{{1,8}}|%20)){_NO_VALUE}[^\s\"',;<>]+", rf"\1{HIDDEN}"),
    _rule(
        r"((?i:\bbasic)\s{1,8})(?=\S{0,100}?(?:[0-9=+/]|[a-z][A-Z]))[A-Za-z0-9+/_-]{6,}={0,2}",
        rf"\1{HIDDEN}",
        0,
    ),
    _rule(r"://(?P<rest>(?:(?!://)[^\s\"'<>])*)", _in_url),
    _rule(
        r"(%3a%2f%2f(?:(?!%3a|%40)\S){0,64}%3a)(?:(?!%40)\S){0,256}(?:%40|\Z)", rf"\1{HIDDEN}%40"
    ),
    _rule(r"(?<![\w.+/-])([\w.+-]{1,64}:)(?!//)[^\s:@/\"'<>]{1,128}(?=@[\w.\[-])", rf"\1{HIDDEN}"),
    _rule(r"(\s(?:-u|--user)[\s=]{1,8}[^\s:]{1,128}:)\S+", rf"\1{HIDDEN}"),
    _rule(rf"(?<![A-Za-z0-9]){_WELL_KNOWN}", HIDDEN, 0),
    _rule(r"(hooks\.slack\.com/services/)\S+", rf"\1{HIDDEN}"),
    # After the rules that know more: `Authorization: Bearer x` must not leave the x behind.
    _rule(rf"({_WORD}{_ASSIGNS}){_VALUE}", rf"\1{HIDDEN}"),
    _rule(rf"((?<!-)--(?:[a-z]{{1,16}}-){{0,3}}{_WORD}\s{{1,8}})(?!-){_VALUE}", rf"\1{HIDDEN}"),
    _rule(
        r"((?:pass(?:word|wd|phrase)|secret|pwd)\s{1,8}(?:(?:is|was)\s{1,8})?)"
        rf"(?:{_QUOTED}|(?<=s\s)(?=[^\s\d]{{0,64}}\d)[^\s,;]+)",
        rf"\1{HIDDEN}",
    ),
    _rule(
        rf"(?<!{_LETTERS})(?<!=)(?=[^A-Z]{{0,39}}[A-Z])(?=[^a-z]{{0,39}}[a-z])(?=\D{{0,39}}\d)"
        rf"{_LETTERS}{{40}}(?!{_LETTERS}|=)",
        HIDDEN,
        0,
    ),
    _rule(
        rf"(?<!\d)(?<!\d\.)\d(?:{_SPACE}\d){{12,}}|(?<!\d)\d{{4}}(?:\.\d{{4}}){{3}}(?!\d)", _if_card
    ),
)
