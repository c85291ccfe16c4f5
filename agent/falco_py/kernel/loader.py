# SPDX-License-Identifier: Apache-2.0
"""The program of the child process that `loading` starts: `loader.py OBJECT FD`.

libbpf reads the kernel's types and the kernel verifies the programs here, beside the agent that reads rules meanwhile;
what libbpf needs for it is given back when this ends. The file descriptors of all maps and programs go through the
socket FD. Invariant: nothing of the agent is imported, nothing is attached.
"""

import os
import socket
import sys

_ANON = ("anon_inode:bpf-map", "anon_inode:bpf-prog")


def main(path: str, channel: int) -> int:
    import pylibbpf

    try:
        loaded = pylibbpf.BpfObject(path)
        loaded.load()
    except Exception as error:  # noqa: BLE001 - whatever it is, the agent tells it
        sys.stderr.write(f"{error}\n")
        return 1
    fds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") in _ANON:
                fds.append(int(name))
        except OSError:  # the descriptor of the listing itself
            continue
    with socket.socket(fileno=channel) as agent:
        socket.send_fds(agent, [b"loaded"], fds)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
