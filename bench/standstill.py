#!/usr/bin/env python3
"""How soon a process that stood still is shown alive by all others.

    bench/standstill.py target/release/potluck [NODES]

Starts NODES (64) real nodes on loopback, stops the last eight with SIGSTOP for 25 seconds,
continues them, and asks every other node for its members until all eight are listed alive
everywhere; twice. Prints for each round how long that took, and at the end how often a node that
was never stopped was listed dead. Needs about 25 MB of memory a node.
"""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

STOPPED = 8
STILL_S = 25
GIVE_UP_S = 120


def start(program, folder, number, entry):
    data = f"{folder}/{number}"
    command = [program, "up", "--exit-with-stdin", "--admission", "lab", "--network", "standstill",
               "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", data]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POTLUCK_")}
    environment["XDG_RUNTIME_DIR"] = folder
    process = subprocess.Popen(command + entry, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=environment, text=True)
    contact = process.stdout.readline().split()[1]
    url = process.stdout.readline().split()[1]
    return {"process": process, "contact": contact, "url": url,
            "address": contact.split("@")[1]}


def states(node):
    """What a node says of each member, by address."""
    with urllib.request.urlopen(node["url"] + "/v1/members", timeout=5) as answer:
        return {it["address"]: it["state"] for it in json.load(answer)["members"]}


def main(program, count, folder, nodes):
    nodes.append(start(program, folder, 0, []))
    for number in range(1, count):
        nodes.append(start(program, folder, number, [nodes[0]["contact"]]))
    pool = concurrent.futures.ThreadPoolExecutor(16)
    began = time.time()
    while not all(list(seen.values()).count("alive") == count
                  for seen in pool.map(states, nodes)):
        if time.time() - began > GIVE_UP_S:
            sys.exit("the nodes do not find each other")
        time.sleep(0.5)
    print(f"{count} nodes know each other after {time.time() - began:.1f} s", flush=True)
    stopped, others = nodes[-STOPPED:], nodes[:-STOPPED]
    addresses = [node["address"] for node in stopped]
    false = set()

    def look(node):
        seen = states(node)
        false.update((node["address"], address) for address, state in seen.items()
                     if state == "dead" and address not in addresses)
        return seen

    for number in range(2):
        for node in stopped:
            node["process"].send_signal(signal.SIGSTOP)
        began = time.time()
        while time.time() - began < STILL_S:
            looks = list(pool.map(look, others))
            time.sleep(0.5)
        dead = min(sum(seen[address] == "dead" for address in addresses) for seen in looks)
        for node in stopped:
            node["process"].send_signal(signal.SIGCONT)
        began, alive, waited = time.time(), {}, len(others) * STOPPED
        while len(alive) < waited and time.time() - began < GIVE_UP_S:
            for node, seen in zip(others, pool.map(look, others)):
                for address in addresses:
                    if seen.get(address) == "alive":
                        alive.setdefault((node["address"], address), time.time() - began)
        times = sorted(alive.values())
        print(f"round {number}: {dead} of {STOPPED} listed dead by all; alive at {len(alive)} of "
              f"{waited}, median {times[len(times) // 2]:.2f} s, last {times[-1]:.2f} s", flush=True)
        time.sleep(30)
    list(pool.map(look, others))
    print(f"others listed dead: {len(false)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    place, running = tempfile.mkdtemp(prefix="standstill"), []
    try:
        main(os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64, place, running)
    finally:
        for it in running:
            it["process"].kill()
            it["process"].wait()
        shutil.rmtree(place, ignore_errors=True)
