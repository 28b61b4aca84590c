#!/usr/bin/env python3
"""Starts node processes on loopback; each counts on one counter and adds to one set, all at once.

Usage: bench/kinds.py [--program target/release/potluck] [--nodes 12] [--incr 10] [--add 5]

Prints the sum and the elements that the first and the last node read, and the times of increments.
Exit 1 if an operation failed or a sum or set is not exact.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SECONDS_MAX = 120


def started(program, folder, number, entry):
    command = [program, "up", "--network", "kinds", "--admission", "lab", "--data", f"{folder}/{number}"]
    command += ["--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--exit-with-stdin"] + entry
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )
    said = {}
    for line in process.stdout:
        word, _, rest = line.strip().partition(" ")
        said[word] = rest
        if word == "ready":
            return process, said
    sys.exit("a node did not start")


def request(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(url, data=data, headers=headers)
    return urllib.request.urlopen(asked, timeout=40).read().decode()


def work(url, number, options, took, failed):
    for turn in range(options.incr + options.add):
        began = time.monotonic()
        try:
            if turn < options.incr:
                request(f"{url}/v1/kv/visits", {"op": "incr", "by": "1"})
                took.append(time.monotonic() - began)
            else:
                element = f"{number}-{turn}"
                request(f"{url}/v1/kv/colors", {"op": "add", "elements": [element]})
        except OSError as error:
            failed.append(f"node {number}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/potluck")
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--incr", type=int, default=10)
    parser.add_argument("--add", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        nodes = []
        try:
            for number in range(options.nodes):
                entry = [nodes[0][1]["contact"]] if nodes else []
                nodes.append(started(options.program, folder, number, entry))
            urls = [said["http"] for _, said in nodes]
            took, failed = [], []
            threads = [
                threading.Thread(target=work, args=(url, number, options, took, failed))
                for number, url in enumerate(urls)
            ]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SECONDS_MAX)
            seconds = time.monotonic() - began
            took.sort()
            exact = True
            for url in (urls[0], urls[-1]):
                total = int(request(f"{url}/v1/kv/visits"))
                elements = len(json.loads(request(f"{url}/v1/kv/colors")))
                print(f"{options.nodes} nodes: counter {total}, {elements} elements")
                exact &= total == options.nodes * options.incr
                exact &= elements == options.nodes * options.add
            middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
            print(
                f"{seconds:.1f} s, {len(failed)} failed, increments p50 {1000 * middle:.0f} ms, "
                f"p99 {1000 * late:.0f} ms"
            )
            for failure in failed[:5]:
                print(failure)
        finally:
            for process, _ in nodes:
                process.stdin.close()
            for process, _ in nodes:
                process.wait(30)
    sys.exit(0 if exact and not failed else 1)


main()
