"""A server on this machine that speaks the hub's paths, and fails as real servers do."""

import contextlib
import dataclasses
import hashlib
import http.server
import random
import threading

from jaxcnn.pretrained.weights_info import Preprocessing, WeightsInfo

CONTENT = random.Random(0).randbytes(300_000)  # noqa: S311
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "5d9e13b8fdab4d9718bcf2c8f5c3af01878367e8"
REPOSITORY = "timm/resnet18.tv_in1k"
FILE = "model.safetensors"


def weights(**changes):
    """Of a repository, with all that can be published of it."""
    known = {
        "name": "resnet18.tv_in1k",
        "model": "resnet18",
        "library": "timm",
        "library_name": "resnet18",
        "file": FILE,
        "repository": REPOSITORY,
        "revision": COMMIT,
        "bytes": len(CONTENT),
        "sha256": SHA256,
        "licence": "BSD-3-Clause",
        "preprocessing": Preprocessing(224, 256, "bilinear", (0.5,) * 3, (0.5,) * 3),
    }
    return WeightsInfo(**{**known, **changes})


def unknown(**changes):
    """Of an address, with nothing published of the file."""
    nothing = {"repository": "", "revision": "", "bytes": 0, "sha256": ""}
    return weights(**{**nothing, **changes})


@dataclasses.dataclass
class Server:
    """What the server does; a test changes it while it runs.

    Attributes:
      address: http://127.0.0.1:PORT, for HF_ENDPOINT.
      content: of the file.
      etag: of the file; "" for none.
      linked: SHA-256 that the hub states; "" for none, as of small files.
      fails: HTTP statuses of the next requests for the file, and a header with the reason.
      cuts: bytes after which the next answers break off.
      delay: seconds before the hub answers.
      stall: seconds without a byte in the middle of the file.
      ranges: whether a part of the file can be asked for.
      length: whether the length is stated.
      range_start: first byte that is sent, if another than was asked for.
      redirect: where the hub's answer leads; "" for this server.
      requests: (method, path, Range) of each request.
      tokens: Authorization of each request.
      started: set when the first half of a file has been sent.
    """

    address: str = ""
    content: bytes = CONTENT
    etag: str = f'"{SHA256}"'
    linked: str = SHA256
    fails: list = dataclasses.field(default_factory=list)
    reason: str = ""
    cuts: list = dataclasses.field(default_factory=list)
    delay: float = 0.0
    stall: float = 0.0
    ranges: bool = True
    length: bool = True
    range_start: int | None = None
    redirect: str = ""
    requests: list = dataclasses.field(default_factory=list)
    tokens: list = dataclasses.field(default_factory=list)
    started: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def url(self):
        return f"{self.address}/files/{FILE}"

    @property
    def gets(self):
        """Range of each request for the bytes of the file."""
        return [
            part for method, path, part in self.requests if (method, path[:7]) == ("GET", "/files/")
        ]


@contextlib.contextmanager
def serving(context=None):
    """Yields a server that runs, with TLS if there is a context."""
    server = Server()

    class Handler(_Handler):
        behaviour = server

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        scheme = "https" if context else "http"
        server.address = f"{scheme}://127.0.0.1:{running.server_address[1]}"
        running.handle_error = lambda *args: None  # of a client that refuses the certificate
        if context:
            running.socket = context.wrap_socket(
                running.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Server

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        server = self.behaviour
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        server.tokens.append(self.headers.get("Authorization"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if server.fails:
                headers = {"X-Error-Code": server.reason} if server.reason else {}
                self._end(server.fails.pop(0), headers)
            elif self.path.startswith("/files/"):
                self._send_file()
            else:
                self._resolve()

    def _resolve(self):
        """Answers as the hub does: its headers, and a redirect to the bytes."""
        server = self.behaviour
        threading.Event().wait(server.delay)
        repository, _, rest = self.path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        if repository != REPOSITORY:
            self._end(401, {"X-Error-Code": "RepoNotFound"})
        elif revision not in (COMMIT, "main"):
            self._end(404, {"X-Error-Code": "RevisionNotFound"})
        elif file != FILE:
            self._end(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            stated = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(server.content))}
            stated["ETag"] = '"0123456789012345678901234567890123456789"'
            if server.linked:
                stated["X-Linked-ETag"] = f'"{server.linked}"'
            # Another host: the hub's bytes are on one, and clients send no token there.
            stated["Location"] = server.redirect or server.url.replace("127.0.0.1", "localhost")
            self._end(302, stated)

    def _end(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_file(self):
        server = self.behaviour
        start, part = 0, self.headers.get("Range")
        if part and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(part.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.content):
            self._end(416, {"Content-Range": f"bytes */{len(server.content)}"})
            return
        if start and server.range_start is not None:
            start = server.range_start
        body, size = server.content[start:], len(server.content)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.close_connection = True
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self._send(body)

    def _send(self, body):
        server = self.behaviour
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        server.started.set()
        threading.Event().wait(server.stall)  # tests replace time.sleep
        self.wfile.write(body[half:])
