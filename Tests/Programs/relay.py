# SPDX-License-Identifier: Apache-2.0
"""A relay between programs and a server, which counts what passes and can be as slow as a network."""
import socket
import threading
import time


class Relay:
    """Passes connections on to `server` (host:port) and counts what programs send.

    With a `rate` it takes no more bytes a second than that.
    """

    def __init__(self, server, rate=None):
        host, _, port = server.rpartition(":")
        self.server, self.rate, self.sent = (host, int(port)), rate, 0
        self.listener = socket.socket()
        if rate:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                program, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.server)
            for end in (program, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._copy, args=(program, server, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, program, False), daemon=True).start()

    def _copy(self, source, target, is_counted):
        began, count = time.perf_counter(), 0
        try:
            while data := source.recv(64 << 10):
                count += len(data)
                if is_counted:
                    self.sent += len(data)
                    if self.rate and (early := began + count / self.rate - time.perf_counter()) > 0:
                        time.sleep(early)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
