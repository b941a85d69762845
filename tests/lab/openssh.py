"""
OpenSSH on the hosts of a lab.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from punchd.testing.lab import waitFor
from punchd.testing.lab.product import Product

_SSHD = """
Port 2200
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 200
SetEnv HOME={folder}
Subsystem sftp internal-sftp
"""


class OpenSSH:
    """
    An sshd on each host, and one user's key for both.
    """

    def __init__(self, running: Product) -> None:
        self.running = running
        self.folder = running.folder / "ssh"
        self.folder.mkdir(mode=0o700)
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
            subprocess.run([*command, str(self.folder / name)], check=True)
        host = (self.folder / "host.pub").read_text()
        (self.folder / "known").write_text(f"* {host}")
        config = self.folder / "sshd_config"
        config.write_text(_SSHD.format(folder=self.folder))
        # Its own place for that, which Debian makes when the system starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
        assert sshd is not None
        for letter in "ab":
            running.hosts[letter].popen(
                [sshd, "-D", "-e", "-f", str(config)],
                log=running.log(f"sshd-{letter}"),
            )
        logs = [running.log(f"sshd-{letter}") for letter in "ab"]
        waitFor(lambda: all("listening" in log.read_text() for log in logs), 20, "sshd")

    def command(self, name: str, *words: object) -> list[str]:
        """
        The words of C{ssh} or C{scp} with our key and our knowledge of the host.
        """
        options = {
            "IdentityFile": self.folder / "user",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.folder / "known",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            # The default costs ten times as much.
            "KexAlgorithms": "curve25519-sha256",
        }
        said = [f"-o{key}={value}" for key, value in options.items()]
        return [name, "-F/dev/null", "-q", *said, *map(str, words)]
