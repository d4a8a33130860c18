"""The default redaction hides secrets, and leaves the rest to be read."""

import time

import pytest

from mqctx._failures.redaction import redacted
from mqctx._failures.secrets import hide_secrets

SECRETS = [
    ("amqp://guest:s3cr3t@rabbit:5672/vh", "s3cr3t"),
    ("postgresql://u:p@ssw0rd@db/orders?x=a@b.c", "ssw0rd"),
    ("amqp://u:in/slash@rabbit/vh", "slash"),
    ("redis://:hunter2@redis:6379/0", "hunter2"),
    ("mongodb://u:pw1@h1:27017,h2:27017/db", "pw1"),
    ("amqp://a:first1@h1;amqp://b:second2@h2", "first1"),
    ("amqp://a:first1@h1;amqp://b:second2@h2", "second2"),
    ("amqp%3A%2F%2Fuser%3Apa55%40host", "pa55"),
    ("https://0123456789abcdef0123@sentry.example/1", "0123456789abcdef"),
    ("https://:0123abcd@host/", "0123abcd"),
    ("connecting as guest:s3cret@rabbit:5672", "s3cret"),
    ("Authorization: Bearer abc.def", "abc.def"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ('Authorization: Digest username="M", response="6629fae4"', "6629fae4"),
    ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
    ("[(b'authorization', b'Token abcd')]", "abcd"),
    ("Proxy-Authorization: Negotiate YIIabc", "YIIabc"),
    ("Cookie: sid=38afes7a8", "38afes7a8"),
    ("Set-Cookie: sid=38afes7a8; Path=/", "38afes7a8"),
    ("rejected: bearer hunter2", "hunter2"),
    ("Bearer%20hunter2", "hunter2"),
    ("bearer: hunter2", "hunter2"),
    ("secret -> hunter2", "hunter2"),
    ("with Basic dXNlcjpwYXNz it failed", "dXNlcjpwYXNz"),
    ("password=hunter2 host=db", "hunter2"),
    ("Password = hunter2;Server=db", "hunter2"),
    ("DB_PASSWORD='two words'", "words"),
    ('{"api_key": "abc123", "n": 1}', "abc123"),
    ('{\\"password\\": \\"hunter2\\"}', "hunter2"),
    ("Settings(token=Secret('hunter2'))", "hunter2"),
    ("('password', 'hunter2')", "hunter2"),
    ("passwords: ['one1', 'two2']", "two2"),
    ("env[\"API_KEY\"] = 'abc123'", "abc123"),
    ("<password>hunter2</password>", "hunter2"),
    ("https://host/x?access_token=abc123&n=1", "abc123"),
    ("token%3Dabc123", "abc123"),
    ("x-api-key: abc123", "abc123"),
    ("AccountKey=abc123==;EndpointSuffix=x", "abc123"),
    ("client secret: abc123", "abc123"),
    ("a password 'hunter2' is wrong", "hunter2"),
    ("the password is hunter2", "hunter2"),
    ("mysql --password hunter2 -h db", "hunter2"),
    ("['--db-password', 'hunter2']", "hunter2"),
    ("curl -u bob:hunter2 http://host/", "hunter2"),
    ("password='never closed", "closed"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1"[:-1], "K7MDENG"),
    ("aws_secret_access_key = abcdefgh", "abcdefgh"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln refused", "c2ln"),
    ("ghp_abcdefghijklmnop1234", "ghp_abcdefgh"),
    ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
    ("xoxb-123456789012-abcdefghijkl", "abcdefghijkl"),
    ("https://hooks.slack.com/services/T00/B00/XXXX", "XXXX"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----", "MIIEabc"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEabc", "MIIEabc"),
    ("card 4111 1111 1111 1111 is expired", "1111"),
    ("card 4111111111111111 12/27 123", "4111111111111111"),
    ("cards 5500-0000-0000-0004, 378282246310005", "0004"),
    ("cards 5500-0000-0000-0004, 378282246310005", "378282246310005"),
    ("4111.1111.1111.1111", "1111"),
    ("card 4222222222222", "4222222222222"),
]
CUT_OFF = [
    ("cut off: amqp://user:hunter2", "hunter2"),
    ("cut off: amqp://user:12345", "12345"),
    ("cut off: amqp://user:hunter2:17", "hunter2"),
    ("MIIEabc\n-----END PRIVATE KEY-----", "MIIEabc"),
]
HARMLESS = [
    "ssh://git@github.com/x",
    "http://host:8080/path?email=a@b.c",
    "http://host:15672/path?email=a@b.c",
    "http://[::1]:8080/x",
    "Invalid bearer token",
    "basic understanding; Basic authentication failed",
    "jwt.InvalidTokenError: Signature has expired",
    "KeyError: 'tenant'",
    "max_tokens: 4096",
    "the password was wrong",
    "order 1234567890123456 took 1700000000000 ms, 0.4111111111111111 of it waiting",
    "41111111111111111111111 is too long for a card",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
    'File "/app/orders/handlers.py", line 12, in on_order',
    "card of order 17 is expired",
    "cut off: http://host:8080/a",
]


@pytest.mark.parametrize(("text", "secret"), [*SECRETS, *CUT_OFF])
def test_hides(text: str, secret: str) -> None:
    assert secret in text
    shown = hide_secrets(text)
    assert secret not in shown
    assert hide_secrets(shown) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_leaves(text: str) -> None:
    assert hide_secrets(text) == text


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_no_secret_shows_wherever_a_long_text_is_cut(text: str, secret: str) -> None:
    """Cut in two, with the text before and after hidden or not."""
    for before in (2048, 2048 - len(text) // 2, 2048 - len(text)):
        long = f"{'password=x ' * 5}{' ' * (before - 55)}{text} {'y' * 5000}"
        shown = redacted(long, lambda part: hide_secrets(part).replace(" ", ""), 512)
        assert secret.replace(" ", "") not in shown
        assert shown.startswith("password=***")


def test_hidden_text_makes_room_for_what_follows() -> None:
    text = "<hidden>42" * 1000
    shown = redacted(text, lambda part: part.replace("<hidden>", ""), 400)
    assert shown == "42" * 160 + "..."


@pytest.mark.parametrize(
    "part",
    [
        *(
            "a:",
            "://a:",
            "password=",
            "1 ",
            "4",
            "A1a/",
            '\\"',
            "bearer ",
            " ",
            "eyJ.a",
            "%3a%2f%2f",
        ),
        *(
            "-",
            "--",
            "-----BEGIN PRIVATE KEY-----",
            "password[(",
            "://a@",
            "4111 ",
            "\n",
            "<secret>",
        ),
    ],
)
def test_hostile_text_takes_linear_time(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        took: list[float] = []
        for _ in range(3):
            start = time.process_time()
            hide_secrets(text)
            took.append(time.process_time() - start)
        return min(took)

    assert seconds(16_000) < 12 * max(seconds(4_000), 0.001)
