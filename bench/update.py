#!/usr/bin/env python3
"""What an update of a fetched folder costs: bytes from the network beside bytes reused.

Usage: bench/update.py PROGRAM [PAIR..] [--json FILE]

PROGRAM is the potluck to be measured (target/release/potluck). A PAIR is NAME:OLD:NEW, a package of
PyPI and two versions of it; without one, the three pairs of docs/measurements.md are taken. Each
version is downloaded by pip and unpacked. Two nodes on loopback share and fetch the old version, then
the new one with `fetch --update`; at last a folder in which one folder was renamed is fetched. Every
fetched tree is compared with its source, byte by byte.
"""

import argparse
import filecmp
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

PAIRS = ["numpy:2.1.0:2.1.1", "numpy:2.1.1:2.2.0", "pyarrow:19.0.0:19.0.1"]
# Wheels that pip takes whatever Python runs this.
PYTHON = "3.12"


def unpacked(name, version, folder):
    """The files of a wheel, without the folder that carries the version in its name."""
    wheels = folder / "wheels"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--python-version", PYTHON, "--dest", str(wheels), f"{name}=={version}",
    ]
    subprocess.run(command, check=True)
    (wheel,) = wheels.glob(f"{name}-{version}-*.whl")
    to = folder / f"{name}-{version}" / name
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(to)
    for info in to.glob("*.dist-info"):
        info.rename(to / "dist-info")
    return to


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Node:
    def __init__(self, program, data, entry=None, **settings):
        command = [
            program, "up", "--network", "bench", "--admission", "lab", "--data", str(data),
            "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
        ] + ([entry] if entry else [])
        self.program = program
        environment = {k: v for k, v in os.environ.items() if not k.startswith("POTLUCK_")}
        environment["POTLUCK_FILES_PATHS"] = str(data.parent)
        environment.update(settings)
        self.log = open(f"{data}.log", "w")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=environment,
        )
        self.contact = self.url = None
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "contact":
                self.contact = rest
            elif word == "http":
                self.url = rest
            elif word == "ready":
                break
        self.token = data / "token"

    def run(self, *arguments):
        command = [
            self.program, "--node", self.url, "--token-file", str(self.token), "--json",
            *map(str, arguments),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def same(one, other):
    compared = filecmp.dircmp(one, other)
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    wrong = [f for f in files if not filecmp.cmp(one / f, other / f, shallow=False)]
    return not wrong and not compared.left_only


def measured(sharer, fetcher, source, to, *flags):
    shared = sharer.run("share", source)
    begin = time.monotonic()
    got = fetcher.run("fetch", shared["link"], "-o", to, *flags)
    seconds = time.monotonic() - begin
    network = sum(source["bytes"] for source in got["sources"])
    if not same(source, pathlib.Path(got["path"])):
        sys.exit(f"{got['path']} is not {source}")
    return {
        "bytes": got["bytes"],
        "network": network,
        "reused": got["reusedBytes"],
        "seconds": round(seconds, 2),
        "kept": len(got["kept"]),
    }


def row(name, figures):
    share = 100 * figures["network"] / max(figures["bytes"], 1)
    reuse = figures["reused"] / max(figures["seconds"], 0.001) / 1e6
    mb = lambda key: f"{figures[key] / 1e6:.1f}"
    print(
        f"| {name} | {mb('bytes')} | {mb('network')} ({share:.1f} %) | {mb('reused')} | "
        f"{figures['seconds']:.1f} | {reuse:.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    program = os.path.abspath(given.program)
    results = {}
    with tempfile.TemporaryDirectory(prefix="potluck-update-") as folder:
        folder = pathlib.Path(folder)
        sharer = Node(program, folder / "sharer")
        fetcher = Node(program, folder / "fetcher", sharer.contact)
        try:
            print("| what | MB | MB from the network | MB reused | s | MB/s reused |")
            print("|---|---|---|---|---|---|")
            for pair in given.pairs:
                name, old, new = pair.split(":")
                olds, news = (unpacked(name, version, folder) for version in (old, new))
                to = folder / f"to-{name}-{new}"
                measured(sharer, fetcher, olds, to)
                figures = measured(sharer, fetcher, news, to, "--update")
                results[pair] = figures
                row(f"{name} {old} -> {new}", figures)
            renamed = folder / "renamed" / name
            shutil.copytree(news, renamed)
            inner = max((path for path in renamed.iterdir() if path.is_dir()), key=size)
            # So that its files come in another order than before: otherwise it is the same blob.
            inner.rename(inner.with_name("a-" + inner.name))
            figures = measured(sharer, fetcher, renamed, to, "--update")
            results["renamed"] = figures
            row(f"{name} {new}, `{inner.name}` renamed", figures)
        finally:
            fetcher.stop()
            sharer.stop()
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
