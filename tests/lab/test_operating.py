"""
Operating a rendezvous: what Prometheus reads of it, and what signals do.
"""

from __future__ import annotations

import re
import signal

from punchd.testing.lab import waitFor
from tests.lab.tools import connect, echoed, tool


def test_metrics(product):
    """
    A relayed session shows in what C{curl} gets from loopback, and nobody gets it
    from elsewhere.
    """
    running = product(
        "symmetric",
        "symmetric",
        a=["--forward=tcp:7000=b/echo", "--path=relay"],
        b=["--publish=echo=tcp:127.0.0.1:7"],
        rendezvous=["--metrics=tcp:9100"],
    )
    lab = running.lab
    tool(lab.hostB, "echo", 7)
    with connect(lab.hostA, 7000) as sock:
        # What the rendezvous itself carries until there is a path is less than that.
        assert echoed(sock, b"x" * 200_000) == b"x" * 200_000
    space = running.hosts["rendezvous"]
    url = "http://127.0.0.1:9100/metrics"

    def number(line: str) -> float:
        text = space.run(["curl", "-sS", "--fail", url], capture_output=True).stdout
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    kind = 'family="ipv4",transport="udp"'
    assert number("punchd_clients") == 2
    assert number("punchd_dials_total") >= 1
    assert number(f"punchd_allocations{{{kind}}}") >= 1
    relayed = f'punchd_relayed_bytes_total{{direction="to_client",{kind}}}'
    assert number(relayed) > 200_000
    waitFor(
        lambda: number('punchd_event_loop_lag_seconds_bucket{le="+Inf"}') > 0,
        30,
        "the event loop to be measured",
    )
    outside = url.replace("127.0.0.1", "203.0.113.10")
    refused = lab.hostA.run(["curl", "-sS", "-m", "5", outside], capture_output=True)
    assert refused.returncode != 0


def test_signals(product, tmp_path):
    """
    SIGHUP makes what the file says hold, unless it cannot be used; after SIGTERM what
    is relayed goes on, and a second one ends that.
    """
    config = tmp_path / "rendezvous.toml"
    config.write_text('drain = 60\nrelay-deny = ["192.0.2.0/24"]\n')
    running = product(
        "symmetric",
        "symmetric",
        a=["--forward=tcp:7000=b/echo", "--path=relay"],
        b=["--publish=echo=tcp:127.0.0.1:7"],
        rendezvous=[f"--config={config}", "--metrics=tcp:9100"],
    )
    lab = running.lab
    tool(lab.hostB, "echo", 7)
    log = running.log("rendezvous")
    process = running.processes["rendezvous"]

    def said(text: str) -> None:
        waitFor(lambda: text in log.read_text(), 20, text)

    with connect(lab.hostA, 7000) as sock:
        assert echoed(sock, b"one") == b"one"
        config.write_text('relay-deny = ["here"]\n')
        process.send_signal(signal.SIGHUP)
        said("Nothing was changed: --relay-deny=here")
        config.write_text('relay-deny = ["233.252.0.0/24"]\n')
        process.send_signal(signal.SIGHUP)
        said("What has changed in files holds now")
        said("--drain takes a restart to change")
        process.send_signal(signal.SIGTERM)
        waitFor(
            lambda: "the rendezvous stops in 60" in running.log("a").read_text(),
            20,
            "the goodbye",
        )
        said("stopping: 2 clients are told, and 2 relayed addresses may go on for 60 s")
        assert f"for {running.ids['a']}" in log.read_text()
        assert echoed(sock, b"two") == b"two"
        numbers = lab.rendezvous.run(
            ["curl", "-sS", "-m", "5", "http://127.0.0.1:9100/metrics"],
            capture_output=True,
        )
        assert 'punchd_allocations{family="ipv4",transport="udp"} 2.0' in numbers.stdout
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        waitFor(lambda: process.poll() is not None, 15, "the end")


def test_moving(product):
    """
    A relayed session moves to the other rendezvous when the first is told to stop,
    which ends soon, and goes on.
    """
    running = product("symmetric", "symmetric")
    lab = running.lab
    folder = running.folder / "second"
    listen = "--listen=0.0.0.0:4478"
    running.hosts["second"] = running.hosts["rendezvous"]
    running._start("second", "punch-rendezvous", f"--state={folder}", listen)
    url = waitFor(
        lambda: (folder / "url").exists() and (folder / "url").read_text().strip(),
        20,
        "the second rendezvous",
    )
    for letter, service in (
        ("a", "--forward=tcp:7000=b/echo"),
        ("b", "--publish=echo=tcp:127.0.0.1:7"),
    ):
        running.end(letter)
        running.startClient(letter, f"--rendezvous={url}", "--path=relay", service)
    running.whenRegistered()
    tool(lab.hostB, "echo", 7)
    with connect(lab.hostA, 7000) as sock:
        assert echoed(sock, b"one") == b"one"
        waitFor(
            lambda: running.log("second").read_text().count(" registered from ") == 2,
            20,
            "both to know the second rendezvous",
        )
        assert running.end("rendezvous") in (0, -signal.SIGTERM)
        assert echoed(sock, b"two") == b"two"
        assert running.path("a") == "relayed"
        assert running.status("a")["rendezvous"]["url"] == url
        assert "relaying at" in running.log("second").read_text()
