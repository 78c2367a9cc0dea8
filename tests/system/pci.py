# SPDX-License-Identifier: MIT
"""PCI as Linux sees it: configuration without a fault, BARs that move, wires of all kinds, functions that come and go."""
import json
import os
import re
import socket
import time

from machine import FIRST_LINE, PROMPT, Terminal, case, expect, kernel_options, mullion

DEVICES = ["--rng", "--net", "user"]
PCI = {"kernel": "generic", "initrd": "initrd-pci.img"}


def counts(text, controller, driver):
    """Interrupts that a driver has had, from /proc/interrupts, on lines of that controller."""
    return sum(int(number) for number in re.findall(rf"^ *\d+: +(\d+) +{controller}.*{driver}", text, re.M))


@case("pci: lspci has nothing to complain of")
def listing():
    result = mullion("run", "--hotplug-ports", "2", *DEVICES, *kernel_options(**PCI),
                     stdin=b"lspci -xxxx | wc -l; lspci -vvv; dmesg -r | grep -E '^<[0-4]>'; echo done\n")
    expect(result.status == 0 and "\ndone" in result.out, "no end", result)
    listed = result.out.split("lspci -xxxx")[-1]
    expect(len(re.findall(r"^00:0\d\.\d Class", listed, re.M)) == 5, "devices", result)
    expect(len(re.findall(r"Kernel driver in use: (virtio-pci|pcieport)", listed)) == 4, "drivers", result)
    expect(not re.search(r"(?i)!!!|access denied|unknown header|rev ff|invalid|broken|overflow|<\?|\[virtual\]|\[disabled\]",
                         listed), "complaints", result)
    expect(not re.search(r"(?im)^<[0-4]>.*pci.*(bug|fail|error|conflict|invalid|no space)", listed), "the kernel's complaints", result)


@case("pci: BARs are moved")
def moving():
    """By the kernel, and by a hand that writes other addresses while the driver is away."""
    script = """cd /sys/bus/pci/devices
        net() { ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; arping -c 2 -w 30 -I eth0 10.0.2.2 | grep -c "reply from"; }
        grep -v "0x0000000000000000 0x0000000000000000" 0000:00:01.0/resource
        echo answers $(net)
        echo 1 >0000:00:01.0/remove; setpci -A intel-conf1 -s 00:01.0 COMMAND=0 BASE_ADDRESS_1=d0000000 BASE_ADDRESS_4=e000000c
        setpci -A intel-conf1 -s 00:01.0 BASE_ADDRESS_1 BASE_ADDRESS_4; echo 1 >../rescan; sleep 1
        grep -v "0x0000000000000000 0x0000000000000000" 0000:00:01.0/resource
        echo answers $(net)
        echo 1 >0000:00:01.0/remove; setpci -A intel-conf1 -s 00:01.0 COMMAND=0 BASE_ADDRESS_4=0000000c BASE_ADDRESS_5=50
        echo 1 >../rescan; sleep 1
        grep -v "0x0000000000000000 0x0000000000000000" 0000:00:01.0/resource
        echo answers $(net)
        echo 1 >0000:00:01.0/reset; echo still there $(cat 0000:00:01.0/vendor)
        echo 1 >0000:00:02.0/remove; echo 1 >../rescan; ls | wc -l; echo done
        """
    lines = "".join(line.strip() + "\n" for line in script.split("\n"))
    result = mullion("run", "--hotplug-ports", "1", "--net", "user", "--rng",
                     *kernel_options(**PCI, append="pci=realloc"), stdin=lines.encode())
    expect(result.status == 0 and "\ndone" in result.out, "no end", result)
    expect(re.findall(r"^answers (\d)", result.out, re.M) == ["2"] * 3, "the network's answers", result)
    expect("\nd0000000\ne000000c\n" in result.out, "the addresses that were written", result)
    places = re.findall(r"^(0x[0-9a-f]{16}) 0x[0-9a-f]{16} 0x[0-9a-f]{16}$", result.out, re.M)
    expect(len(places) == 6 and places[1] < "0x0000000100000000" < places[3] and places[0] != places[2],
           f"the kernel has moved the BARs: {places}", result)
    expect("still there 0x1af4" in result.out, "after a function-level reset", result)


