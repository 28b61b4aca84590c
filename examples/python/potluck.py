"""A client of a Potluck node, with the standard library only.

    python3 potluck.py put greeting hello
    python3 potluck.py get greeting
    python3 potluck.py chat kitchen alice      # run it on several machines, and type

A node (`potluck up`) runs on each machine; this program asks the one beside it over HTTP. There is no
server in between: what is put on one machine is read on all others, and a chat needs no host.
"""

import base64
import json
import os
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

URL = os.environ.get("POTLUCK_NODE", "http://127.0.0.1:8080")


class Conflict(Exception):
    """Two nodes wrote a name at the same time. `values` are both; `context` supersedes them."""

    def __init__(self, values, context):
        super().__init__(f"{len(values)} values to merge")
        self.values, self.context = values, context


class Potluck:
    """The node at `url`. `timeout` is that of one request, in seconds."""

    def __init__(self, url=URL, timeout=35, token=None):
        self.url, self.timeout, self.token = url, timeout, token

    def request(self, method, path, body=None, headers=None, timeout=None):
        """Sends a request and gives the open answer; an error of the node is a `HTTPError`."""
        headers = dict(headers or {})
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=timeout or self.timeout)

    @staticmethod
    def path(name):
        return "/v1/kv/" + urllib.parse.quote(name)

    def put(self, name, value, context=None):
        """Stores bytes or text. Returns how many replicas acknowledged, of how many wanted."""
        data = value.encode() if isinstance(value, str) else value
        headers = {"content-type": "application/octet-stream"}
        if context:
            headers["x-potluck-context"] = context
        try:
            with self.request("PUT", self.path(name), data, headers) as answer:
                told = json.load(answer)
                return told["acks"], told["wanted"]
        except urllib.error.HTTPError as error:
            raise conflict_of(error) or error from None

    def get(self, name):
        """The bytes under a name; `None` if there are none."""
        try:
            with self.request("GET", self.path(name)) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise conflict_of(error) or error from None

    def update(self, name, change):
        """Writes `change(values)` over what was read: no value, one, or siblings of several writers.

        Nothing is locked in between. What another node writes meanwhile is not lost: it stays beside this
        value, and the next update gets both."""
        try:
            with self.request("GET", self.path(name)) as answer:
                values, context = [answer.read()], answer.headers["x-potluck-context"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                values, context = [], json.load(error).get("context") or "none"
            elif found := conflict_of(error):
                values, context = found.values, found.context
            else:
                raise
        return self.put(name, change(values), context)

    def increment(self, name, by=1):
        """Adds to a counter: additions of all nodes count, also of those that were cut off for a while."""
        body = json.dumps({"op": "incr", "by": str(by)}).encode()
        with self.request("POST", self.path(name), body, {"content-type": "application/json"}):
            return int(self.get(name))

    def publish(self, topic, message):
        """Sends a message to all nodes that listen to a topic."""
        path = "/v1/topics/" + urllib.parse.quote(topic)
        headers = {"content-type": "application/octet-stream"}
        self.request("POST", path, message.encode(), headers).close()

    def listen(self, topic):
        """Yields the messages of a topic as they come, until the node stops or nothing came for an hour."""
        path = "/v1/topics/" + urllib.parse.quote(topic)
        with self.request("GET", path, timeout=3600) as answer:
            event, data = "", []
            for line in answer:
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"event":
                    event = value.decode()
                elif field == b"data":
                    data.append(value)
                elif not field:
                    text = b"\n".join(data)
                    if data and event in ("", "base64"):
                        yield base64.b64decode(text) if event else text
                    event, data = "", []


def conflict_of(error):
    """The conflict that an answer tells of, if it does."""
    if error.code != 409:
        return None
    told = json.load(error)
    values = [base64.b64decode(one["valueBase64"]) for one in told.get("siblings", [])]
    return Conflict(values, told.get("context"))


def main(words):
    node = Potluck()
    match words:
        case ["put", name, value]:
            print("%d of %d acknowledged" % node.put(name, value))
        case ["get", name]:
            value = node.get(name)
            print("there is no such record" if value is None else value.decode(errors="replace"))
            return 3 if value is None else 0
        case ["chat", topic, me]:
            show = lambda: [print(message.decode(errors="replace")) for message in node.listen(topic)]
            threading.Thread(target=show, daemon=True).start()
            for line in sys.stdin:
                node.publish(topic, f"{me}: {line.rstrip()}")
        case _:
            print(__doc__.strip())
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
