#!/usr/bin/env python3
"""Nodes that find each other without an entry point, as real processes in network namespaces.

    sudo bench/find.py POTLUCK lan [NODES]      a bridge without DNS, entry point or default route
    sudo bench/find.py POTLUCK invite [NODES]   the same, restarted without their peers, by keyed tags
    sudo bench/find.py POTLUCK beacon [NODES]   the same as lan, without multicast DNS
    sudo bench/find.py POTLUCK srv [NODES]      two halves whose entry point is dead, by SRV records

POTLUCK is the program. Prints one line of JSON: the seconds from the start of the last process until each node takes all
others for alive.
Needs root and `ip` (iproute2); without them it says so and ends with exit code 0. Nothing outside its own
namespaces is touched, and all of it is removed at the end.
"""

import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TAG = f"pf{os.getpid()}"
PATIENCE_S = int(os.environ.get("PATIENCE_S", "60"))
DNS = 250
DEAD = 249


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


def address(number):
    return f"10.78.0.{number}"


class Lab:
    """A bridge in a namespace, and namespaces with one wire each to it."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="potluck-find-")
        self.names = []
        self.processes = {}
        self.bridge = self.namespace("mid")
        run("ip", "-n", self.bridge, "link", "add", "bridge", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.bridge, "link", "set", "bridge", "up")

    def namespace(self, suffix):
        name = f"{TAG}-{suffix}"
        run("ip", "netns", "add", name)
        self.names.append(name)
        return name

    def machine(self, number):
        name, wire = self.namespace(number), f"w{number}"
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.bridge, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "-n", self.bridge, "link", "set", wire, "master", "bridge", "up")
        run("ip", "-n", name, "addr", "add", f"{address(number)}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        return name

    def resolver(self, number):
        """Names the DNS server to the programs of a machine."""
        folder = f"/etc/netns/{TAG}-{number}"
        os.makedirs(folder)
        with open(f"{folder}/resolv.conf", "w") as file:
            file.write(f"nameserver {address(DNS)}\noptions timeout:1 attempts:1\n")

    def up(self, number, *words, **settings):
        env = {"PATH": os.environ["PATH"], "HOME": self.work}
        env |= {f"POTLUCK_{key.upper()}": value for key, value in settings.items()}
        log = open(f"{self.work}/log{number}", "a")
        words = ["ip", "netns", "exec", f"{TAG}-{number}", POTLUCK, "up", *words]
        words += ["--data", f"{self.work}/data{number}", "--http", "127.0.0.1:8080"]
        self.processes[number] = subprocess.Popen(words, env=env, stdout=log, stderr=log)

    def stop(self, number):
        process = self.processes.pop(number)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def ask(self, number, *words):
        env = {"PATH": os.environ["PATH"], "HOME": self.work}
        words = ["ip", "netns", "exec", f"{TAG}-{number}", POTLUCK, "--node", "http://127.0.0.1:8080", *words]
        words += ["--token-file", f"{self.work}/data{number}/token"] if words[6] == "invite" else []
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=30)

    def until_all_know(self, numbers):
        """Seconds until each knows all, per node. Each is watched by a thread in its namespace."""
        began, knows = time.monotonic(), {}
        watchers = [threading.Thread(target=watch, args=(it, len(numbers), began, knows)) for it in numbers]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join()
        return knows

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        for name in self.names:
            run("ip", "netns", "del", name, check=False)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.work, ignore_errors=True)


def watch(number, wanted, began, knows):
    """Notes when the node takes so many for alive."""
    with open(f"/run/netns/{TAG}-{number}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
    while number not in knows and time.monotonic() - began < PATIENCE_S:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=2)
            connection.request("GET", "/v1/members")
            members = json.loads(connection.getresponse().read())["members"]
            if sum(member["state"] == "alive" for member in members) == wanted:
                knows[number] = round(time.monotonic() - began, 2)
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            pass
        time.sleep(0.1)


def label(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def serve_dns(targets):
    """A DNS server with SRV records of `seed.test` that lead to these machines, for the calling namespace."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address(DNS), 53))
    while True:
        question, sender = server.recvfrom(2048)
        end, parts = 12, []
        while question[end]:
            parts.append(question[end + 1 : end + 1 + question[end]].decode().lower())
            end += question[end] + 1
        kind = struct.unpack(">H", question[end + 1 : end + 3])[0]
        name, answers = ".".join(parts), []
        if kind == 33 and name == "_potluck._udp.seed.test":
            for number in targets:
                data = struct.pack(">HHH", 0, 0, 12345) + label(f"n{number}.seed.test")
                answers.append((33, data))
        elif kind == 1 and parts[0][:1] == "n" and parts[1:] == ["seed", "test"]:
            answers.append((1, socket.inet_aton(address(int(parts[0][1:])))))
        known = answers or name.endswith("seed.test")
        reply = question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(answers), 0, 0)
        reply += question[12 : end + 5]
        for answer, data in answers:
            reply += struct.pack(">HHHIH", 0xC00C, answer, 1, 60, len(data)) + data
        server.sendto(reply, sender)


