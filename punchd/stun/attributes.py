"""
The attributes of STUN: one codec each, all in one table.

A codec turns the bytes of a value into what the program works with, and back.
Decoding raises only L{MalformedMessage}.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple

from punchd.errors import MalformedMessage

from .address import packAddress, packXorAddress, unpackAddress, unpackXorAddress


class Attribute(IntEnum):
    """
    Attribute types; those from 0x8000 on may be ignored by who does not
    understand them (RFC 8489, 14).
    """

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C
    #: As coturn had two of them before version 4.7.
    OLD_ADDITIONAL_ADDRESS_FAMILY = 0x8032
    OLD_ADDRESS_ERROR_CODE = 0x8033
    #: Ours: what of the session arrived on this 5-tuple.
    SESSION_REPORT = 0xC0F1


#: The bits of CHANGE-REQUEST (RFC 5780, 7.2).
CHANGE_IP: Final = 0x04
CHANGE_PORT: Final = 0x02

#: The protocol number of UDP, in REQUESTED-TRANSPORT.
UDP: Final = 17

_MAX_USERNAME = 508  # RFC 8489, 14.3
_MAX_TEXT = 763  # RFC 8489, 14.9, 14.10, 14.14

Decode = Callable[[bytes, bytes], Any]
Encode = Callable[[Any, bytes], bytes]


class Codec(NamedTuple):
    """
    @ivar decode: from the value's bytes and the transaction id.
    @ivar encode: from the value and the transaction id.
    """

    decode: Decode
    encode: Encode


def _wrong(what: str) -> MalformedMessage:
    return MalformedMessage(f"an attribute has a wrong {what}")


def _number(layout: str) -> Codec:
    """
    @return: the codec of one integer; C{x} in the layout is reserved.
    """
    form = Struct(layout)

    def decode(data: bytes, transactionId: bytes) -> int:
        try:
            (value,) = form.unpack(data)
        except StructError:
            raise _wrong("length") from None
        return int(value)

    return Codec(decode, lambda value, transactionId: form.pack(value))


def _text(limit: int, errors: str) -> Codec:
    """
    @return: the codec of UTF-8 text of at most C{limit} bytes.
    """

    def decode(data: bytes, transactionId: bytes) -> str:
        if len(data) > limit:
            raise _wrong("length")
        try:
            return data.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _wrong("encoding") from None

    def encode(value: str, transactionId: bytes) -> bytes:
        data = value.encode("utf-8")
        if len(data) > limit:
            raise ValueError(f"longer than {limit} bytes")
        return data

    return Codec(decode, encode)


def _bytes(length: int | None = None, limit: int = 0xFFFF) -> Codec:
    """
    @return: the codec of opaque bytes.
    """

    def decode(data: bytes, transactionId: bytes) -> bytes:
        if len(data) > limit or (length is not None and len(data) != length):
            raise _wrong("length")
        return data

    return Codec(decode, lambda value, transactionId: bytes(value))


def _encodeNothing(value: object, transactionId: bytes) -> bytes:
    return b""


def _decodeFlag(data: bytes, transactionId: bytes) -> bool:
    """
    An attribute that says all by being there: the value is True.
    """
    if data:
        raise _wrong("length")
    return True


def _decodeEvenPort(data: bytes, transactionId: bytes) -> bool:
    """
    RFC 8656, 18.6: True when the next port is to be reserved too.
    """
    if len(data) != 1:
        raise _wrong("length")
    return data[0] >= 0x80


def _decodeError(data: bytes, transactionId: bytes) -> tuple[int, str]:
    """
    RFC 8489, 14.8: the code, from 300 to 699, and the reason.
    """
    if not 4 <= len(data) <= 4 + _MAX_TEXT:
        raise _wrong("length")
    hundreds, rest = data[2] & 7, data[3]
    if not 3 <= hundreds <= 6 or rest > 99:
        raise _wrong("error code")
    return (hundreds * 100 + rest, data[4:].decode("utf-8", "replace"))


def _encodeError(value: tuple[int, str], transactionId: bytes) -> bytes:
    return bytes((0, 0, *divmod(value[0], 100))) + value[1].encode("utf-8")


def _decodeAddressError(data: bytes, transactionId: bytes) -> tuple[int, int, str]:
    """
    RFC 8656, 18.12: the family (1 or 2), the code and the reason.
    """
    code, reason = _decodeError(data, transactionId)
    return (data[0], code, reason)


def _encodeAddressError(value: tuple[int, int, str], transactionId: bytes) -> bytes:
    kind, code, reason = value
    return bytes((kind,)) + _encodeError((code, reason), transactionId)[1:]


def _decodeTypes(data: bytes, transactionId: bytes) -> list[int]:
    """
    RFC 8489, 14.13.
    """
    if len(data) % 2:
        raise _wrong("length")
    return [high << 8 | low for high, low in zip(data[::2], data[1::2], strict=True)]


def _encodeTypes(value: list[int], transactionId: bytes) -> bytes:
    return b"".join(each.to_bytes(2, "big") for each in value)


def _decodeAlgorithms(data: bytes, transactionId: bytes) -> list[tuple[int, bytes]]:
    """
    RFC 8489, 14.11: numbers and parameters of password algorithms.
    """
    found = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise _wrong("length")
        number = int.from_bytes(data[at : at + 2], "big")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
        if at + length > len(data):
            raise _wrong("length")
        found.append((number, data[at : at + length]))
        at += length + -length % 4
    return found


def _encodeAlgorithms(value: list[tuple[int, bytes]], transactionId: bytes) -> bytes:
    return b"".join(
        number.to_bytes(2, "big")
        + len(parameters).to_bytes(2, "big")
        + parameters
        + b"\0" * (-len(parameters) % 4)
        for number, parameters in value
    )


def _decodeAlgorithm(data: bytes, transactionId: bytes) -> tuple[int, bytes]:
    """
    RFC 8489, 14.12: exactly one.
    """
    found = _decodeAlgorithms(data, transactionId)
    if len(found) != 1:
        raise _wrong("length")
    return found[0]


def _encodeAlgorithm(value: tuple[int, bytes], transactionId: bytes) -> bytes:
    return _encodeAlgorithms([value], transactionId)


def _decodePort(data: bytes, transactionId: bytes) -> int:
    """
    RFC 5780, 7.5; some senders leave out the padding.
    """
    if len(data) not in (2, 4):
        raise _wrong("length")
    return data[0] << 8 | data[1]


_ICMP = Struct(">xxHI")


def _decodeIcmp(data: bytes, transactionId: bytes) -> tuple[int, int, int]:
    """
    RFC 8656, 18.13: type (7 bits), code (9 bits) and error data.
    """
    if len(data) != _ICMP.size:
        raise _wrong("length")
    both, rest = _ICMP.unpack(data)
    return (both >> 9, both & 0x1FF, rest)


def _encodeIcmp(value: tuple[int, int, int], transactionId: bytes) -> bytes:
    return _ICMP.pack(value[0] << 9 | value[1], value[2])


_REPORT = Struct(">IHH")


def _decodeReport(data: bytes, transactionId: bytes) -> tuple[int, int]:
    """
    Ours: datagrams of the session received, the size of the largest, and
    flags, of which there are none yet.  Longer values are of later versions.
    """
    if len(data) < _REPORT.size:
        raise _wrong("length")
    count, largest, _flags = _REPORT.unpack_from(data)
    return (count, largest)


def _encodeReport(value: tuple[int, ...], transactionId: bytes) -> bytes:
    return _REPORT.pack(value[0] & 0xFFFFFFFF, min(value[1], 0xFFFF), 0)


_PLAIN = Codec(
    lambda data, transactionId: unpackAddress(data),
    lambda value, transactionId: packAddress(value),
)
_XOR = Codec(unpackXorAddress, packXorAddress)
_ADDRESS_ERROR = Codec(_decodeAddressError, _encodeAddressError)
_FLAG = Codec(_decodeFlag, _encodeNothing)

#: The codec of each attribute that is understood.  MESSAGE-INTEGRITY, its
#: SHA-256 form and FINGERPRINT are no values but properties of the whole
#: message, and are not in here.
CODECS: Final[dict[int, Codec]] = {
    int(key): codec
    for key, codec in {
        Attribute.MAPPED_ADDRESS: _PLAIN,
        Attribute.CHANGE_REQUEST: _number(">I"),
        Attribute.USERNAME: _text(_MAX_USERNAME, "strict"),
        Attribute.ERROR_CODE: Codec(_decodeError, _encodeError),
        Attribute.UNKNOWN_ATTRIBUTES: Codec(_decodeTypes, _encodeTypes),
        Attribute.CHANNEL_NUMBER: _number(">Hxx"),
        Attribute.LIFETIME: _number(">I"),
        Attribute.XOR_PEER_ADDRESS: _XOR,
        Attribute.DATA: _bytes(),
        Attribute.REALM: _text(_MAX_TEXT, "strict"),
        Attribute.NONCE: _bytes(limit=_MAX_TEXT),
        Attribute.XOR_RELAYED_ADDRESS: _XOR,
        Attribute.REQUESTED_ADDRESS_FAMILY: _number(">Bxxx"),
        Attribute.EVEN_PORT: Codec(
            _decodeEvenPort, lambda value, _: b"\x80" if value else b"\0"
        ),
        Attribute.REQUESTED_TRANSPORT: _number(">Bxxx"),
        Attribute.DONT_FRAGMENT: _FLAG,
        Attribute.PASSWORD_ALGORITHM: Codec(_decodeAlgorithm, _encodeAlgorithm),
        Attribute.USERHASH: _bytes(32),
        Attribute.XOR_MAPPED_ADDRESS: _XOR,
        Attribute.RESERVATION_TOKEN: _bytes(8),
        Attribute.PRIORITY: _number(">I"),
        Attribute.USE_CANDIDATE: _FLAG,
        Attribute.PADDING: _bytes(),
        Attribute.RESPONSE_PORT: Codec(
            _decodePort, lambda value, _: value.to_bytes(2, "big") + b"\0\0"
        ),
        Attribute.ADDITIONAL_ADDRESS_FAMILY: _number(">Bxxx"),
        Attribute.ADDRESS_ERROR_CODE: _ADDRESS_ERROR,
        Attribute.OLD_ADDITIONAL_ADDRESS_FAMILY: _number(">Bxxx"),
        Attribute.OLD_ADDRESS_ERROR_CODE: _ADDRESS_ERROR,
        Attribute.PASSWORD_ALGORITHMS: Codec(_decodeAlgorithms, _encodeAlgorithms),
        Attribute.ALTERNATE_DOMAIN: _text(255, "replace"),
        Attribute.ICMP: Codec(_decodeIcmp, _encodeIcmp),
        Attribute.SOFTWARE: _text(_MAX_TEXT, "replace"),
        Attribute.ALTERNATE_SERVER: _PLAIN,
        Attribute.ICE_CONTROLLED: _number(">Q"),
        Attribute.ICE_CONTROLLING: _number(">Q"),
        Attribute.RESPONSE_ORIGIN: _PLAIN,
        Attribute.OTHER_ADDRESS: _PLAIN,
        Attribute.SESSION_REPORT: Codec(_decodeReport, _encodeReport),
    }.items()
}
