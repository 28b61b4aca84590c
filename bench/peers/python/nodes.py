#!/usr/bin/env python3
"""Values in a network of OpenDHT nodes, all in this process: the phases of `bench/peers/src/dht.rs`.

Rate limits are off, since all nodes share one address. A put counts when its callback says that it is
done, a get at the first value. What Python itself takes is part of the CPU time.

    nodes.py [--nodes N] [--operations N] [--concurrency N] [--value-bytes N] [--stop SHARE]
             [--seconds S]
"""
import argparse
import os
import queue
import socket
import sys
import threading
import time

import opendht as dht

# The same as in bench/peers/src/dht.rs.
FEW = 300
REST = 2.0
# Seconds after which an operation that has not ended, or a bootstrap, has failed.
PATIENCE = 60.0
# Any number: nodes of other networks are left alone.
NETWORK = 7
# Nodes that keep a value. A node that knows as many that answer has joined.
REPLICAS = 8


def figure(name, number):
    print(f"figure {name} {number:.4f}", flush=True)


def name_of(prefix, number):
    return f"{prefix}/{number}"


def value(prefix, number, count):
    head = name_of(prefix, number).encode()
    noise = bytes((number * 31 + index * 7) % 256 for index in range(count))
    return (head + noise)[:count]


class Phase:
    """Latencies, rate and cost of a phase, as `bench/src/summary.rs` computes them."""

    def __init__(self):
        self.began, self.spent = time.perf_counter(), time.process_time()
        self.latencies, self.failed = [], 0

    def end(self, name):
        seconds = time.perf_counter() - self.began
        spent = time.process_time() - self.spent
        done = len(self.latencies)
        self.latencies.sort()

        def at(share):
            place = min(int(done * share), done - 1)
            return self.latencies[place] * 1000 if done else 0.0

        figure(f"{name}.rate", done / seconds)
        figure(f"{name}.cpu", spent / max(done, 1) * 1000)
        figure(f"{name}.p50", at(0.50))
        figure(f"{name}.p99", at(0.99))
        figure(f"{name}.right", done / max(done + self.failed, 1) * 100)


def spread(name, concurrency, operations, seconds, operation):
    """Keeps operations in flight; returns how many began."""
    phase, ended = Phase(), queue.SimpleQueue()
    began, next_number, running = time.perf_counter(), 0, 0
    while True:
        while (
            running < concurrency
            and next_number < operations
            and time.perf_counter() - began < seconds
        ):
            operation(next_number, Answer(ended))
            next_number += 1
            running += 1
        if not running:
            phase.end(name)
            return next_number
        try:
            took, right = ended.get(timeout=PATIENCE)
        except queue.Empty:
            phase.failed += running
            phase.end(name)
            return next_number
        running -= 1
        if right:
            phase.latencies.append(took)
        else:
            phase.failed += 1


class Answer:
    """Told once how an operation ended, from whatever thread."""

    def __init__(self, ended):
        self.ended, self.began = ended, time.perf_counter()
        self.lock, self.told = threading.Lock(), False

    def tell(self, right):
        with self.lock:
            if self.told:
                return
            self.told = True
        self.ended.put((time.perf_counter() - self.began, right))


def start(count):
    nodes = []
    for _ in range(count):
        config = dht.DhtConfig()
        config.setNetwork(NETWORK)
        config.setRateLimit(-1, -1)
        node = dht.DhtRunner()
        node.run(ipv4="127.0.0.1", port=0, config=config)
        if nodes:
            node.bootstrap("127.0.0.1", str(nodes[0].getBound().getPort()))
        nodes.append(node)
    end = time.perf_counter() + PATIENCE
    for node in nodes:
        while good(node) < min(REPLICAS, count - 1):
            if time.perf_counter() > end:
                raise SystemExit(f"a node of OpenDHT knows only {good(node)} others that answer")
            time.sleep(0.05)
    return nodes


def good(node):
    """How many entries of its table have answered. The library tells it in words only."""
    return node.getRoutingTablesLog(socket.AF_INET).count("[good]")


def resident_kb():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


class Network:
    def __init__(self, nodes, options):
        self.nodes, self.options = nodes, options

    def puts(self, name, prefix, concurrency, operations, seconds):
        def put(number, answer):
            node = self.nodes[number * 7919 % len(self.nodes)]
            content = dht.Value(value(prefix, number, self.options.value_bytes))
            key = dht.InfoHash.get(name_of(prefix, number))
            node.put(key, content, lambda done, _: answer.tell(done))

        return spread(name, concurrency, operations, seconds, put)

    def gets(self, name, prefix, stored, concurrency, operations, seconds):
        def get(number, answer):
            node = self.nodes[(number * 104_729 + 13) % len(self.nodes)]
            number %= max(stored, 1)
            wanted = value(prefix, number, self.options.value_bytes)

            def found(it):
                answer.tell(it.data == wanted)
                # One value is enough.
                return False

            key = dht.InfoHash.get(name_of(prefix, number))
            node.get(key, get_cb=found, done_cb=lambda _, __: answer.tell(False))

        return spread(name, concurrency, operations, seconds, get)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--value-bytes", type=int, default=200)
    parser.add_argument("--stop", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    phase = Phase()
    network = Network(start(options.nodes), options)
    figure("bootstrap.seconds", time.perf_counter() - phase.began)
    figure("bootstrap.cpu", time.process_time() - phase.spent)
    time.sleep(REST)
    alone = (1, FEW, options.seconds / 2)
    together = (options.concurrency, options.operations, options.seconds)
    stored = network.puts("put1", "one", *alone)
    network.gets("get1", "one", stored, *alone)
    stored = network.puts("put32", "many", *together)
    network.gets("get32", "many", stored, *together)
    figure("memory", resident_kb() / options.nodes)
    stopping = int(options.nodes * options.stop)
    alive = []
    for index, node in enumerate(network.nodes):
        # Joining its thread tells the others nothing.
        if index % 3 == 0 and index // 3 < stopping:
            node.join()
        else:
            alive.append(node)
    network.nodes = alive
    few = min(FEW, options.operations)
    network.gets("stop", "many", stored, options.concurrency, few, options.seconds)
    sys.stdout.flush()
    # Ending each node in turn takes seconds and measures nothing.
    os._exit(0)


if __name__ == "__main__":
    main()