def report(kind, nodes, knows):
    seconds = sorted(knows.values())
    line = {"kind": kind, "nodes": nodes, "complete": len(knows)}
    if seconds:
        line |= {"firstSeconds": seconds[0], "medianSeconds": seconds[len(seconds) // 2]}
        line |= {"lastSeconds": seconds[-1]}
    print(json.dumps(line), flush=True)
    return len(knows) == nodes


def lan(lab, nodes, kind):
    numbers = range(1, nodes + 1)
    for number in numbers:
        lab.machine(number)
    mdns = {"network_mdns": "false"} if kind == "beacon" else {}
    for number in numbers:
        lab.up(number, "--network", "air", "--admission", "lab", **mdns)
    return report(kind, nodes, lab.until_all_know(numbers))


def invite(lab, nodes):
    numbers = range(1, nodes + 1)
    for number in numbers:
        lab.machine(number)
    lab.up(1)
    ticket = ""
    while not ticket:
        time.sleep(0.2)
        said = lab.ask(1, "invite", "--reusable")
        ticket = said.stdout.strip() if said.returncode == 0 else ""
    for number in numbers[1:]:
        lab.up(number, ticket)
    knows = lab.until_all_know(numbers)
    if len(knows) < nodes:
        return report("invite: before the restart", nodes, knows)
    for number in numbers:
        lab.stop(number)
    for number in numbers:
        for name in ("peers", "issuers"):
            path = f"{lab.work}/data{number}/{name}"
            if os.path.exists(path):
                os.remove(path)
        lab.up(number)
    return report("invite", nodes, lab.until_all_know(numbers))


def srv(lab, nodes):
    numbers = range(1, nodes + 1)
    for number in [*numbers, DNS, DEAD]:
        lab.machine(number)
    for number in numbers:
        lab.resolver(number)
    settings = {"reach_lan": "false", "network_dns_fallback": "seed.test"}
    words = (f"{address(DEAD)}:12345", "--network", "halves", "--admission", "lab")
    lab.up(DEAD, *words[1:], reach_lan="false")
    for number in numbers:
        lab.up(number, *words, **settings)
    knows = lab.until_all_know([*numbers, DEAD])
    if len(knows) < nodes + 1:
        return report("srv: before the entry point died", nodes + 1, knows)
    for number in [*numbers, DEAD]:
        lab.stop(number)
    for number in numbers:
        path = f"{lab.work}/data{number}/peers"
        if os.path.exists(path):
            os.remove(path)
    # One node of each half, and one machine where nobody is.
    targets = [1, nodes // 2 + 1, DEAD]
    server = subprocess.Popen(
        ["ip", "netns", "exec", f"{TAG}-{DNS}", sys.executable, __file__, "dns", *map(str, targets)]
    )
    lab.processes["dns"] = server
    for number in numbers:
        lab.up(number, *words, **settings)
    knows = lab.until_all_know(numbers)
    return report("srv", nodes, knows)


def main():
    if sys.argv[1:2] == ["dns"]:
        return serve_dns([int(number) for number in sys.argv[2:]])
    if len(sys.argv) < 3 or sys.argv[2] not in ("lan", "invite", "beacon", "srv"):
        sys.exit(__doc__)
    if os.geteuid() != 0 or shutil.which("ip") is None or run("ip", "netns", "list", check=False).returncode:
        print("skipped: it needs root, `ip` (iproute2) and network namespaces", file=sys.stderr)
        return None
    kind, nodes = sys.argv[2], int((sys.argv[3:] or ["16" if sys.argv[2] != "srv" else "8"])[0])
    try:
        lab = Lab()
    except subprocess.CalledProcessError as error:
        print(f"skipped: this system refuses network namespaces ({error.stderr.strip()})", file=sys.stderr)
        return None
    try:
        right = {"srv": srv, "invite": invite}.get(kind, lambda lab, nodes: lan(lab, nodes, kind))(lab, nodes)
    finally:
        lab.end()
    sys.exit(0 if right else 1)


POTLUCK = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ""
main()
