"""
Standard input and output as one transport, so that they can be joined to a
stream like any connection.

Twisted's own C{StandardIO} reads 8 KiB at a time, leaves the descriptors
non-blocking for whoever shares them, and cannot end one direction alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

#: Bytes that are read at a time, that may wait to be written, and that a pipe is
#: asked to hold.
CHUNK = 1 << 18

#: Linux's C{F_SETPIPE_SZ}, which C{fcntl} has by name there only.
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)


class Stdio:
    """
    I am a transport of two descriptors, which I do not own: what is closed of me
    leads nowhere afterwards, and their flags are as before.

    @ivar protocol: who gets what is read; provides
        L{IHalfCloseableProtocol<twisted.internet.interfaces>}.
    """

    disconnecting = False

    def __init__(
        self, reactor: Any, protocol: Any, stdin: int = 0, stdout: int = 1
    ) -> None:
        self.protocol = protocol
        self.disconnected = False
        self._reader = _Reader(reactor, stdin, self)
        self._writer = _Writer(reactor, stdout, self)
        protocol.makeConnection(self)
        self._reader.startReading()
        self._writer.watch()

    # --- ITransport ----------------------------------------------------------

    def write(self, data: bytes) -> None:
        """
        Write to standard output, never blocking.
        """
        self._writer.write(data)

    def loseWriteConnection(self) -> None:
        """
        Write what waits, and end standard output.
        """
        self._writer.loseConnection()

    def loseConnection(self) -> None:
        """
        Write what waits, and end both.
        """
        self.disconnecting = True
        self._reader.stopReading()
        if self._writer.ended:
            self._lost(ConnectionDone())
        else:
            self._writer.loseConnection()

    def abortConnection(self) -> None:
        """
        End both at once.
        """
        self._lost(ConnectionAborted())

    def getPeer(self) -> object:
        """
        @return: something to show.
        """
        return "standard input and output"

    getHost = getPeer

    # --- IConsumer, IPushProducer --------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let C{producer} write as fast as standard output takes it.
        """
        self._writer.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        The producer has written everything.
        """
        self._writer.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Read nothing until L{resumeProducing}.
        """
        self._reader.stopReading()

    def resumeProducing(self) -> None:
        """
        Read again.
        """
        if not (self.disconnected or self.disconnecting or self._reader.ended):
            self._reader.startReading()

    def stopProducing(self) -> None:
        """
        Nothing more is wanted.
        """
        self.loseConnection()

    # --- what the descriptors say --------------------------------------------

    def readEnded(self) -> None:
        """
        Standard input has come to its end.
        """
        if not self.disconnecting:
            self.protocol.readConnectionLost()

    def writeEnded(self, reason: Failure) -> None:
        """
        Standard output is closed, by us or by who read it.
        """
        if not reason.check(ConnectionDone):
            error = self._writer.error
            if error is None or error.errno == errno.EPIPE:
                self._lost(BrokenPipeError("Nobody reads standard output any more."))
            else:
                self._lost(error)
        elif self.disconnecting:
            self._lost(ConnectionDone())
        else:
            self.protocol.writeConnectionLost()

    def _lost(self, reason: Exception) -> None:
        if self.disconnected:
            return
        self.disconnected = self.disconnecting = True
        self._reader.stopReading()
        self._writer.release()
        self.protocol.connectionLost(Failure(reason))


class _Reader(FileDescriptor):
    """
    Standard input.  It need not be non-blocking: it is read when there is something.
    """

    def __init__(self, reactor: Any, fd: int, owner: Stdio) -> None:
        super().__init__(reactor)
        self.ended = False
        self._fd = fd
        self._owner = owner
        _enlarge(fd)

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # A terminal that was hung up, or nothing to read from at all.
            data = b""
        if data:
            self._owner.protocol.dataReceived(data)
        else:
            self._end()

    def startReading(self) -> None:
        try:
            super().startReading()
        except OSError:
            self._end()

    def readConnectionLost(self, reason: Failure) -> None:
        self._end()

    def connectionLost(self, reason: Failure) -> None:
        self._end()

    def _end(self) -> None:
        self.stopReading()
        if not self.ended:
            self.ended = True
            self._owner.readEnded()


class _Writer(FileDescriptor):
    """
    Standard output.
    """

    bufferSize = CHUNK

    def __init__(self, reactor: Any, fd: int, owner: Stdio) -> None:
        super().__init__(reactor)
        self.connected = 1
        self.ended = False
        self.error: OSError | None = None
        self._fd = fd
        self._owner = owner
        self._blocking: bool | None = None
        self._pipe = False
        try:
            self._pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
            self._blocking = os.get_blocking(fd)
            os.set_blocking(fd, False)
        except OSError:
            # There is none; writing tells.
            pass
        _enlarge(fd)

    def watch(self) -> None:
        """
        Notice that nobody reads a pipe any more even when nothing is written.
        """
        if self._pipe:
            self.startReading()

    def fileno(self) -> int:
        return -1 if self.ended else self._fd

    def doRead(self) -> None:
        # The writing end of a pipe is never readable.
        self.stopReading()

    def writeSomeData(self, data: bytes) -> int | Exception:
        try:
            return os.write(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as e:
            self.error = e
            return CONNECTION_LOST

    def connectionLost(self, reason: Failure) -> None:
        if self.ended:
            return
        if self.dataBuffer or self._tempDataBuffer or not self.disconnecting:
            # A pipe whose reader has gone says no more than that it is over.
            reason = Failure(CONNECTION_LOST)
        super().connectionLost(reason)
        self.release()
        # Who reads the pipe shall see its end now, not when this program ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._fd)
        os.close(null)
        self._owner.writeEnded(reason)

    def release(self) -> None:
        """
        Give the descriptor back as it was.
        """
        if not self.ended:
            self.stopReading()
            self.stopWriting()
            self.ended = True
            if self._blocking is not None:
                os.set_blocking(self._fd, self._blocking)


def _enlarge(fd: int) -> None:
    """
    Let a pipe hold as much as is read at a time; fewer wake-ups are needed then.
    """
    if _SET_PIPE_SIZE is not None:
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                fcntl.fcntl(fd, _SET_PIPE_SIZE, CHUNK)
        except OSError:
            pass
