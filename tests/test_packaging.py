"""
The wheel: what is in it, and what Twisted finds of it once it is installed.

The fresh environments see the dependencies of the running one by a path entry;
punchd itself is really built and really installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = ("punch-client", "punch-rendezvous")

pytestmark = [
    pytest.mark.timeout(300),
]


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _pip(*arguments: str | Path, cwd: Path) -> None:
    options = ("--no-deps", "--no-build-isolation", "--no-index", "-q")
    _run(sys.executable, "-m", "pip", *arguments, *options, cwd=cwd)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A copy of what the wheel is made from, so that the checkout stays clean.
    """
    folder = tmp_path_factory.mktemp("source")
    junk = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
    for name in ("punchd", "twisted"):
        shutil.copytree(ROOT / name, folder / name, ignore=junk)
    # What must not be taken along although it lies there.
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").write_text("")
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The built wheel.
    """
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("punchd-*.whl")
    return built


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """
    A fresh environment with the dependencies in sight, and C{twistd} in it.
    """
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}/site-packages"
    # A path file in a folder that came by a path file is not read: an editable
    # punchd of the running environment is out of sight.
    (site / "dependencies.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    )
    twistd = folder / "bin" / "twistd"
    twistd.write_text(
        f"#!{folder}/bin/python\n"
        "import sys\nfrom twisted.scripts.twistd import run\nsys.exit(run())\n"
    )
    twistd.chmod(0o755)
    return folder


def _proveExample(environment: Path, elsewhere: Path) -> None:
    """
    The plugins of the example are listed and can be chosen by name.
    """
    twistd, python = (environment / "bin" / name for name in ("twistd", "python"))
    listed = _run(twistd, "punch-client", "--help-plugins", cwd=elsewhere)
    ours = [
        line.split()[0]
        for line in listed.splitlines()
        if "[punchd-example 1.0]" in line
    ]
    assert ours == ["hours", "socks", "repeating"]
    # One that was told of has stopped nothing.
    assert "broken.py cannot be imported: ModuleNotFoundError: No module" in listed
    state, url = f"--state={elsewhere / 'state'}", "--rendezvous=punch://h"
    for words, why in (
        (
            ("punch-rendezvous", "--admit=hours:8", state),
            "--admit=hours:8: expected FROM-TO, two hours from 0 to 24.",
        ),
        (
            ("punch-rendezvous", "--admit=ours:8-9", state),
            "--admit=ours: No IAdmission plugin is named 'ours'; known: hours, peers, ",
        ),
        (
            ("punch-client", url, "--forward=socks:x", state),
            "--forward=socks:x: 'x' is not a port; expected socks:PORT",
        ),
        (
            ("punch-client", url, "--forward=sox:1=a/b", state),
            "--forward=sox:1=a/b: there is no type of endpoint 'sox' (",
        ),
    ):
        done = subprocess.run(
            [twistd, "-n", "--pidfile=", *words],
            cwd=elsewhere,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert why in done.stderr
    shutil.copytree(ROOT / "bench", elsewhere / "bench")
    asked = ("-m", "bench.grid", "--predictors", "repeating", "--seeds", "2")
    score = _run(python, *asked, cwd=elsewhere)
    assert "repeating 2/2" in score


def _proveInstalled(environment: Path, home: Path, elsewhere: Path) -> None:
    """
    C{twistd} names both commands, and they and C{punchd} come from C{home}.
    """
    help_ = _run(environment / "bin" / "twistd", "--help", cwd=elsewhere)
    assert [name for name in COMMANDS if f"  {name} " in help_] == list(COMMANDS)
    program = elsewhere / "where.py"
    program.write_text(
        "import punchd, twisted.plugins.punchd_plugins as plugins\n"
        "print(punchd.__file__)\nprint(plugins.__file__)\n"
    )
    where = _run(environment / "bin" / "python", program, cwd=elsewhere)
    assert all(Path(line).is_relative_to(home) for line in where.splitlines())
    punchd = _run(environment / "bin" / "punchd", "--help", cwd=elsewhere)
    assert "status" in punchd


def testContentOfWheel(wheel: Path, source: Path) -> None:
    """The wheel has punchd and one plugin file, and nothing that shadows Twisted."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    content = {name for name in names if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(source))
        for path in (source / "punchd").rglob("*")
        if path.suffix in (".py", ".toml") or path.name == "py.typed"
    }
    assert content - expected == {"twisted/plugins/punchd_plugins.py"}
    assert expected - content == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def testWheelInstall(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """From a wheel, twistd finds both commands."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = environment / "bin" / "python"
    _pip("--python", python, "install", wheel, cwd=elsewhere)
    _proveInstalled(environment, environment, elsewhere)


def testSourceInstall(environment: Path, source: Path, tmp_path: Path) -> None:
    """After a plain install of the sources, twistd finds both commands."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = environment / "bin" / "python"
    _pip("--python", python, "install", source, cwd=elsewhere)
    _proveInstalled(environment, environment, elsewhere)


def testEditableInstall(environment: Path, source: Path, tmp_path: Path) -> None:
    """After an editable install, twistd finds both commands from anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = environment / "bin" / "python"
    _pip("--python", python, "install", "--editable", source, cwd=elsewhere)
    _proveInstalled(environment, source, elsewhere)


def testExamplePackage(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """A package of somebody else's adds plugins, and a broken one stops nobody."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    example = tmp_path / "example"
    junk = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info", "build")
    shutil.copytree(ROOT / "docs" / "examples" / "punchd-example", example, ignore=junk)
    python = environment / "bin" / "python"
    _pip("--python", python, "install", wheel, example, cwd=elsewhere)
    (plugins,) = environment.glob("lib/*/site-packages/twisted/plugins")
    (plugins / "broken.py").write_text("import nowhere_to_be_found")
    _proveExample(environment, elsewhere)
