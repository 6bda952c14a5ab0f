"""A local HTTP server that misbehaves on request, for tests of the download client.

    with Server() as server:
        server.files["/a/b"] = b"..."
        server.plan["/a/b"] = [cut(100), ok]      # first request is cut, later ones behave
        ... server.url + "/a/b" ...
        server.requests                           # [(path, headers), ...] in order

A behaviour is a function (handler, body). The last one of a plan stays in force. Without a plan a file is
served properly: with ETag, Range and If-Range. Given a certificate and its key, the server speaks https.
"""
import hashlib
import http.server
import socketserver
import ssl
import threading
import time
import urllib.parse


# ---- Behaviours -------------------------------------------------------------------------------

def etag_of(body):
    return '"%s"' % hashlib.md5(body).hexdigest()


def send(handler, status, body, headers=(), length=None):
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def ranged(handler, body):
    """Status, headers and bytes of an answer that honours Range and If-Range."""
    tag = etag_of(body)
    headers = [("ETag", tag), ("Accept-Ranges", "bytes"), ("Content-Type", "application/octet-stream")]
    wanted = handler.headers.get("Range")
    if wanted and handler.headers.get("If-Range") == tag:
        begin = int(wanted.split("=")[1].split("-")[0])
        headers.append(("Content-Range", "bytes %d-%d/%d" % (begin, len(body) - 1, len(body))))
        return 206, headers, body[begin:]
    return 200, headers, body


def ok(handler, body):
    status, headers, part = ranged(handler, body)
    send(handler, status, part, headers)


def cut(n):
    """Announces everything, sends n bytes of it and closes."""
    def behave(handler, body):
        status, headers, part = ranged(handler, body)
        send(handler, status, part[:n], headers, length=len(part))
        handler.close_connection = True
    return behave


def stall(n):
    """Announces everything, sends n bytes of it and then nothing, with the connection open."""
    def behave(handler, body):
        status, headers, part = ranged(handler, body)
        send(handler, status, part[:n], headers, length=len(part))
        handler.wfile.flush()
        handler.server.ended.wait(60)
        handler.close_connection = True
    return behave


def silent(handler, body):
    """Takes the request and never answers."""
    handler.server.ended.wait(60)
    handler.close_connection = True


def slowly(bytes_per_step, step):
    """Serves properly, a few bytes at a time."""
    def behave(handler, body):
        status, headers, part = ranged(handler, body)
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        for at in range(0, len(part), bytes_per_step):
            handler.wfile.write(part[at:at + bytes_per_step])
            time.sleep(step)
    return behave


def endless(handler, body):
    """No length, and no end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.end_headers()
    handler.close_connection = True
    while not handler.server.ended.is_set():
        handler.wfile.write(b"x" * 65536)


def endless_headers(handler, body):
    handler.send_response(200)
    handler.end_headers = lambda: None
    handler.flush_headers()
    handler.close_connection = True
    number = 0
    while not handler.server.ended.is_set():
        handler.wfile.write(b"X-Filler-%d: %s\r\n" % (number, b"y" * 1000))
        number += 1


def announced(delta):
    """A Content-Length that is off by delta."""
    def behave(handler, body):
        send(handler, 200, body, [("ETag", etag_of(body))], length=len(body) + delta)
        handler.close_connection = True
    return behave


def status(code, page=b"<html><body>No.</body></html>"):
    def behave(handler, body):
        send(handler, code, page, [("Content-Type", "text/html")])
    return behave


def page(content_type, text=b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>"):
    """A web page with status 200, as captive portals send it."""
    def behave(handler, body):
        send(handler, 200, text, [("Content-Type", content_type)])
    return behave


def redirect(location, code=302):
    def behave(handler, body):
        send(handler, code, b"", [("Location", location)])
    return behave


def ignores_ranges(handler, body):
    send(handler, 200, body, [("ETag", etag_of(body))])


def without_validator(handler, body):
    send(handler, 200, body)


def range_not_satisfiable(handler, body):
    """As servers do that look at Range before If-Range."""
    if handler.headers.get("Range"):
        send(handler, 416, b"", [("Content-Range", "bytes */%d" % len(body))])
    else:
        ok(handler, body)


def wrong_range(handler, body):
    """Sends a part, but never the one that was asked for."""
    if handler.headers.get("Range"):
        headers = [("ETag", etag_of(body)), ("Content-Range", "bytes 1-%d/%d" % (len(body) - 1, len(body)))]
        send(handler, 206, body[1:], headers)
    else:
        ok(handler, body)


def unasked_part(handler, body):
    send(handler, 206, body[1:], [("Content-Range", "bytes 1-%d/%d" % (len(body) - 1, len(body)))])


def not_http(handler, body):
    handler.wfile.write(b"220 smtp.example.org ready\r\n" * 20)
    handler.close_connection = True


def chunked(cut_short):
    def behave(handler, body):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for at in range(0, len(body), 1000):
            piece = body[at:at + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not cut_short:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True
    return behave


# ---- The server -------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        path = urllib.parse.unquote(self.path)
        with server.lock:
            server.requests.append((path, dict(self.headers)))
            plan = server.plan.get(path) or server.plan.get("*") or [ok]
            behave = plan.pop(0) if len(plan) > 1 else plan[0]
        body = server.files.get(path)
        if body is None and behave is ok:
            behave = status(404)
        try:
            behave(self, body)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, certificate=None, key=None):
        super().__init__(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.files, self.plan, self.requests = {}, {}, []
        self.url = "%s://127.0.0.1:%d" % ("https" if certificate else "http", self.server_address[1])

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is what many tests are about
