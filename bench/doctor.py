#!/usr/bin/env python3
"""Breaks real networks of processes on loopback, one fault at a time, and says whether `doctor` names it.

    bench/doctor.py --program target/debug/potluck [--only NAME ..] [--keep]

Each fault starts a network of its own, waits until it is quiet, breaks it, and asks `potluck doctor` on the
machine named in the fault until the expected code is there. The time is that of the doctor run which named
it; how long after the fault that was stands beside it, since a death is only believed after some seconds.
Healthy networks must have no finding at all. Exit 0: all as expected.

Needs nothing but Python. The clock needs faketime; full disk and receive buffer need root; loss and blocked
UDP need nft and a network of their own (`bench/alone.sh bench/doctor.py ..`), where the receive buffer cannot
be set. What is missing is left out, and
the summary says so.
"""
import argparse, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time, urllib.request

NODE_SECONDS = 20


class Node:
    def __init__(self, net, number, entry=(), extra=(), wrap=(), data=None, env=None, ready=True, program=None):
        self.net, self.number = net, number
        self.data = data or os.path.join(net.folder, f"n{number}")
        command = [*wrap, program or net.program, "up", *entry, "--data", self.data, "--listen", "127.0.0.1:0",
                   "--http", "127.0.0.1:0", "--network", net.name, *net.admission, "--label", f"host=m{number}", *extra]
        self.log = open(os.path.join(net.folder, f"log{number}-{time.time_ns()}"), "w+")
        environment = {**os.environ, "XDG_DATA_HOME": net.folder, "POTLUCK_NETWORK_MDNS": "false",
                       "POTLUCK_REACH_LAN": "false", "POTLUCK_FILES_PATHS": net.folder, **net.env, **(env or {})}
        environment.pop("XDG_RUNTIME_DIR", None)
        self.environment = environment
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment,
                                        stdin=subprocess.DEVNULL)
        self.contact = self.url = None
        self.is_ready = threading.Event()
        self.known = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()
        if not self.known.wait(NODE_SECONDS):
            raise SystemExit(f"node {number} did not start: {open(self.log.name).read()}")
        if ready and not self.is_ready.wait(NODE_SECONDS):
            raise SystemExit(f"node {number} is not ready: {open(self.log.name).read()}")

    def read(self):
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "contact":
                self.contact = rest
            elif word == "http":
                self.url = rest
                self.known.set()
            elif word == "ready":
                self.is_ready.set()

    def pid(self):
        """The node itself, where it was started through another program."""
        children = open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()
        return int(children[0]) if children else self.process.pid

    def run(self, *words, check=True, seconds=30):
        done = subprocess.run([self.net.program, *words, "--node", self.url], capture_output=True, text=True,
                              timeout=seconds, env=self.environment)
        if check and done.returncode:
            raise SystemExit(f"{words}: {done.returncode} {done.stderr}")
        return done

    def doctor(self, *words):
        began = time.monotonic()
        done = self.run("doctor", "--json", *words, check=False)
        took = time.monotonic() - began
        try:
            return json.loads(done.stdout), took, done.returncode
        except json.JSONDecodeError:
            return {"findings": [], "ok": None, "error": done.stderr + done.stdout}, took, done.returncode

    def get(self, path):
        return json.load(urllib.request.urlopen(self.url + path, timeout=5))

    def kill(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGCONT)
            os.kill(self.pid(), how)
            self.process.wait(20)


class Net:
    other = None
    # Hours that a certificate is good for.
    life_hours = 365 * 24

    def __init__(self, program, count=5, admission=("--admission", "lab"), **env):
        self.program, self.folder, self.name = program, tempfile.mkdtemp(prefix="potluck-doctor-"), "doctor"
        self.admission, self.env, self.nodes = list(admission), env, []
        for _ in range(count):
            self.add()
        self.settle(count)

    def add(self, entry=None, **more):
        if entry is None:
            entry = [self.nodes[0].contact] if self.nodes else []
        node = Node(self, len(self.nodes), entry, **more)
        self.nodes.append(node)
        return node

    def settle(self, count, seconds=30):
        wait(lambda: all(node.get("/v1/overview")["network"]["alive"] >= count for node in self.nodes), seconds)

    def close(self, keep=False):
        for node in self.nodes:
            node.kill()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return True
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    return False


FAULTS, HEALTHY = {}, {}


