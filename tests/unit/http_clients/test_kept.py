"""All that the policy of calls keeps, to make the next one cheap, is bounded."""

from mqctx import scope
from mqctx.http_clients._policy import OutgoingCallPolicy


def test_hosts_that_strangers_choose_are_kept_in_bounded_number() -> None:
    policy = OutgoingCallPolicy(hosts=["*.example.com"])
    with scope(request_id="r-1"):
        for number in range(1_500):
            assert policy.headers_to(f"{number}.example.com", 443, ())
            assert not policy.headers_to(f"{number}.example.org", 443, ())
    assert len(policy._may_see) <= 1_000


def test_a_context_keeps_the_headers_of_a_bounded_number_of_clients() -> None:
    with scope(request_id="r-1") as context:
        for _ in range(50):
            policy = OutgoingCallPolicy(hosts=["*"])
            assert policy.headers_to("api.internal", 443, ()) == {"X-Request-Id": "r-1"}
        assert len(context.shown) <= 8
