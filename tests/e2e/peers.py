"""Fake dependencies on loopback, well and badly behaved.

Each Peer is a listening socket on a port of its own and one thread a connection. It counts its
connections, can be closed (connections are then refused) and opened again on the same port, and can
turn into another kind of peer and back.
"""
import queue
import socket
import ssl
import struct
import threading
import time


def _bound(address, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


class Peer:
    """Listens on `bind`, as `host` to those who ask; hands each connection to `serve(peer, sock)`,
    which may read, write, raise or wait on `peer.closing`. `serve` and `tls` may be changed: they
    hold for the next connection."""

    def __init__(self, serve, tls=None, bind="127.0.0.1", port=0, host=None):
        self.serve = serve
        self.tls = tls
        self._bind = bind
        self._host = host or bind
        self._lock = threading.Lock()
        self._connections = set()
        self.connections = 0
        self.requests = []
        self.times = []
        # Bound, never listening: keeps the port ours while the peer is closed.
        self._reserve = _bound(bind, port)
        self.port = self._reserve.getsockname()[1]
        self._listener = None
        self.open()

    def open(self):
        self.closing = threading.Event()
        self._listener = listener = _bound(self._bind, self.port)
        listener.listen(128)
        threading.Thread(target=self._accept, args=(listener, self.closing), daemon=True).start()

    def close(self):
        """Ends the listener and every connection."""
        if self._listener is None:
            return
        self.closing.set()
        # shutdown() wakes the accepting thread, which close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            left = list(self._connections)
        for sock in left:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @property
    def address(self):
        return f"{self._host}:{self.port}"

    def url(self, path="/", scheme="http", host=None):
        return f"{scheme}://{host or self._host}:{self.port}{path}"

    def _accept(self, listener, closing):
        while not closing.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._connections.add(sock)
            threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock):
        try:
            # Bounded by the far end: every check has a deadline and then closes.
            tls = self.tls
            wrapped = tls.wrap_socket(sock, server_side=True) if tls else sock
            self.serve(self, wrapped)
            if tls:
                wrapped.close()
        except (OSError, ssl.SSLError):
            pass
        finally:
            with self._lock:
                self._connections.discard(sock)
            sock.close()

    def read_request(self, sock):
        """Bytes up to the blank line; kept in self.requests, when they came in self.times."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(4096)
            if not piece:
                break
            received += piece
        if received:
            self.times.append(time.monotonic())
            self.requests.append(received.decode("latin-1"))
        return received

    def hold(self, sock):
        """Says nothing more until the far end or the test closes."""
        while not self.closing.is_set() and sock.recv(4096):
            pass


def reset(sock):
    """Closes with RST: a linger time of zero."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def reply_bytes(status=200, body="Up and running\n", headers=()):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body.encode())}",
             "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Peers:
    """Makes peers and ends them. `where` goes to each Peer."""

    def __init__(self, **where):
        self._where = where
        self._made = []

    def close(self):
        for peer in self._made:
            peer.close()

    def at(self, **where):
        """Makes them somewhere else; they end with these."""
        others = Peers(**where)
        others._made = self._made
        return others

    def add(self, serve, tls=None):
        peer = Peer(serve, tls, **self._where)
        self._made.append(peer)
        return peer

    def http(self, status=200, body="Up and running\n", tls=None):
        """Answers as peer.status and peer.body say, which a test may change."""
        def serve(peer, sock):
            if peer.read_request(sock):
                sock.sendall(reply_bytes(peer.status, peer.body))
        peer = self.add(serve, tls)
        peer.status, peer.body = status, body
        return peer

    def gated(self):
        """Answers each request with the next status of peer.replies, a queue; waits for one."""
        def serve(peer, sock):
            if peer.read_request(sock):
                sock.sendall(reply_bytes(peer.replies.get()))
        peer = self.add(serve)
        peer.replies = queue.Queue()
        return peer

    def refused(self):
        """A port where nothing listens; peer.open() makes it a silent listener."""
        peer = self.add(lambda peer, sock: peer.hold(sock))
        peer.close()
        return peer

    def hung(self):
        """Accepts, reads, and never says a word."""
        return self.add(lambda peer, sock: peer.hold(sock))

    def dribbling(self, interval=0.05):
        """A right reply, one byte each `interval` seconds."""
        def serve(peer, sock):
            peer.read_request(sock)
            for byte in reply_bytes(body="x" * 2000):
                sock.sendall(bytes([byte]))
                if peer.closing.wait(interval):
                    return
        return self.add(serve)

    def endless(self):
        """A header section that never ends."""
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\n")
            while not peer.closing.is_set():
                sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
        return self.add(serve)

    def endless_body(self):
        """A good header section, then a body that never ends."""
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not peer.closing.is_set():
                sock.sendall(b"x" * 4096)
        return self.add(serve)

    def garbage(self):
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(bytes(range(256)) * 4 + b"\r\n\r\n")
            peer.hold(sock)
        return self.add(serve)

    def resetting(self):
        """Half a reply, then RST."""
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
            reset(sock)
        return self.add(serve)

    def closing(self):
        """Half a reply, then FIN."""
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        return self.add(serve)

    def right_then_hang(self):
        """A whole reply with its length, and then the connection stays open."""
        def serve(peer, sock):
            peer.read_request(sock)
            sock.sendall(reply_bytes())
            peer.hold(sock)
        return self.add(serve)
