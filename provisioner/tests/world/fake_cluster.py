#!/usr/bin/env python3
"""Stands in for the cluster program where only its being a process matters: it takes settings, keeps them,
says that it is healthy, and ends when told to. A file `die` in its data folder makes it end at its start, a file
`peek` makes it try to leave its walls first."""
import http.server
import json
import os
import signal
import socket
import socketserver
import sys
import tomllib

command, config = sys.argv[1], tomllib.load(open(sys.argv[3], "rb"))
data = config["role_dir_data"]
if os.path.exists(data + "/die"):
    sys.exit(7)
os.makedirs(data + "/sc", exist_ok=True)
if os.path.exists(data + "/peek"):
    # What somebody who had taken over this process would try.
    tried = {}
    for path in open(data + "/peek").read().split():
        try:
            open(path).close()
            tried[path] = "read"
        except OSError as error:
            tried[path] = error.strerror
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError as error:
        tried["tcp"] = error.strerror
    try:
        os.kill(os.getppid(), 0)
        tried["signal"] = "sent"
    except OSError as error:
        tried["signal"] = error.strerror
    with open(data + "/peeked.new", "w") as file:
        json.dump(tried, file)
    os.rename(data + "/peeked.new", data + "/peeked")
kept = data + "/sc/settings.json"
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))


def bind(address, mode):
    path = address.removeprefix("unix:")
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, mode)
    listener.listen(64)
    return listener


def settings():
    return json.load(open(kept)) if os.path.exists(kept) else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, code, document):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        new = json.loads(self.rfile.read(int(self.headers["content-length"])))
        current = settings()
        if current and current["generation"] > new["generation"]:
            return self.reply(409, {"error": "older"})
        with open(kept + ".new", "w") as file:
            json.dump(new, file)
        os.rename(kept + ".new", kept)
        self.reply(200, {})

    def do_GET(self):
        current = settings()
        if not current:
            return self.reply(503, {"ready": False, "reason": "no settings yet", "generation": 0})
        spus = [dict(spu, online=True) for spu in current["spus"]]
        health = {"ready": True, "generation": current["generation"], "spus": spus}
        self.reply(200, health | {"partitions": 1, "storage_bytes": 42})


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True

    def __init__(self, listener):
        super().__init__("unix", Handler)
        self.socket = listener

    def fileno(self):
        return self.socket.fileno()

    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)

    def shutdown_request(self, request):
        request.close()


sections = [config[name] for name in ("sc", "spu") if name in config]
public = [bind(address, 0o660) for section in sections for address in section["public"]]
Server(bind(sections[0]["control"], 0o600)).serve_forever()
