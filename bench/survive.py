#!/usr/bin/env python3
"""Starts twelve node processes on loopback and takes holders away from their records.

Usage: bench/survive.py [--program target/release/potluck] [--records 400]

Puts records with eight replicas; deletes 20 of them while two nodes are stopped, lets these go on and reads the
20 again; then kills five nodes at once and reads the others. Exit 1 if a deleted record is read or another is not.
Needs POSIX signals.
"""

import argparse
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

NODES = 12
STOPPED = (3, 4)
KILLED = (1, 2, 5, 6, 8)
DELETED = 20
# Longer than the failure detector and a repair take.
SETTLE_SECONDS = 25


def started(program, folder, number, entry):
    config = pathlib.Path(folder, f"{number}.toml")
    config.write_text("[kv]\nreplication = 8\n")
    command = [program, "up", "--network", "survive", "--admission", "lab", "--config", str(config)]
    command += ["--data", f"{folder}/{number}", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command + entry, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    said = {}
    for line in process.stdout:
        word, _, rest = line.strip().partition(" ")
        said[word] = rest
        if word == "ready":
            return process, said
    sys.exit("a node did not start")


def request(method, url, number, value=None):
    headers = {"content-type": "application/octet-stream"} if value is not None else {}
    asked = urllib.request.Request(f"{url}/v1/kv/k{number}", value, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def run(nodes, records):
    urls = [said["http"] for _, said in nodes]
    with ThreadPoolExecutor(8) as at_once:
        def put(number):
            return request("PUT", urls[number % NODES], number, b"v%d" % number)[0]

        written = list(at_once.map(put, range(records))).count(200)
        print(f"{written} of {records} values put")
        time.sleep(5)
        for number in STOPPED:
            nodes[number][0].send_signal(signal.SIGSTOP)
        time.sleep(8)
        deleted = [request("DELETE", urls[0], number)[0] for number in range(DELETED)].count(200)
        for number in STOPPED:
            nodes[number][0].send_signal(signal.SIGCONT)
        time.sleep(SETTLE_SECONDS)
        readers = (0, 7) + STOPPED
        back = sum(
            request("GET", urls[reader], number)[0] != 404
            for reader in readers
            for number in range(DELETED)
        )
        print(f"{deleted} of {DELETED} deleted while two nodes were stopped; read again: {back}")
        for number in KILLED:
            nodes[number][0].kill()
        left = [urls[number] for number in range(NODES) if number not in KILLED]
        began = time.monotonic()

        def is_right(number):
            answer = request("GET", left[number % len(left)], number)
            return answer == (200, b"v%d" % number)

        right = sum(at_once.map(is_right, range(DELETED, records)))
        took = time.monotonic() - began
        print(f"five nodes killed: {right} of {records - DELETED} values read in {took:.1f} s")
        return written == records and back == 0 and right == records - DELETED


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/potluck")
    parser.add_argument("--records", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        nodes = []
        try:
            for number in range(NODES):
                entry = [nodes[0][1]["contact"]] if nodes else []
                nodes.append(started(options.program, folder, number, entry))
            time.sleep(3)
            good = run(nodes, options.records)
        finally:
            for process, _ in nodes:
                process.kill()
                process.wait()
    sys.exit(0 if good else 1)


main()