@case("pci: wires and messages")
def interrupts():
    """MSI-X; INTx at the IOAPIC; INTx at the 8259; and without ACPI."""
    for append, controller in (("", "PCI-MSI"), ("pci=nomsi", "IO-APIC +1[6-9]-fasteoi"), ("noapic pci=nomsi", "XT-PIC"),
                               ("acpi=off pci=nomsi", "XT-PIC")):
        result = mullion("run", "--no-reboot", *DEVICES, *kernel_options(**PCI, append=append),
                         stdin=b"ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; arping -c 3 -I eth0 10.0.2.2; "
                               b"head -c 64 /dev/hwrng | wc -c; cat /proc/interrupts; echo done; reboot -f\n", )
        expect(result.status == 0 and "\ndone" in result.out and "\n64\n" in result.out, f"{append}: no end", result)
        expect("Received 3 response" in result.out, f"{append}: the network's answers", result)
        expect(counts(result.out, controller, "virtio") > 2, f"{append}: no interrupts by {controller}", result)


# ---- hot-plug ----

class Control:
    """The VM's control socket."""

    def __init__(self, name):
        self.peer = socket.socket(socket.AF_UNIX)
        self.peer.settimeout(60)
        self.peer.connect(os.path.join(os.environ["XDG_RUNTIME_DIR"], "mullion", name, "control.sock"))
        self.lines = self.peer.makefile("r", encoding="utf-8")

    def ask(self, command, **args):
        self.peer.sendall(json.dumps({"command": command, **args}).encode() + b"\n")
        return json.loads(self.lines.readline())

    def plug(self):
        """Into the first free port; its number."""
        return self.ask("net.add", net={"kind": "none"}).get("result", {}).get("port")

    def plugged(self):
        return [port["port"] for port in self.ask("device.list")["result"]["ports"] if "kind" in port]


def wait_for(vm, condition, seconds=60):
    """Until a command in the guest succeeds."""
    end = time.monotonic() + seconds
    while "yes" not in vm.run(f"{condition} && echo yes").split("\n"):
        expect(time.monotonic() < end, f"never: {condition}", vm)
        time.sleep(0.3)


def wait_gone(vm, control, port):
    end = time.monotonic() + 60
    while port in control.plugged():
        expect(time.monotonic() < end, f"port {port} is never given back", vm)
        time.sleep(0.2)


def place(port):
    return f"/sys/bus/pci/devices/0000:0{port}:00.0"


def come(vm, control, port):
    expect(control.plug() == port, "plugged in", vm)
    wait_for(vm, f"test -e {place(port)}/driver")
    expect("1af4:1041" in vm.run(f"lspci -n -s 0{port}:00.0"), "lspci", vm)
    wait_for(vm, "ip link set eth0 up")


def go(vm, control, port):
    expect("result" in control.ask("device.remove", port=port), "unplug", vm)
    expect("already" in str(control.ask("device.remove", port=port)), "asked twice", vm)
    wait_gone(vm, control, port)
    wait_for(vm, f"test ! -e {place(port)}")
    wait_for(vm, "test ! -e /sys/class/net/eth0")


@case("pci: hot-plug")
def hot_plug():
    with Terminal("run", "--name", "pci-plug", "--hotplug-ports", "2", *kernel_options(**PCI)) as vm:
        vm.wait_for(re.escape(FIRST_LINE))
        vm.wait_for(re.escape(PROMPT))
        vm.run("stty cols 250")
        control = Control("pci-plug")
        come(vm, control, 1)
        go(vm, control, 1)
        come(vm, control, 1)
        expect(control.plug() == 2, "the second port", vm)
        wait_for(vm, f"test -e {place(2)}/driver")
        expect("ports" in str(control.ask("net.add", net={"kind": "none"}).get("error")), "a third", vm)
        expect("result" in control.ask("device.remove", port=2), "unplug", vm)
        wait_gone(vm, control, 2)
        # It survives the guest's switch, and a reset: then it is there from the start.
        vm.run("echo 0 >/sys/bus/pci/slots/1/power")
        wait_for(vm, f"test ! -e {place(1)}")
        vm.run("echo 1 >/sys/bus/pci/slots/1/power")
        wait_for(vm, f"test -e {place(1)}/driver")
        vm.type("reboot -f\n")
        vm.wait_for(re.escape(FIRST_LINE))
        vm.wait_for(re.escape(PROMPT))
        vm.run("stty cols 250")
        wait_for(vm, f"test -e {place(1)}/driver")
        expect(control.plugged() == [1], "plugged in still", vm)
        # A guest that goes away while it is asked has given the function back.
        expect("result" in control.ask("device.remove", port=1), "unplug", vm)
        vm.type("reboot -f\n")
        wait_gone(vm, control, 1)
        vm.wait_for(re.escape(PROMPT))
        expect("No such" in vm.run(f"ls {place(1)}"), "gone at a reset", vm)
        expect("\n0\n" in "\n" + vm.run("dmesg -r | grep -E '^<[0-3]>' | grep -c pci"), "complaints", vm)
        vm.type("exit\n")
        expect(vm.end() == 0, "exit status", vm)
