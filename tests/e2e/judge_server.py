"""A server that speaks Ollama's and OpenAI's chat APIs, well or badly, for tests of `my-llm instruct score`.

    with Judge(lambda question, times: "85") as judge:     # what it says, asked for the n-th time
        judge.plan = [status(500), answer]                 # first request fails, later ones behave
        ... judge.url ... judge.requests                   # [(path, headers, body), ...] in order

A behaviour is a function (handler, request body, text to say); the last one of the plan stays in force.
"""
import http.server
import json
import socket
import socketserver
import struct
import threading
import time


def send(handler, code, body, content_type="application/json", headers=()):
    handler.send_response(code)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def begin_stream(handler, content_type, **headers):
    handler.send_response(200)
    handler.send_header("Content-Type", content_type)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.close_connection = True


def piece_of(text, openai):
    """One piece of a streamed answer."""
    if openai:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode() + b"\n\n"
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False}).encode() + b"\n"


def answer(handler, body, text):
    """As the real ones do."""
    openai = handler.path.endswith("/chat/completions")
    if body["stream"]:
        begin_stream(handler, "text/event-stream" if openai else "application/x-ndjson")
        for letter in text:
            handler.wfile.write(piece_of(letter, openai))
            handler.wfile.flush()
        if openai:
            handler.wfile.write(b": a comment\n\n" + b'data: {"choices": [{"delta": {}}]}\n\ndata: [DONE]\n\n')
        else:
            handler.wfile.write(b'{"model": "m", "message": {"role": "assistant", "content": ""}, "done": true}\n')
    elif openai:
        send(handler, 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}, indent=2).encode())
    else:
        send(handler, 200, json.dumps({"message": {"role": "assistant", "content": text}, "done": True}).encode())


def slow(seconds):
    def behave(handler, body, text):
        handler.server.ended.wait(seconds)
        answer(handler, body, text)
    return behave


def silent(handler, body, text):
    """Takes the question and says nothing."""
    handler.server.ended.wait(60)
    handler.close_connection = True


def endless(handler, body, text):
    """An answer that goes on and on."""
    begin_stream(handler, "application/x-ndjson")
    while not handler.server.ended.is_set():
        handler.wfile.write(piece_of("85 ", False) * 500)


def one_line_without_end(handler, body, text):
    """A line of a gigabyte, if anybody took it."""
    begin_stream(handler, "application/json")
    handler.wfile.write(b'{"message": {"content": "')
    for _ in range(1 << 14):
        handler.wfile.write(b"8" * (1 << 16))


def reset(handler, body, text):
    """Half an answer, then the connection is reset."""
    begin_stream(handler, "application/x-ndjson")
    handler.wfile.write(piece_of("8", False)[:20])
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def broken_off(handler, body, text):
    """A stream that ends before its first byte, without the end that a stream has."""
    begin_stream(handler, "application/x-ndjson", Transfer_Encoding="chunked")


def half_a_stream(handler, body, text):
    """Ends in the middle of a line."""
    begin_stream(handler, "application/x-ndjson")
    handler.wfile.write(piece_of("8", False) + piece_of("5", False)[:20])


def status(code, body=b'{"error": "model \'llama3\' not found"}', content_type="application/json", headers=()):
    return lambda handler, request, text: send(handler, code, body, content_type, headers)


def page(handler, body, text):
    send(handler, 200, b"<!DOCTYPE html>\n<html><body>Please log in.</body></html>", "text/html")


def redirect(location, code=307):
    return status(code, b"", "text/plain", [("Location", location)])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][0]["content"]
        with server.lock:
            server.requests.append((self.path, dict(self.headers), body))
            server.asked[question] = server.asked.get(question, 0) + 1
            text = server.say(question, server.asked[question])
            behave = server.plan.pop(0) if len(server.plan) > 1 else server.plan[0]
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            behave(self, body, text)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError, ValueError):
            self.close_connection = True
        finally:
            with server.lock:
                server.at_once -= 1

    def do_GET(self):
        send(self, 405, b"only POST")

    def log_message(self, *arguments):
        pass


class Judge(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, say):
        super().__init__(("127.0.0.1", 0), Handler)
        self.say, self.plan = say, [answer]
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.requests, self.asked = [], {}
        self.at_once = self.most_at_once = 0
        self.url = "http://127.0.0.1:%d" % self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass

    def wait_for(self, n, seconds=30):
        """Until n requests have come."""
        end = time.monotonic() + seconds
        while len(self.requests) < n:
            assert time.monotonic() < end, f"{len(self.requests)} of {n} requests came"
            time.sleep(0.02)
