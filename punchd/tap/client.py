"""
C{twistd punch-client}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService
from twisted.python import usage
from zope.interface.interface import InterfaceClass

from punchd._plugins import isBuiltIn, pluginNamed, pluginsByName
from punchd.errors import InvalidOption, PunchError, UnknownPeer
from punchd.forward.home import Home
from punchd.forward.rules import (
    Allowance,
    Forward,
    checkPublications,
    parseAllow,
    parseForward,
    parsePublish,
)
from punchd.interfaces import (
    ICandidateSource,
    IPathPolicy,
    IPortPredictor,
    ITraversalStrategy,
)
from punchd.net.clock import makeMonotonic
from punchd.net.kernel import KernelNetwork
from punchd.net.proxy import Proxy
from punchd.services.state import StateFolder
from punchd.signaling.url import RendezvousURL

from .assembly import Client, Parts, Wishes
from .eventing import tellEvents
from .exits import CommandOptions, oneSentence, stateOption
from .relays import parseRelay, withCredentials

PROGRAM = "punch-client"
MODES = ("auto", "direct", "relay")


class Options(CommandOptions):
    """
    What C{twistd punch-client} understands.
    """

    program = PROGRAM
    synopsis = "[options]"
    longdesc = (
        "Register with a rendezvous, publish services to the peers that are"
        " allowed to use them, and forward local ports to services of peers."
    )
    optFlags = [
        ["allow-anyone", None, "Let every peer use every published service."],
        ["no-portmap", None, "Do not ask the router to open a port."],
        ["no-spray", None, "Do not look for a peer by trying many ports."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["state"] = None
        self["path"] = "auto"
        self["port"] = 0
        self["linger"] = 600.0
        self["patience"] = 120.0
        self["proxy"] = None
        self["relay-credentials"] = None
        self.relays: list[str] = []
        self["keepalive"] = None
        self.urls: list[RendezvousURL] = []
        self["policy"] = "quality"
        self.strategies: list[str] = []
        self.sources: list[str] = []
        self.predictors: list[str] = []
        self.publish: list[str] = []
        self.forward: list[str] = []
        self.allow: list[Allowance] = []

    def opt_rendezvous(self, value: str) -> None:
        """
        The URL that the rendezvous printed: punch://HOST[:PORTS][#FINGERPRINT].
        Repeat it for more than one.
        """
        url = _said(lambda: RendezvousURL.parse(value), "--rendezvous: ")
        self.urls.append(url)

    def opt_state(self, value: str) -> None:
        """
        The folder of the key, the petnames and the control socket.
        """
        self["state"] = stateOption(value)

    def opt_publish(self, value: str) -> None:
        """
        NAME=CLIENT_ENDPOINT: let peers reach a program here, as
        ssh=tcp:127.0.0.1:22.
        """
        self.publish.append(value)

    def opt_forward(self, value: str) -> None:
        """
        SERVER_ENDPOINT=PEER/NAME: let programs here reach a service of a peer,
        as tcp:2222=bob/ssh; on loopback unless interface= says otherwise.
        """
        self.forward.append(value)

    def opt_allow(self, value: str) -> None:
        """
        PEER[/NAME]: let a peer use all published services, or one of them.
        """
        self.allow.append(_said(lambda: parseAllow(value)))

    def opt_path(self, value: str) -> None:
        """
        auto, direct or relay: which paths may carry sessions.
        """
        if value not in MODES:
            raise usage.UsageError(
                f"--path={value}: expected {', '.join(MODES[:-1])} or {MODES[-1]}."
            )
        self["path"] = value

    def opt_policy(self, value: str) -> None:
        """
        The name of what chooses among the paths that work (quality).
        """
        try:
            pluginNamed(IPathPolicy, value)
        except PunchError as e:
            raise usage.UsageError(f"--policy={value}: {e}") from e
        self["policy"] = value

    def opt_port(self, value: str) -> None:
        """
        The UDP port of the punching socket; any by default.
        """
        self["port"] = int(_number("port", value, 0, 65535, whole=True))

    def opt_linger(self, value: str) -> None:
        """
        Seconds that a session outlives its last stream (600).
        """
        self["linger"] = _number("linger", value, 0, 1e9)

    def opt_patience(self, value: str) -> None:
        """
        Seconds that a session may be without any path before it fails (120).
        """
        self["patience"] = _number("patience", value, 1, 1e9)

    def opt_keepalive(self, value: str) -> None:
        """
        Seconds between packets on an idle path, instead of what the measured
        lifetime of our NAT's bindings asks for.
        """
        self["keepalive"] = _number("keepalive", value, 1, 3600)

    def opt_strategy(self, value: str) -> None:
        """
        The name of a strategy to get a direct path by, instead of all that are
        installed; repeat it for more.
        """
        self.strategies.append(value)

    def opt_predictor(self, value: str) -> None:
        """
        The name of a plugin that predicts ports, instead of all that others have
        installed; repeat it for more.
        """
        self.predictors.append(value)

    def opt_source(self, value: str) -> None:
        """
        The name of a way to have a port opened, as upnp, instead of all that are
        installed; repeat it for more.
        """
        self.sources.append(value)

    def opt_proxy(self, value: str) -> None:
        """
        http://[USER:PASSWORD@]HOST:PORT: an HTTP proxy that may lead to the
        rendezvous and its relay; https_proxy in the environment by default.
        """
        self["proxy"] = _said(lambda: Proxy.parse(value))

    def opt_relay(self, value: str) -> None:
        """
        turn:HOST[:PORT][?transport=udp|tcp] or turns:HOST[:PORT]: a TURN server to
        use before the relay of the rendezvous; repeat it for more.
        """
        _said(lambda: parseRelay(value))
        self.relays.append(value)

    def opt_relay_credentials(self, value: str) -> None:
        """
        A file with a line [HOST ]NAME:PASSWORD for each --relay, or for all.
        """
        self["relay-credentials"] = value

    def chosenStrategies(self) -> Sequence[ITraversalStrategy]:
        """
        @return: those of C{--strategy}, or all; without what C{--no-spray} forbids.

        @raise InvalidOption: one of them cannot be had.
        """
        found = _chosen(ITraversalStrategy, "strategy", self.strategies)
        return [each for each in found if each.name != "spray" or not self["no-spray"]]

    def chosenPredictors(self) -> Sequence[IPortPredictor]:
        """
        @return: those of C{--predictor}, or all, but for those built in, which make
            the model that these are compared with.

        @raise InvalidOption: one of them cannot be had.
        """
        found = _chosen(IPortPredictor, "predictor", self.predictors)
        return [each for each in found if not isBuiltIn(each)]

    def chosenSources(self) -> Sequence[ICandidateSource]:
        """
        @return: those of C{--source}, or all, unless C{--no-portmap} forbids them.

        @raise InvalidOption: one of them cannot be had.
        """
        if self["no-portmap"]:
            return ()
        return _chosen(ICandidateSource, "source", self.sources)

    def postOptions(self) -> None:
        """
        Check what belongs together.
        """
        if not self.urls:
            raise usage.UsageError(
                "--rendezvous is missing; expected the URL that punch-rendezvous"
                " printed, as punch://203.0.113.10:3478,443#FINGERPRINT."
            )
        if self.relays and self["relay-credentials"] is None:
            raise usage.UsageError(
                f"--relay={self.relays[0]}: expected --relay-credentials=FILE, too."
            )
        if self["allow-anyone"] and self.allow:
            raise usage.UsageError(
                "--allow-anyone and --allow exclude each other; expected one of them."
            )


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    Build the client; nothing is opened but the state folder.

    @raise SystemExit: with one sentence, when something cannot be used.
    """
    if reactor is None:
        from twisted.internet import reactor
    with oneSentence(PROGRAM):
        network = KernelNetwork(makeMonotonic(reactor))
        folder = StateFolder(options["state"])
        home = Home(network, folder.resolve)
        wishes = _wishes(options, home, folder)
        parts = Parts(
            urls=options.urls,
            sources=options.chosenSources(),
            strategies=options.chosenStrategies(),
            policy=pluginNamed(IPathPolicy, options["policy"]),
            predictors=options.chosenPredictors(),
            relays=withCredentials(options.relays, options["relay-credentials"]),
            proxy=options["proxy"],
        )

        def again() -> Wishes:
            fresh = Options()
            fresh.words = options.words
            try:
                fresh.parse()
            except usage.UsageError as e:
                raise InvalidOption(str(e)) from e
            return _wishes(fresh, home, folder)

        folder.lock()
        client = Client(PROGRAM, network, folder, wishes, parts, again, home)
        tellEvents(options.sinks, network, client)
        return client


