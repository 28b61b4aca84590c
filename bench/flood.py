#!/usr/bin/env python3
"""Reads records through real processes while one node of the network floods the others.

    cargo build && cargo build -p potluck-host --example flood
    bench/flood.py --program target/debug/potluck --flood target/debug/examples/flood [--nodes 8] [--seconds 15]

Nodes of a `lab` network run on loopback, half of their records are read through each of them by clients that
wait for each answer. For each kind of flood a calm period, a flooded one and a calm one take turns; the table
shows the flooded period beside the mean of the two calm ones: gets a second, the 99th percentile, failures,
the largest resident memory of a node, and members that a node holds for suspect or dead. All processes share
the machine's cores, so the flooding program also costs the readers what it uses itself.
"""
import argparse, http.client, json, os, subprocess, sys, tempfile, threading, time

RECORDS = 200


class Node:
    def __init__(self, args, folder, number, contact):
        command = [args.program, "up", *contact, "--network", "flooded", "--admission", "lab", "--data",
                   f"{folder}/n{number}", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        environment = {**os.environ, "XDG_DATA_HOME": folder, "POTLUCK_NETWORK_MDNS": "false",
                       "POTLUCK_REACH_LAN": "false"}
        environment.pop("XDG_RUNTIME_DIR", None)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(f"{folder}/log{number}", "w"),
                                        text=True, env=environment)
        self.facts, self.told = {}, threading.Event()
        threading.Thread(target=self.read, daemon=True).start()
        if not self.told.wait(60):
            raise SystemExit(f"node {number} is not ready: {open(f'{folder}/log{number}').read()}")

    def read(self):
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            self.facts[word] = rest
            if word == "ready":
                self.told.set()

    def address(self):
        return self.facts["http"].removeprefix("http://").rstrip("/")

    def ask(self, path, method="GET", body=None):
        connection = http.client.HTTPConnection(self.address(), timeout=30)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def processor(self):
        """Seconds of processor time that it used."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


def read_for(nodes, seconds, clients):
    """Gets a second, the 99th percentile in milliseconds, the failures, and the cores that the nodes used."""
    end, took, failed, lock = time.monotonic() + seconds, [], [0], threading.Lock()
    used = sum(node.processor() for node in nodes)

    def client(number):
        node, mine, bad, turn = nodes[number % len(nodes)], [], 0, number
        connection = http.client.HTTPConnection(node.address(), timeout=30)
        while time.monotonic() < end:
            turn += 7
            began = time.monotonic()
            try:
                connection.request("GET", f"/v1/kv/record-{turn % RECORDS}")
                answer = connection.getresponse()
                body = answer.read()
                bad += answer.status != 200 or not body
            except OSError:
                bad += 1
                connection = http.client.HTTPConnection(node.address(), timeout=30)
            mine.append(time.monotonic() - began)
        with lock:
            took.extend(mine)
            failed[0] += bad

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    cores = (sum(node.processor() for node in nodes) - used) / seconds
    return len(took) / seconds, took[int(len(took) * 0.99)] * 1000 if took else 0.0, failed[0], cores


def datagrams(node):
    """Datagrams that a node received, and how many of them it dropped for each reason."""
    found = {}
    for line in node.ask("/metrics")[1].decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith(("potluck_link_datagrams_in", "potluck_link_dropped", "potluck_loop_datagrams")):
            found[name.removeprefix("potluck_").replace("_total", "")] = int(float(value))
    return found


def members(node):
    return json.loads(node.ask("/v1/members")[1])["members"]


def suspected(nodes, ids):
    """How often a node holds one of the nodes with these ids for suspect or dead."""
    return sum(member["id"] in ids and member["state"] != "alive" for node in nodes for member in members(node))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--flood", required=True)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--targets", type=int, default=0, help="nodes that are flooded (default: all)")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--kinds", default="datagrams,bad,loads,offers,topics,all,forged")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="potluck-flood-")
    nodes = []
    try:
        for number in range(args.nodes):
            nodes.append(Node(args, folder, number, [nodes[0].facts["contact"]] if nodes else []))
        deadline = time.monotonic() + 60
        while any(len(members(node)) < args.nodes for node in nodes):
            if time.monotonic() > deadline:
                raise SystemExit("the members do not find each other")
            time.sleep(0.5)
        for number in range(RECORDS):
            status, body = nodes[number % len(nodes)].ask(f"/v1/kv/record-{number}", "PUT", b"x" * 200)
            if status >= 300:
                raise SystemExit(f"a put failed: {status} {body}")
        ids = {member["id"] for node in nodes for member in members(node) if member["self"]}
        targets = [node.facts["contact"] for node in nodes[:args.targets or args.nodes]]
        print(f"{args.nodes} nodes, {args.clients} clients, {args.seconds} s a period, {RECORDS} records of 200 bytes")
        print(f"{'flood':<10} {'calm/s':>7} {'flood/s':>8} {'share':>6} {'calm p99':>9} {'flood p99':>10} {'failed':>7} "
              f"{'RSS MiB':>14} {'suspect':>8} {'cores of nodes, flood':>22}")
        for kind in args.kinds.split(","):
            before = read_for(nodes, args.seconds, args.clients)
            rss = max(node.resident() for node in nodes)
            spent = os.times()
            children = spent.children_user + spent.children_system
            flood = subprocess.Popen([args.flood, kind, str(args.seconds + 2), "flooded", *targets],
                                     stdout=subprocess.PIPE, text=True)
            time.sleep(1)
            received = datagrams(nodes[0])
            during = read_for(nodes, args.seconds, args.clients)
            bad, rss_after = suspected(nodes, ids), max(node.resident() for node in nodes)
            grown = {name: value - received.get(name, 0) for name, value in datagrams(nodes[0]).items()}
            said = flood.communicate(timeout=60)[0]
            spent = os.times()
            flooding = (spent.children_user + spent.children_system - children) / (args.seconds + 2)
            time.sleep(3)
            after = read_for(nodes, args.seconds, args.clients)
            calm, p99 = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
            print(f"{kind:<10} {calm:>7.0f} {during[0]:>8.0f} {during[0] / calm:>6.0%} {p99:>6.0f} ms {during[1]:>7.0f} ms "
                  f"{during[2]:>7} {rss:>6.0f}->{rss_after:<6.0f} {bad:>8} {during[3]:>14.2f}, {flooding:.2f}", flush=True)
            print("    at the first node: " + ", ".join(f"{name} {value}" for name, value in grown.items() if value))
            for line in said.splitlines():
                print(f"    {line}")
    finally:
        for node in nodes:
            node.process.terminate()
        for node in nodes:
            node.process.wait(30)


main()