def fault(*codes, within=30):
    def note(function):
        FAULTS[function.__name__.replace("_", "-")] = (function, codes, within)
        return function
    return note


def healthy(function):
    HEALTHY[function.__name__.replace("_", "-")] = function
    return function


# Each fault gives the node to ask, and further words for doctor.

@fault("member.silent")
def stopped_process(net):
    os.kill(net.nodes[3].pid(), signal.SIGSTOP)
    return net.nodes[0], ()


@fault("node.stuck")
def own_process_stopped(net):
    os.kill(net.nodes[3].pid(), signal.SIGSTOP)
    return net.nodes[3], ("--data", net.nodes[3].data)


@fault("node.down")
def own_process_killed(net):
    net.nodes[3].kill()
    return net.nodes[3], ("--data", net.nodes[3].data)


@fault("member.silent")
def killed_machine(net):
    net.nodes[2].kill()
    return net.nodes[0], ()


@fault("clock.off")
def clock_six_minutes_ahead(net):
    # The monotonic clock is left alone: only the wall clock is wrong.
    node = net.add(wrap=("faketime", "-f", "+6m"), env={"FAKETIME_DONT_FAKE_MONOTONIC": "1"}, ready=False)
    return node, ()


@fault("store.full", "store.stopped", "disk.room")
def full_disk(net):
    disk = os.path.join(net.folder, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", disk], check=True)
    net.undo = lambda: subprocess.run(["umount", "-l", disk])
    node = net.add(data=os.path.join(disk, "data"))
    with open(os.path.join(disk, "fill"), "wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass
    return node, ()


@fault("entry.dead", within=40)
def dead_entry_points(net):
    node = net.add(entry=["127.0.0.1:9", "127.0.0.1:19"], ready=False)
    return node, ()


@fault("entry.name", within=40)
def wrong_dns(net):
    node = net.add(entry=["no-such-host.invalid:12345"], ready=False)
    return node, ()


@fault("identity.elsewhere", within=60)
def one_key_on_two_machines(net):
    twin = os.path.join(net.folder, "twin")
    net.nodes[3].kill(signal.SIGTERM)
    shutil.copytree(net.nodes[3].data, twin)
    net.nodes[3] = Node(net, 3, [net.nodes[0].contact], data=net.nodes[3].data)
    node = net.add(data=twin, ready=False)
    for name in range(20):
        net.nodes[3].run("put", f"a{name}", "1", "--space", "own", check=False)
        node.run("put", f"b{name}", "1", "--space", "own", check=False)
    return node, ()


@fault("member.revoked", within=40)
def revoked_machine(net):
    ticket = net.nodes[0].run("invite").stdout.split()[-1]
    node = net.add(entry=[ticket])
    net.settle(2)
    out = node.get("/v1/status")["nodeId"]
    net.nodes[0].run("revoke", out[:16])
    return node, ()


revoked_machine.make = dict(count=1, admission=())


@fault("records.replication")
def two_replicas(net):
    return net.nodes[0], ()


two_replicas.make = dict(count=11, POTLUCK_KV_REPLICATION="2")


@fault("member.flapping", "member.observer", within=90)
def flapping_member(net):
    victim = net.nodes[2].pid()
    me = net.nodes[0]
    state = lambda: {m["id"]: m["state"] for m in me.get("/v1/members")["members"]}
    number = net.nodes[2].get("/v1/status")["nodeId"]
    for _ in range(4):
        os.kill(victim, signal.SIGSTOP)
        wait(lambda: state().get(number) != "alive", 15)
        os.kill(victim, signal.SIGCONT)
        wait(lambda: state().get(number) == "alive", 15)
    return me, ()


@fault("records.replicas")
def under_replicated_key(net):
    # Four of five holders stop answering at once, and have not been replaced.
    net.nodes[0].run("put", "config/a", "1")
    for node in net.nodes[1:4]:
        os.kill(node.pid(), signal.SIGSTOP)
    return net.nodes[0], ("--key", "config/a")


@fault("records.conflict")
def conflict(net):
    net.nodes[0].run("put", "config/c", "1", "--context", "none")
    net.nodes[1].run("put", "config/c", "2", "--context", "none")
    return net.nodes[2], ("--key", "config/c")


@fault("socket.buffer")
def tiny_receive_buffer(net):
    before = open("/proc/sys/net/core/rmem_max").read()
    open("/proc/sys/net/core/rmem_max", "w").write("4096")
    try:
        return net.add(), ()
    finally:
        open("/proc/sys/net/core/rmem_max", "w").write(before)


@fault("os.descriptors")
def few_descriptors(net):
    return net.add(wrap=("bash", "-c", 'ulimit -n 128; exec "$@"', "limited")), ()


@fault("files.changed", within=40)
def changed_share(net):
    path = os.path.join(net.folder, "shared.bin")
    open(path, "wb").write(os.urandom(1 << 20))
    link = net.nodes[0].run("share", path).stdout.strip()
    time.sleep(1.1)
    open(path, "r+b").write(b"changed")
    net.nodes[1].run("fetch", link, "-o", os.path.join(net.folder, "got"), check=False)
    return net.nodes[0], ()


@fault("files.noSource", "files.waiting", within=60)
def fetch_without_source(net):
    path = os.path.join(net.folder, "gone.bin")
    open(path, "wb").write(os.urandom(60 << 20))
    link = net.nodes[0].run("share", path).stdout.strip()
    fetch = subprocess.Popen([net.program, "fetch", link, "-o", os.path.join(net.folder, "got"), "--node", net.nodes[4].url],
                             env=net.nodes[4].environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net.undo = fetch.kill
    wait(lambda: any(t["bytes"] for t in net.nodes[4].get("/v1/overview")["transfers"]), 20)
    os.kill(net.nodes[0].pid(), signal.SIGSTOP)
    return net.nodes[4], ()


fetch_without_source.make = dict(count=5, POTLUCK_FILES_UPLOAD_RATE="1048576")


@fault("files.oneSource", "files.network", within=40)
def capped_uplink(net):
    path = os.path.join(net.folder, "slow.bin")
    open(path, "wb").write(os.urandom(60 << 20))
    link = net.nodes[0].run("share", path).stdout.strip()
    fetch = subprocess.Popen([net.program, "fetch", link, "-o", os.path.join(net.folder, "got"), "--node", net.nodes[4].url],
                             env=net.nodes[4].environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net.undo = fetch.kill
    return net.nodes[4], ()


capped_uplink.make = dict(count=5, POTLUCK_FILES_UPLOAD_RATE="500000")


@fault("load.gossip", "load.duplicates", within=40)
def gossip_flood(net):
    listeners = [subprocess.Popen([net.program, "sub", "noise", "--node", node.url], env=node.environment,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for node in net.nodes]
    time.sleep(1)
    lines = "".join(f"message {number}\n" for number in range(400_000)).encode()
    pubs = []
    for node in net.nodes[1:4]:
        pub = subprocess.Popen([net.program, "pub", "noise", "-", "--node", node.url], env=node.environment,
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        def feed(pub=pub):
            try:
                pub.stdin.write(lines)
                pub.stdin.close()
            except (OSError, ValueError):
                pass
        threading.Thread(target=feed, daemon=True).start()
        pubs.append(pub)
    net.undo = lambda: [process.kill() for process in listeners + pubs]
    return net.nodes[0], ()


@fault("network.split", within=40)
def split_of_the_network(net):
    # The other part is silent, as behind a broken switch.
    for node in net.nodes[6:]:
        os.kill(node.pid(), signal.SIGSTOP)
    return net.nodes[0], ()


split_of_the_network.make = dict(count=12)


@fault("load.storm", within=40)
def storm_of_reads(net):
    net.nodes[0].run("put", "hot", "1")
    stop = threading.Event()
    net.undo = stop.set
    url = net.nodes[4].url + "/v1/kv/hot"
    def read():
        while not stop.is_set():
            try:
                urllib.request.urlopen(url, timeout=5).read()
            except OSError:
                pass
    for _ in range(64):
        threading.Thread(target=read, daemon=True).start()
    return net.nodes[4], ()


def rule(net, *words):
    """A rule of the packet filter, in the network that this script has for itself."""
    nft = lambda *it: subprocess.run(["nft", *it], check=True)
    nft("add", "table", "inet", "doctor")
    net.undo = lambda: nft("delete", "table", "inet", "doctor")
    nft("add", "chain", "inet", "doctor", "in", "{ type filter hook input priority 0; }")
    nft("add", "rule", "inet", "doctor", "in", *words, "drop")


@fault("network.loss", within=100)
def thirty_percent_loss(net):
    rule(net, "meta", "l4proto", "udp", "numgen", "random", "mod", "100", "<", "30")
    return net.nodes[0], ()


@fault("network.cut-off", within=60)
def blocked_udp(net):
    port = net.nodes[3].contact.rsplit(":", 1)[1]
    rule(net, "udp", "dport", port)
    return net.nodes[3], ()


@fault("network.split", within=60)
def cut_switch(net):
    # Four nodes hear each other and none of the other eight.
    here = ",".join(node.contact.rsplit(":", 1)[1] for node in net.nodes[8:])
    rule(net, "udp", "dport", "{", here, "}", "udp", "sport", "!=", "{", here, "}")
    return net.nodes[8], ()


cut_switch.make = dict(count=12)


@fault("records.behind", "records.replicas")
def replicas_that_diverged(net):
    net.nodes[0].run("put", "config/d", "1")
    os.kill(net.nodes[3].pid(), signal.SIGSTOP)
    net.nodes[0].run("put", "config/d", "2")
    os.kill(net.nodes[3].pid(), signal.SIGCONT)
    return net.nodes[0], ("--key", "config/d")


@fault("node.port")
def another_program_at_the_url(net):
    net.nodes[3].kill()
    port = net.nodes[3].url.rsplit(":", 1)[1]
    server = subprocess.Popen([sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"], cwd=net.folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net.undo = server.kill
    time.sleep(1)
    return net.nodes[3], ("--data", net.nodes[3].data)


@fault("store.room", "store.full", within=40)
def limit_of_the_store(net):
    node = net.add(env={"POTLUCK_STORE_DISK_BYTES": "1048576"})
    for number in range(40):
        node.run("put", f"big/{number}", "x" * 40_000, check=False)
    return node, ()


@fault("members.versions", within=40)
def old_version(net):
    node = net.add(program=net.other)
    net.settle(6)
    return net.nodes[0] if node.url else node, ()


@fault("disk.slow", "records.slow", within=90)
def slow_disk(net):
    # Other programs that wait for each block to be on the disk.
    writers = [subprocess.Popen(["sh", "-c", f"while :; do dd if=/dev/zero of={net.folder}/w{at} bs=4k count=4000 oflag=dsync; done"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) for at in range(12)]
    net.undo = lambda: [os.killpg(writer.pid, signal.SIGKILL) for writer in writers]
    return net.nodes[0], ()


@fault("certificate.ending", within=40)
def certificate_near_its_end(net):
    ticket = net.nodes[0].run("invite", "--reusable").stdout.split()[-1]
    member = net.add(entry=[ticket])
    net.settle(2)
    for node in net.nodes:
        node.kill(signal.SIGTERM)
    # Half a day before the end, the one node that could renew it is off.
    later = ("faketime", "-f", f"+{net.life_hours - 12}h")
    net.nodes[1] = Node(net, 1, (), wrap=later, data=member.data, env={"FAKETIME_DONT_FAKE_MONOTONIC": "1"}, ready=False)
    return net.nodes[1], ()


certificate_near_its_end.make = dict(count=1, admission=())


@fault("lookups.slow", "lookups.timeouts", within=60)
def lookups_of_ten_seconds(net):
    # Three of four datagrams are lost: each step of a lookup waits for several timeouts.
    rule(net, "meta", "l4proto", "udp", "numgen", "random", "mod", "100", "<", "75")
    for at in range(6):
        net.nodes[0].run("get", f"nothing/{at}", check=False, seconds=90)
    return net.nodes[0], ()


lookups_of_ten_seconds.make = dict(count=12)


@fault("records.republish", within=60)
def republish_behind_its_lease(net):
    # More own records than can be stored again in an interval.
    node = net.add(env={"POTLUCK_KV_REPUBLISH_INTERVAL": "1s"})
    net.settle(6)
    for number in range(1500):
        body = urllib.request.Request(f"{node.url}/v1/kv/many/{number}", data=b"x" * 2000, method="PUT",
                                      headers={"content-type": "application/octet-stream"})
        urllib.request.urlopen(body, timeout=30).read()
    return node, ()


# Faults that no list named when doctor was written.

@fault("store.stopped", "folder.unusable", within=40)
def read_only_data_folder(net):
    disk = os.path.join(net.folder, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", disk], check=True)
    net.undo = lambda: subprocess.run(["umount", "-l", disk])
    node = net.add(data=os.path.join(disk, "data"))
    node.kill()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return node, ("--data", node.data)


@fault("clock.back", "clock.off", within=40)
def clock_jumps_two_hours_back(net):
    node = net.nodes[3]
    node.run("put", "a", "1")
    node.kill(signal.SIGTERM)
    net.nodes[3] = Node(net, 3, [net.nodes[0].contact], wrap=("faketime", "-f", "-2h"), data=node.data,
                        env={"FAKETIME_DONT_FAKE_MONOTONIC": "1"}, ready=False)
    return net.nodes[3], ()


@fault("network.loss", "network.cut-off", "lookups.timeouts", within=100)
def mtu_black_hole(net):
    rule(net, "meta", "l4proto", "udp", "meta", "length", ">", "420")
    return net.nodes[0], ()


@fault("disk.room", "store.full", within=40)
def disk_at_99_percent(net):
    disk = os.path.join(net.folder, "disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "none", disk], check=True)
    net.undo = lambda: subprocess.run(["umount", "-l", disk])
    node = net.add(data=os.path.join(disk, "data"))
    with open(os.path.join(disk, "fill"), "wb") as file:
        while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 4 << 20:
            file.write(b"x" * 65536)
            file.flush()
    return node, ()


@fault("entry.dead", within=40)
def dns_with_a_wrong_address(net):
    # A name that resolves, to a machine where nothing listens.
    node = net.add(entry=["localhost:19"], ready=False)
    return node, ()


@fault("port.taken", within=40)
def udp_port_taken(net):
    node = net.nodes[3]
    node.kill()
    # The port that a node uses by default.
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("0.0.0.0", 12345))
    net.undo = other.close
    return node, ("--data", node.data)


@fault("node.port", "node.down", within=40)
def http_port_of_another_program(net):
    # The node cannot start: its configured HTTP port is taken.
    node = net.nodes[3]
    node.kill()
    port = node.url.rsplit(":", 1)[1]
    server = subprocess.Popen([sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1"], cwd=net.folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net.undo = server.kill
    time.sleep(1)
    subprocess.run([net.program, "up", "--data", node.data, "--http", f"127.0.0.1:{port}", "--network", net.name, *net.admission],
                   env=node.environment, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    return node, ("--data", node.data)


@healthy
def lone_node(net):
    return net.nodes


lone_node.make = dict(count=1)


@healthy
def fresh_start(net):
    return [net.add()]


fresh_start.make = dict(count=1)


@healthy
def two_nodes(net):
    return net.nodes


two_nodes.make = dict(count=2)


@healthy
def twelve_idle(net):
    time.sleep(10)
    return net.nodes


twelve_idle.make = dict(count=12)


@healthy
def one_asleep_and_back(net):
    os.kill(net.nodes[2].pid(), signal.SIGSTOP)
    time.sleep(8)
    os.kill(net.nodes[2].pid(), signal.SIGCONT)
    wait(lambda: all(node.get("/v1/overview")["network"]["alive"] == 5 for node in net.nodes), 30)
    time.sleep(5)
    return net.nodes


@healthy
def one_left(net):
    net.nodes.pop().kill(signal.SIGTERM)
    time.sleep(5)
    return net.nodes


@healthy
def under_load(net):
    end = time.monotonic() + 8
    def work(node, at):
        number = 0
        while time.monotonic() < end:
            request = urllib.request.Request(f"{node.url}/v1/kv/load/{at}/{number % 50}", b"value",
                                             {"content-type": "application/octet-stream"}, method="PUT")
            try:
                urllib.request.urlopen(request, timeout=10).read()
                urllib.request.urlopen(f"{node.url}/v1/kv/load/{at}/{number % 50}", timeout=10).read()
            except OSError:
                return  # the network of this case has been ended
            number += 1
            time.sleep(0.02)
    for at, node in enumerate(net.nodes):
        threading.Thread(target=work, args=(node, at), daemon=True).start()
    time.sleep(4)
    return net.nodes


@healthy
def during_a_fetch(net):
    path = os.path.join(net.folder, "file.bin")
    open(path, "wb").write(os.urandom(300 << 20))
    link = net.nodes[0].run("share", path).stdout.strip()
    fetch = subprocess.Popen([net.program, "fetch", link, "-o", os.path.join(net.folder, "got"), "--node", net.nodes[1].url],
                             env=net.nodes[1].environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    net.undo = fetch.kill
    return [net.nodes[1], net.nodes[0]]


@healthy
def invite_network(net):
    ticket = net.nodes[0].run("invite", "--reusable").stdout.split()[-1]
    for _ in range(2):
        net.add(entry=[ticket])
    net.settle(3)
    return net.nodes


invite_network.make = dict(count=1, admission=())


@healthy
def restarted_node(net):
    net.nodes[3].kill(signal.SIGTERM)
    net.nodes[3] = Node(net, 3, [net.nodes[0].contact], data=net.nodes[3].data)
    net.settle(5)
    return net.nodes


def missing(name):
    if name in ("clock-six-minutes-ahead", "clock-jumps-two-hours-back", "certificate-near-its-end") and not shutil.which("faketime"):
        return "needs faketime"
    if name == "old-version" and not Net.other:
        return "needs --other, a program that speaks another version"
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout.splitlines() if shutil.which("ip") else []
    if name in ("thirty-percent-loss", "blocked-udp", "cut-switch", "mtu-black-hole", "lookups-of-ten-seconds") and not (shutil.which("nft") and len(links) == 1):
        return "needs nft and bench/alone.sh"
    try:
        open("/proc/sys/net/core/rmem_max", "r+").close()
        settable = True
    except OSError:
        settable = False
    if name == "tiny-receive-buffer" and not settable and not os.geteuid():
        return "needs the machine's own network: without bench/alone.sh"
    if name in ("full-disk", "tiny-receive-buffer", "read-only-data-folder", "disk-at-99-percent") and os.geteuid():
        return "needs root"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/potluck")
    parser.add_argument("--other", help="a program of another version, as built with --features next-version")
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    program = os.path.abspath(args.program)
    good = bad = 0
    left_out = []
    Net.other = os.path.abspath(args.other) if args.other else None
    wanted = lambda name: (not args.only or name in args.only) and name not in args.skip
    for name, (break_it, codes, within) in FAULTS.items():
        if not wanted(name):
            continue
        if missing(name):
            left_out.append(f"{name} ({missing(name)})")
            continue
        net = Net(program, **getattr(break_it, "make", {}))
        try:
            node, words = break_it(net)
            began, named, took, report = time.monotonic(), None, 0.0, {}
            while time.monotonic() < began + within and not named:
                report, took, _ = node.doctor(*words)
                named = next((f for f in report["findings"] if f["code"] in codes), None)
            after = time.monotonic() - began
            others = [f["code"] for f in report["findings"] if f["code"] not in codes]
            ok = named and took <= 5
            good, bad = good + bool(ok), bad + (not ok)
            word = "named" if ok else "MISSED"
            print(f"{word:<7} {name:<26} {named['code'] if named else '/'.join(codes):<20} in {took:.1f} s, "
                  f"{after:.1f} s after; beside it: {', '.join(others) or 'nothing'}{'; ' + report['error'] if 'error' in report else ''}", flush=True)
            if named:
                print(f"        {named['evidence']}", flush=True)
        finally:
            getattr(net, "undo", lambda: None)()
            net.close(args.keep)
    quiet = loud = 0
    for name, make in HEALTHY.items():
        if not wanted(name):
            continue
        net = Net(program, **getattr(make, "make", {}))
        try:
            slowest, said = 0.0, []
            for node in make(net):
                report, took, _ = node.doctor()
                slowest = max(slowest, took)
                said += [f"{f['code']}: {f['evidence']}" for f in report["findings"]]
                if "error" in report:
                    said.append(report["error"])
            quiet, loud = quiet + (not said), loud + bool(said)
            print(f"{'quiet' if not said else 'LOUD':<7} {name:<26} slowest {slowest:.1f} s {' | '.join(said[:3])}", flush=True)
        finally:
            getattr(net, "undo", lambda: None)()
            net.close(args.keep)
    print(f"{good} of {good + bad} faults named, {quiet} of {quiet + loud} healthy networks quiet"
          + (f"; left out: {', '.join(left_out)}" if left_out else ""))
    sys.exit(1 if bad or loud else 0)


if __name__ == "__main__":
    main()