def _wishes(options: Options, home: Home, folder: StateFolder) -> Wishes:
    """
    @raise PunchError: something cannot be used.
    """
    publications = [parsePublish(each, home) for each in options.publish]
    checkPublications(publications)
    forwards = [parseForward(each, home) for each in options.forward]
    rules: list[Allowance | Forward] = [*options.allow, *forwards]
    for rule in rules:
        if rule.peer:
            _known(folder, rule)
    fixed = {name: options[name] for name in options}
    fixed |= {"rendezvous": options.urls, "relay": options.relays}
    fixed |= {"strategy": options.strategies, "source": options.sources}
    fixed |= {"predictor": options.predictors}
    return Wishes(publications, forwards, options.allow, fixed)


def _chosen(
    interface: InterfaceClass, option: str, names: Sequence[str]
) -> Sequence[Any]:
    if not names:
        return tuple(pluginsByName(interface).values())
    found = {}
    for name in names:
        try:
            found[name] = pluginNamed(interface, name)
        except PunchError as e:
            raise InvalidOption(f"--{option}={name}: {e}") from e
    return tuple(found.values())


def _said(parse: Any, prefix: str = "") -> Any:
    try:
        return parse()
    except PunchError as e:
        raise usage.UsageError(f"{prefix}{e}") from e


def _known(folder: StateFolder, rule: Allowance | Forward) -> None:
    """
    @raise UnknownPeer: the rule names nobody, and which rule that is.
    """
    try:
        folder.resolve(rule.peer)
    except UnknownPeer as e:
        text = str(e)
        raise UnknownPeer(f"{rule}: {text[0].lower()}{text[1:]}") from e


def _number(
    option: str, value: str, least: float, most: float, whole: bool = False
) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise usage.UsageError(
            f"--{option}={value}: expected {kind} from {least:.0f} to {most:.0f}."
        )
    return number
