"""Who reaches the page."""

import pytest

from extraction import files
from extraction.page import server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password_and_takes_one(host, monkeypatch):
    monkeypatch.delenv("DOC_INTEL_USER", raising=False)
    monkeypatch.delenv("DOC_INTEL_PASSWORD", raising=False)
    assert server.login(host) is None
    monkeypatch.setenv("DOC_INTEL_USER", "ann")
    with pytest.raises(files.StageError):  # half a login is a mistake
        server.login(host)
    monkeypatch.setenv("DOC_INTEL_PASSWORD", "secret")
    assert server.login(host) == ("ann", "secret")


def test_a_token_for_programs_is_beside_user_and_password_and_never_alone(monkeypatch):
    monkeypatch.delenv("DOC_INTEL_USER", raising=False)
    monkeypatch.delenv("DOC_INTEL_PASSWORD", raising=False)
    monkeypatch.setenv("DOC_INTEL_TOKEN", "t")
    with pytest.raises(files.StageError, match="^DOC_INTEL_TOKEN needs DOC_INTEL_USER and DOC_INTEL_PASSWORD, both"):
        server.login("127.0.0.1")
