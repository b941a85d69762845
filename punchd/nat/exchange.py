"""
Port models as peers send them to each other, and as people read them.

What a peer sends is hostile until proven otherwise: every field has its type
and its bounds, and there is nothing beyond those.  That the hosts are really
the peer's is for others to check: predictions are used for addresses at which
the rendezvous has observed the peer.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from math import isfinite
from typing import Any, Final

from .drift import Drift
from .model import Allocation, Anchor, PortModel

_MAX_HOSTS: Final = 4
_MAX_AGE: Final = 86400.0
_MAX_STEP: Final = 64


def toDict(model: PortModel, now: float) -> dict[str, Any]:
    """
    @param now: the time by the clock of the samples; ages are sent, since the
        peer's clock is another.

    @return: what JSON can carry.
    """
    found: dict[str, Any] = {
        "kind": model.kind.value,
        "confidence": round(model.confidence, 6),
        "samples": model.samples,
        "low": model.low,
        "high": model.high,
        "stride": model.stride,
        "hosts": [[host, round(share, 6)] for host, share in model.hosts],
        "preserving": round(model.preserving, 6),
    }
    if model.kind is Allocation.SEQUENTIAL:
        drift = model.drift
        found["step"] = model.step
        found["drift"] = [round(drift.quiet, 6), drift.shape, round(drift.seconds, 6)]
        found["anchors"] = [
            [a.host, a.port, round(max(0.0, now - a.time), 6)]
            for a in model.anchors[-_MAX_HOSTS:]
        ]
    if model.independent and model.mapped:
        localPort, address = model.mapped[0]
        found["mapped"] = [localPort, *address]
    if model.open:
        found["open"] = True
    return found


def fromDict(value: object, now: float) -> PortModel:
    """
    @param value: what L{toDict} returned, or what a stranger made up.
    @param now: the time, from which ages are counted back.

    @raise ValueError: it is not the form of a model.
    """
    if not isinstance(value, Mapping):
        raise ValueError("a port model is an object")
    low = _integer(value.get("low"), 1, 65535)
    high = _integer(value.get("high"), low, 65535)
    kind = Allocation(_text(value.get("kind")))
    hosts = tuple(
        (_host(host), _number(share, 0, 1))
        for host, share in _rows(value.get("hosts"), 2)
    )
    model = PortModel(
        kind,
        confidence=_number(value.get("confidence"), 0, 1),
        samples=_integer(value.get("samples"), 0, 1000),
        low=low,
        high=high,
        stride=_integer(value.get("stride"), 1, 2),
        preserving=_number(value.get("preserving"), 0, 1),
        hosts=hosts,
        step=_step(value.get("step")) if kind is Allocation.SEQUENTIAL else 0,
        drift=_drift(value.get("drift")),
        anchors=tuple(
            Anchor(
                _host(host),
                _integer(port, low, high),
                now - _number(age, 0, _MAX_AGE),
            )
            for host, port, age in _rows(value.get("anchors", []), 3)
        ),
        mapped=_mapped(value.get("mapped")),
        open=value.get("open") is True,
    )
    if sum(share for _, share in hosts) > 1.001:
        raise ValueError("the hosts' shares are more than everything")
    return model


def _mapped(value: object) -> tuple[tuple[int, tuple[str, int]], ...]:
    if value is None:
        return ()
    ((localPort, host, port),) = _rows([value], 3)
    return ((_integer(localPort, 1, 65535), (_host(host), _integer(port, 1, 65535))),)


def _drift(value: object) -> Drift:
    if value is None:
        return Drift()
    ((quiet, shape, seconds),) = _rows([value], 3)
    return Drift(
        _number(quiet, 0, 1),
        _number(shape, 0.01, 1e6),
        _number(seconds, 0.001, _MAX_AGE),
    )


def _step(value: object) -> int:
    step = _integer(value, -_MAX_STEP, _MAX_STEP)
    if not step:
        raise ValueError("a sequence has a step")
    return step


def _rows(value: object, width: int) -> list[list[object]]:
    if not isinstance(value, list) or len(value) > _MAX_HOSTS:
        raise ValueError("expected a short list")
    for row in value:
        if not isinstance(row, list) or len(row) != width:
            raise ValueError(f"expected lists of {width}")
    return value


def _integer(value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("expected an integer")
    if not low <= value <= high:
        raise ValueError(f"expected a number from {low} to {high}")
    return value


def _number(value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    if not low <= value <= high or not isfinite(value):
        raise ValueError(f"expected a number from {low} to {high}")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    return value


def _host(value: object) -> str:
    text = _text(value)
    if "%" in text:
        raise ValueError("an outside address has no scope")
    return str(ip_address(text))


def describe(model: PortModel) -> str:
    """
    @return: one sentence in plain words.
    """
    kind, drift = model.kind, model.drift
    if kind is Allocation.ENDPOINT_INDEPENDENT:
        text = "one outside port for each socket"
        if model.preserving > 0.5:
            text += ", mostly the socket's own number"
    elif kind is Allocation.PRESERVING:
        text = "the socket's own port number outside, too"
    elif kind is Allocation.SEQUENTIAL:
        how = f"{abs(model.step)} {'up' if model.step > 0 else 'down'}"
        text = f"one port after another, {how} for each destination"
        if drift.rate < 1:
            text += ", and hardly anybody else takes ports"
        else:
            text += f", while others take about {drift.rate:.0f} ports a second"
    elif kind is Allocation.PARITY:
        text = "random ports, odd for odd ones and even for even ones"
    elif kind is Allocation.BLOCK:
        text = (
            f"random ports out of a block of about {model.high - model.low + 1}"
            f" ({model.low} to {model.high})"
        )
    elif kind is Allocation.RANDOM:
        text = f"random ports from {model.low} to {model.high}"
        if model.stride == 2:
            text += f", only {'odd' if model.low % 2 else 'even'} ones"
    else:
        return "How ports are chosen is not known."
    if len(model.hosts) > 1:
        text += f", at {len(model.hosts)} public addresses or more"
    sure = "" if model.confidence > 0.95 else f" ({model.confidence:.0%} sure)"
    return f"The NAT gives out {text}{sure}."
