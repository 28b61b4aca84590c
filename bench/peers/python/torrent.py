#!/usr/bin/env python3
"""A file from process to process by libtorrent over TCP; see `potluck-bench pair` for what each side
prints. Both sides know each other's address: no tracker, no DHT, no search of the local network.

    torrent.py give FILE DATA
    torrent.py take TICKET TO DATA
"""
import os
import sys
import time

import libtorrent as lt

# Milliseconds between two looks at whether all is there.
LOOK_MS = 20
# Seconds after which a transfer that has not ended has failed.
PATIENCE = 300


def figure(name, number):
    print(f"figure {name} {number:.4f}", flush=True)


def session():
    return lt.session({
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        # Its UDP transport took 50 times as long on loopback.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        # Loopback needs no disguise.
        "out_enc_policy": int(lt.enc_policy.pe_disabled),
        "in_enc_policy": int(lt.enc_policy.pe_disabled),
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification,
    })


def give(file, data):
    os.makedirs(data, exist_ok=True)
    folder, name = os.path.split(os.path.abspath(file))
    began = time.perf_counter()
    files = lt.file_storage()
    lt.add_files(files, os.path.join(folder, name))
    torrent = lt.create_torrent(files, 0, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, folder)
    path = os.path.join(data, "torrent")
    with open(path, "wb") as out:
        out.write(lt.bencode(torrent.generate()))
    figure("import", time.perf_counter() - began)
    ses = session()
    handle = ses.add_torrent({
        "ti": lt.torrent_info(path),
        "save_path": folder,
        # The file was hashed just now.
        "flags": lt.torrent_flags.seed_mode,
    })
    while not handle.status().is_seeding:
        ses.wait_for_alert(LOOK_MS)
        ses.pop_alerts()
    spent = time.process_time()
    print(f"ticket {ses.listen_port()}@{path}", flush=True)
    # It ends with the input, whatever was in it.
    sys.stdin.readline()
    figure("cpu", time.process_time() - spent)


def take(ticket, to, data):
    os.makedirs(data, exist_ok=True)
    port, path = ticket.split("@", 1)
    ses = session()
    began, spent = time.perf_counter(), time.process_time()
    info = lt.torrent_info(path)
    handle = ses.add_torrent({"ti": info, "save_path": data})
    handle.connect_peer(("127.0.0.1", int(port)))
    while not handle.status().is_seeding:
        if time.perf_counter() - began > PATIENCE:
            sys.exit(f"only {handle.status().progress:.0%} arrived within {PATIENCE} s")
        ses.wait_for_alert(LOOK_MS)
        ses.pop_alerts()
    os.rename(os.path.join(data, info.name()), to)
    figure("seconds", time.perf_counter() - began)
    figure("cpu", time.process_time() - spent)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "give":
        give(*sys.argv[2:])
    elif len(sys.argv) == 5 and sys.argv[1] == "take":
        take(*sys.argv[2:])
    elif sys.argv[1:] == ["version"]:
        print(lt.version)
    else:
        sys.exit(__doc__)
