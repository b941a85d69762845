"""
Plugins of a package that is not punchd, at work.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from punchd.testing.lab import waitFor

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "punchd-example"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    The package, where every program of the lab finds it.
    """
    folder = tmp_path / "example"
    junk = shutil.ignore_patterns("__pycache__", "dropin.cache")
    shutil.copytree(EXAMPLE, folder, ignore=junk)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_socks(example, product, tmp_path):
    """
    A browser reaches services of peers by their names through the SOCKS server.
    """
    site = tmp_path / "site"
    site.mkdir()
    (site / "page").write_bytes(b"x" * 300_000)
    running = product(
        "portrestricted",
        "portrestricted",
        a=["--forward=socks:1080:80=www"],
        b=["--publish=www=tcp:127.0.0.1:8000", "--publish=none=tcp:127.0.0.1:1"],
    )
    lab = running.lab
    server = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "8000"]
    lab.hostB.popen(server, cwd=site)
    there = ["curl", "-sf", "http://127.0.0.1:8000/"]
    waitFor(lambda: lab.hostB.run(there, check=False).returncode == 0, 20, "the server")

    def curl(url):
        done = lab.hostA.run(
            ["curl", "-s", "--socks5-hostname", "127.0.0.1:1080", url],
            capture_output=True,
            text=False,
            check=False,
            timeout=40,
        )
        return done.returncode, done.stdout

    page = 0, (site / "page").read_bytes()
    assert curl("http://www.b.punch/page") == page
    assert curl("http://b.punch/page") == page
    refused = 97, b""
    for url in (
        "http://www.nobody.punch/",
        "http://b.punch:81/",
        "http://none.b.punch/",
        "http://www.example.org/",
        "http://192.0.2.10/",
    ):
        assert curl(url) == refused
    assert "b/81: " in running.log("a").read_text()
