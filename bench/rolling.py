#!/usr/bin/env python3
"""Replaces the nodes of a network by another build, one by one, under load.

    cargo build --release && cp target/release/potluck /tmp/potluck-n
    cargo build --release --features next-version && cp target/release/potluck /tmp/potluck-next
    bench/rolling.py /tmp/potluck-n /tmp/potluck-next

Nine nodes of the first build hold records. Clients read and write at a fixed rate while each node is taken out
of service, stopped with `--on-term pause`, and started again with the second build on the same data folder and
ports. Printed are the operations that failed, the bytes of repair that all nodes sent, and what they store. The
exit code is 0 if none failed, each value read was the last one that was acknowledged, and repair was at most 1 %
of the stored bytes. `--back` replaces the nodes by the first build again afterwards.
"""
import argparse, http.client, json, os, random, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


REPAIR = [f"potluck_kv_{name}_total" for name in ("keys_offered", "keys_pulled", "keys_served", "comparisons",
          "comparisons_differing", "differences_found", "fingerprints_compared", "changes_read", "read_repairs")]


class Node:
    def __init__(self, folder, number):
        self.data = os.path.join(folder, f"node{number}")
        self.udp = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self.http = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.process, self.log = None, os.path.join(folder, f"node{number}.log")
        self.users, self.lock, self.serves = 0, threading.Lock(), False
        self.past = {}

    def start(self, program, entry, timeout=60):
        words = [program, "up", "--network", "rolling", "--admission", "lab", "--data", self.data,
                 "--listen", self.udp, "--http", self.http, "--on-term", "pause", "--exit-with-stdin"]
        self.process = subprocess.Popen(words + entry, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(self.log, "ab"), text=True)
        self.contact = None
        for line in self.process.stdout:
            if line.startswith("contact "):
                self.contact = line.split()[1]
            if line.strip() == "ready":
                break
        else:
            raise SystemExit(f"{program} ended before it was ready: see {self.log}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.serves = True

    def ask(self, method, path, body=None, timeout=20):
        connection = http.client.HTTPConnection(self.http, timeout=timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def counters(self):
        found = {}
        for line in self.ask("GET", "/metrics")[1].decode().splitlines():
            match = re.match(r'potluck_bytes_total\{direction="out",purpose="(\w+)"\} (\d+)', line)
            if match:
                found[match[1]] = int(match[2])
            for name in ("potluck_store_record_bytes", "potluck_link_requests_lowered_total", *REPAIR):
                if line.startswith(name + " "):
                    found[name] = float(line.split()[1])
        return found

    def sent(self):
        now = self.counters()
        both = dict(self.past)
        for name, count in now.items():
            both[name] = both.get(name, 0) + count if name != "potluck_store_record_bytes" else count
        return both

    def stop(self):
        self.serves = False
        while True:
            with self.lock:
                if self.users == 0:
                    break
            time.sleep(0.01)
        self.past = self.sent()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Load:
    """Each worker has names of its own, so it knows what it must read."""

    def __init__(self, nodes, rate, workers):
        self.nodes, self.done, self.failed, self.stale = nodes, 0, [], []
        self.ends, self.times = False, []
        self.threads = [threading.Thread(target=self.work, args=(at, rate / workers)) for at in range(workers)]

    def node(self, draw):
        while True:
            node = draw.choice(self.nodes)
            with node.lock:
                if node.serves:
                    node.users += 1
                    return node

    def work(self, worker, rate):
        draw, known, due, count = random.Random(worker), {}, time.monotonic(), 0
        while not self.ends:
            due += 1 / rate
            time.sleep(max(0, due - time.monotonic()))
            name = f"load/{worker}/{draw.randrange(50)}"
            write = name not in known or draw.random() < 0.5
            node, began = self.node(draw), time.monotonic()
            try:
                if write:
                    count += 1
                    value = f"{worker}:{count}:".encode().ljust(200, b".")
                    status, told = node.ask("PUT", f"/v1/kv/{name}", value)
                    if status == 200:
                        known[name] = value
                    else:
                        self.failed.append((name, status, told[:200]))
                else:
                    status, told = node.ask("GET", f"/v1/kv/{name}")
                    if status != 200:
                        self.failed.append((name, status, told[:200]))
                    elif told != known[name]:
                        self.stale.append((name, told[:20], known[name][:20]))
            except OSError as error:
                self.failed.append((name, 0, str(error)))
            finally:
                with node.lock:
                    node.users -= 1
            self.done += 1
            self.times.append(time.monotonic() - began)


def replace(nodes, program):
    for node in nodes:
        node.stop()
        others = [other.contact for other in nodes if other is not node][:3]
        node.start(program, others)
        time.sleep(1)


def quiet(nodes):
    """Waits until what storing left to repair is done: ten seconds in which hardly any repair was sent."""
    sent = lambda: sum(node.sent().get("repair", 0) for node in nodes)
    deadline, last = time.monotonic() + 180, sent()
    while time.monotonic() < deadline:
        time.sleep(10)
        now = sent()
        if now - last < 20_000 * len(nodes):
            return
        last = now
    print("repair goes on after three minutes", flush=True)


def versions(node):
    members = json.loads(node.ask("GET", "/v1/members")[1])["members"]
    return sorted({member.get("protocol") for member in members if member["state"] == "alive"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--nodes", type=int, default=9)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--records", type=int, default=3000)
    parser.add_argument("--bytes", type=int, default=8192)
    parser.add_argument("--back", action="store_true")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="rolling")
    nodes = [Node(folder, number) for number in range(args.nodes)]
    try:
        for node in nodes:
            node.start(args.old, [other.contact for other in nodes if other.process and other is not node][:3])
        deadline = time.monotonic() + 60
        while any(len(json.loads(node.ask("GET", "/v1/members")[1])["members"]) < args.nodes for node in nodes):
            if time.monotonic() > deadline:
                raise SystemExit("the nodes do not know each other")
            time.sleep(0.2)
        began = time.monotonic()
        for record in range(args.records):
            status, told = nodes[record % args.nodes].ask("PUT", f"/v1/kv/stored/{record}", os.urandom(args.bytes))
            if status != 200:
                raise SystemExit(f"record {record}: {status} {told}")
        print(f"stored {args.records} records of {args.bytes} bytes in {time.monotonic() - began:.0f} s", flush=True)
        quiet(nodes)
        before = [node.sent() for node in nodes]
        load, began = Load(nodes, args.rate, 16), time.monotonic()
        for thread in load.threads:
            thread.start()
        time.sleep(3)
        for program in [args.new] + [args.old] * args.back:
            replace(nodes, program)
            print(f"all nodes run {os.path.basename(program)}; versions {versions(nodes[0])}", flush=True)
        time.sleep(5)
        load.ends = True
        for thread in load.threads:
            thread.join()
        took = time.monotonic() - began
        after = [node.sent() for node in nodes]
        grown = lambda name: sum(b.get(name, 0) - a.get(name, 0) for a, b in zip(before, after))
        stored = sum(node["potluck_store_record_bytes"] for node in after)
        repair, lowered = grown("repair"), grown("potluck_link_requests_lowered_total")
        times = sorted(load.times)
        print(f"{load.done} operations in {took:.0f} s ({load.done / took:.0f} a second), {len(load.failed)} failed, "
              f"{len(load.stale)} stale; p50 {times[len(times) // 2] * 1000:.1f} ms, "
              f"p99 {times[len(times) * 99 // 100] * 1000:.1f} ms")
        print(f"repair sent {repair / 1e6:.2f} MB, {100 * repair / stored:.2f} % of {stored / 1e6:.0f} MB stored at all nodes; "
              f"{lowered:.0f} requests asked again in an older version")
        print("sent meanwhile, MB: " + ", ".join(f"{name} {grown(name) / 1e6:.2f}" for name in
              ("probe", "lookup", "record", "repair", "gossip", "search", "file", "application", "link")))
        print("repair counted: " + ", ".join(f"{name[11:-6]} {grown(name):.0f}" for name in REPAIR))
        for what in load.failed[:5] + load.stale[:5]:
            print("  ", what)
        errors = [line for node in nodes for line in open(node.log, errors="replace") if " ERROR " in line]
        for line in errors[:5]:
            print("  ", line.strip())
        sys.exit(0 if not load.failed and not load.stale and not errors and repair <= stored / 100 else 1)
    finally:
        for node in nodes:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
