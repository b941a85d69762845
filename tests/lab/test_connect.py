"""
C{punchd connect} and the C{punch:} endpoints, under programs that know nothing of
punchd, between two hosts behind NATs.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.endpoints import quoteStringArgument

from punchd.testing.lab import waitFor
from punchd.testing.lab.product import PUNCHD, TWISTD
from tests.lab.openssh import OpenSSH

#: Encryption costs, on a busy machine for long.
pytestmark = pytest.mark.timeout(180)

_SSH = "--publish=ssh=tcp:127.0.0.1:2200"

#: How many small files a page has.
_FILES = 200


@pytest.fixture
def pair(product):
    """
    Two hosts behind port-restricted NATs; b publishes its ssh.
    """
    return product(b=[_SSH])


class Proxied:
    """
    OpenSSH from a to b, with C{punchd connect} as its ProxyCommand.
    """

    def __init__(self, running) -> None:
        if os.geteuid() != 0:
            pytest.skip("sshd has to run as root")
        self.running = running
        self.openssh = OpenSSH(running)
        self.program = running.folder / "punchd"
        self.program.write_text(f'#!/bin/sh\nexec {shlex.join(PUNCHD)} "$@"\n')
        self.program.chmod(0o755)

    def words(self) -> list[str]:
        """
        @return: C{ssh} and its options.
        """
        state = self.running.folder / "a"
        proxy = f"ProxyCommand={self.program} connect b/ssh --state={state}"
        return self.openssh.command("ssh", "-o", proxy)

    def run(self, *words: object, **kwargs):
        """
        @return: what a program on a has done.
        """
        host = self.running.hosts["a"]
        kwargs = {"capture_output": True, "text": False, "timeout": 90, **kwargs}
        return host.run([str(word) for word in words], **kwargs)

    def popen(self, command: str):
        """
        @return: an ssh that runs.
        """
        return self.running.hosts["a"].popen(
            [*self.words(), "b", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def _same(one: Path, two: Path) -> bool:
    found = filecmp.dircmp(one, two, ignore=[])
    if found.left_only or found.right_only or found.funny_files:
        return False
    _, differ, odd = filecmp.cmpfiles(one, two, found.common_files, shallow=False)
    return not (differ or odd) and all(
        _same(one / name, two / name) for name in found.common_dirs
    )


def test_programs(pair):
    """
    ssh, rsync of a tree and git clone go through the client that runs on a, by the
    direct path, and say what they always say.
    """
    proxied = Proxied(pair)
    folder = pair.folder
    data = random.randbytes(1_000_000)
    done = proxied.run(*proxied.words(), "b", "cat; exit 7", input=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (7, True, b"")

    tree = folder / "tree"
    for number in range(100):
        place = tree / f"folder {number % 7}" / f"file {number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(random.randbytes(number * 500))
    rsync = "rsync", "-a", "-e", shlex.join(proxied.words())
    done = proxied.run(*rsync, f"{tree}/", f"b:{folder}/pushed")
    assert (done.returncode, done.stderr) == (0, b"")
    done = proxied.run(*rsync, f"b:{folder}/pushed/", folder / "pulled")
    assert (done.returncode, done.stderr) == (0, b"")
    assert _same(tree, folder / "pushed")
    assert _same(tree, folder / "pulled")

    git = "git", "-c", "user.name=A", "-c", "user.email=a@example.org"
    for words in ("init", "-q"), ("add", "-A"), ("commit", "-qm", "All of it"):
        assert proxied.run(*git, "-C", tree, *words).returncode == 0
    ssh = {**os.environ, "GIT_SSH_COMMAND": shlex.join(proxied.words())}
    cloned = folder / "cloned"
    done = proxied.run(*git, "clone", "-q", f"b:{tree}", cloned, env=ssh)
    assert (done.returncode, done.stderr) == (0, b"")
    shutil.rmtree(tree / ".git")
    shutil.rmtree(cloned / ".git")
    assert _same(tree, cloned)
    pair.whenPath("direct")


def test_alone(pair):
    """
    Where no client runs, C{punchd connect} is one; a second one on the same folder
    uses the first, and each ends with what it was started for.
    """
    proxied = Proxied(pair)
    assert pair.end("a") != 1
    first = proxied.popen("echo begun; cat")
    assert first.stdout.readline() == b"begun\n"
    second = proxied.popen("echo hello")
    assert second.communicate(timeout=60) == (b"hello\n", b"")
    assert second.returncode == 0
    assert first.communicate(b"the rest", timeout=60) == (b"the rest", b"")
    assert first.returncode == 0
    # The key was registered anew, and not from two places at once.
    assert "replaced" not in pair.log("rendezvous").read_text().lower()


_CLIENT = """
import sys
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

@implementer(IAgentEndpointFactory)
class Endpoints:
    def endpointForURI(self, uri):
        return clientFromString(reactor, sys.argv[1])

async def main(reactor):
    agent = Agent.usingEndpointFactory(reactor, Endpoints())
    answer = await agent.request(b"GET", b"http://www/index.html")
    body = await readBody(answer)
    print(answer.code, len(body), flush=True)

from twisted.internet import reactor
task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def test_web(product):
    """
    C{twistd web --listen punch:www} serves a page with many small files, without a
    client beside it, to a browser through a forward, and to a Twisted client.
    """
    running = product(a=["--forward=tcp:80=b/www"])
    assert running.end("b") != 1
    site = running.folder / "site"
    site.mkdir()
    for number in range(_FILES):
        script = f"seen.push({number}); // {'x' * (number * 20)}\n"
        (site / f"{number}.js").write_text(script)
    scripts = "".join(f"<script src={n}.js></script>" for n in range(_FILES))
    page = f"<p id=p></p><script>seen = []</script>{scripts}<script>{_COUNT}</script>"
    (site / "index.html").write_text(page)
    rendezvous = quoteStringArgument(running.url)
    state = f"state={running.folder}"
    server = f"punch:www:allow=a:{state}/b:rendezvous={rendezvous}"
    running.hosts["b"].popen(
        [*TWISTD, "-n", "--pidfile=", "web", f"--path={site}", f"--listen={server}"],
        log=running.log("web"),
        cwd=running.folder,
    )
    log = running.log("web")
    waitFor(lambda: "registered with" in log.read_text(), 30, "the web server")
    client = [sys.executable, "-c", _CLIENT, f"punch:b/www:{state}/a"]
    done = running.hosts["a"].run(client, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"200 {len(page)}\n")
    found = _browse(running)
    assert found == list(range(_FILES))


_COUNT = "p.textContent = JSON.stringify(seen)"

_CHROMIUM = [
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions"),
    # Virtual time stands still while something is being loaded.
    *("--virtual-time-budget=10000", "--dump-dom"),
]


def _browse(running) -> list[int]:
    """
    @return: the numbers of the files that a browser on a has loaded; of those that
        C{curl} got at the same time, where there is no browser.
    """
    host, url = running.hosts["a"], "http://127.0.0.1/"
    if shutil.which("chromium") is None:
        curl = ["curl", "-sS", "--fail", "--parallel", f"{url}[0-{_FILES - 1}].js"]
        done = host.run(curl, capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        return sorted(int(found) for found in re.findall(r"push\((\d+)", done.stdout))
    folder = f"--user-data-dir={running.folder}/chromium"
    done = host.run([*_CHROMIUM, folder, url], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = done.stdout.partition('<p id="p">')[2].partition("</p>")[0]
    numbers: list[int] = json.loads(text)
    return numbers
