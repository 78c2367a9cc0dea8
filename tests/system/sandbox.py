# SPDX-License-Identifier: MIT
"""The rights that a VM's process keeps. (What happens to one who asks for more is test_sandbox's.)"""
import os
import re
import time

from life import Home
from machine import case, expect

SHARE_RIGHTS = 0x1b  # a file server that root runs: CAP_CHOWN, DAC_OVERRIDE, FOWNER, FSETID
ROOT_ONLY = SHARE_RIGHTS if os.geteuid() == 0 else 0


def threads(pid):
    """What the kernel says of each thread."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
            yield dict(re.findall(r"^(\w+):\t(.*)$", file.read(), re.M))


def confined(thread, capabilities=0):
    return (thread["Seccomp"] == "2" and thread["NoNewPrivs"] == "1"
            and int(thread["CapEff"], 16) & ~capabilities == 0 and int(thread["CapPrm"], 16) & ~capabilities == 0)


def wait_confined(pid, capabilities=0):
    """Threads that were made before get in with their first work."""
    end = time.monotonic() + 30
    while not all(confined(thread, capabilities) for thread in threads(pid)):
        expect(time.monotonic() < end, "threads outside", "\n".join(str(thread) for thread in threads(pid)))
        time.sleep(0.2)


@case("sandbox: every thread is in it")
def every_thread():
    with Home() as home:
        os.mkdir(os.path.join(home.folder, "shared"))
        home.good("run", "-d", "--name", "plain", "--net", "user")
        home.wait_prompt("plain")
        wait_confined(home.pid("plain"))
        home.good("kill", "plain")
        home.good("run", "-d", "--name", "all", "--net", "user", "--share", "shared,tag=s,kind=9p", "--rng",
                  "--vnc", f"unix:{home.folder}/vnc", "--hotplug-ports", "1")
        home.wait_prompt("all")
        pid = home.pid("all")
        expect(all(thread["Seccomp"] == "2" for thread in threads(pid)), "filtered", "")
        expect(len(list(threads(pid))) >= 3, "its threads are there", "")
        # Nothing but what is its own is open for writing.
        for fd in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            expect(not target.startswith(("/etc", "/home", "/root")), f"descriptor {fd} is {target}", "")
        home.good("kill", "all")
        home.good("run", "-d", "--name", "free", "--no-sandbox")
        home.wait_prompt("free")
        expect(all(thread["Seccomp"] == "0" for thread in threads(home.pid("free"))), "--no-sandbox", "")


@case("sandbox: a reset, and an end, need no more than is kept")
def reset_and_end():
    """The kernel is read again; state is written and removed."""
    with Home() as home:
        home.good("run", "-d", "--name", "r", "--rm", "--net", "user")
        home.wait_prompt("r")
        first = home.good("logs", "r").count("Mullion guest: kernel")
        home.good("console", "r", stdin=b"reboot -f\n")
        end = time.monotonic() + 60
        while home.good("logs", "r").count("Mullion guest: kernel") <= first:
            expect(time.monotonic() < end, "no second boot", home.good("logs", "r"))
            time.sleep(0.3)
        home.good("stop", "--time", "2", "r")
        end = time.monotonic() + 20
        while home.good("ps", "-a", "-q"):
            expect(time.monotonic() < end, "--rm left it", home.good("ps", "-a"))
            time.sleep(0.1)
        left = [name for _, _, names in os.walk(home.folder) for name in names]
        expect(not left, f"left behind: {left}", "")
