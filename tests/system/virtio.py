# SPDX-License-Identifier: MIT
"""virtio devices under Debian's cloud kernel with its stock drivers, and under a driver that breaks the rules."""
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

from machine import LONG, MULLION, PROMPT, ROOT, Failure, Terminal, case, expect, kernel_options, mullion

SIZE = 64 << 20


def virtio_options(append=""):
    return kernel_options(initrd="initrd-virtio.img", append=append)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Disk:
    """A raw image with random contents."""

    def __init__(self, size=SIZE):
        self.file = tempfile.NamedTemporaryFile(prefix="mullion-virtio-", suffix=".raw")
        self.file.write(os.urandom(size))
        self.file.flush()
        self.path = self.file.name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def bytes(self, start=0, end=None):
        with open(self.path, "rb") as file:
            data = file.read()
        return data[start:end]

    def blocks(self):
        return os.stat(self.path).st_blocks


def guest(commands, *options, append=""):
    done = mullion("run", "--no-reboot", *virtio_options(append), *options, stdin=commands.encode())
    expect(done.status == 0, "exit status", done)
    return done


def blk_contents(*options):
    with Disk() as disk:
        whole = digest(disk.bytes())
        done = guest("echo sum $(sha256sum </dev/vda); echo serial $(cat /sys/block/vda/serial)\n"
                     "echo ring $(cut -c 35 </sys/block/vda/device/features)\n"
                     "echo cache $(cat /sys/block/vda/queue/write_cache)\n"
                     "dd if=/dev/urandom of=/tmp/new bs=1M count=8 2>/dev/null; echo new $(sha256sum </tmp/new)\n"
                     "dd if=/tmp/new of=/dev/vda bs=64k seek=5 conv=fsync 2>/dev/null && echo written\n"
                     "echo 3 >/proc/sys/vm/drop_caches\n"
                     "echo again $(dd if=/dev/vda bs=64k skip=5 count=128 2>/dev/null | sha256sum)\n",
                     "--disk", f"{disk.path},serial=TESTDISK01", "--stats", *options)
        expect(f"sum {whole}" in done.out, "the guest reads something else", done)
        expect("serial TESTDISK01" in done.out and "cache write back" in done.out, "serial or cache", done)
        new = re.search(r"^new (\w+)", done.out, re.M).group(1)
        expect("written\n" in done.out and f"again {new}" in done.out, "the guest reads back something else", done)
        expect(digest(disk.bytes(5 << 16, (5 << 16) + (8 << 20))) == new, "the image holds something else", done)
        counters = re.search(r"virtio-blk .*queue 0: kicks (\d+) chains (\d+) interrupts (\d+)", done.err)
        expect(counters and int(counters[2]) >= int(counters[3]) > 0, "no counters in --stats", done)
        ring = re.search(r"^ring (\d)", done.out, re.M).group(1)
        expect(ring == ("1" if options else "0"), "split or packed rings", done)


@case("virtio-blk: contents both ways, flush, serial")
def blk_split():
    blk_contents()


@case("virtio-blk: the same with packed rings")
def blk_packed():
    blk_contents("--packed-rings")


@case("virtio-blk: discard gives the space back")
def blk_discard():
    with Disk() as disk:
        before = disk.blocks()
        done = guest("blkdiscard -o 8388608 -l 33554432 /dev/vda && echo discarded\n"
                     "echo sum $(dd if=/dev/vda bs=1M skip=8 count=32 2>/dev/null | sha256sum)\n",
                     "--disk", disk.path)
        expect("discarded\n" in done.out and f"sum {digest(bytes(32 << 20))}" in done.out, "no discard", done)
        expect(disk.blocks() <= before - 60000, f"{before} blocks before, {disk.blocks()} afterwards", done)


@case("virtio-blk: ext4 on a throw-away disk, and a disk that is read-only")
def blk_modes():
    with Disk() as first, Disk(1 << 20) as second:
        sums = digest(first.bytes()), digest(second.bytes())
        done = guest("mke2fs -q /dev/vda 2>/dev/null; mkdir /mnt; mount -t ext4 /dev/vda /mnt && echo mounted\n"
                     "cp /bin/busybox /mnt/; sync; umount /mnt; mount -t ext4 -o ro /dev/vda /mnt\n"
                     "cmp /bin/busybox /mnt/busybox && echo same\n"
                     "dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>&1; echo ro $(cat /sys/block/vdb/ro)\n"
                     f"[ $(sha256sum </dev/vdb | cut -d' ' -f1) = {sums[1]} ] && echo untouched\n",
                     "--disk", f"{first.path},snapshot", "--disk", f"{second.path},readonly")
        for word in ("mounted", "same", "ro 1", "untouched"):
            expect(f"\n{word}\n" in done.out, word, done)
        expect(sums == (digest(first.bytes()), digest(second.bytes())), "an image has changed", done)


@case("virtio-rng")
def rng():
    done = guest("echo current $(cat /sys/class/misc/hw_random/rng_current)\n"
                 "for i in 1 2; do echo bytes $(dd if=/dev/hwrng bs=1k count=16 2>/dev/null | sha256sum); done\n"
                 "echo packed $(dd if=/dev/hwrng bs=1k count=64 2>/dev/null | gzip | wc -c)\n", "--rng")
    sums = re.findall(r"^bytes (\w+)", done.out, re.M)
    expect("current virtio_rng" in done.out and len(set(sums)) == 2, "no random numbers", done)
    expect(int(re.search(r"^packed (\d+)", done.out, re.M).group(1)) > 60000, "they can be compressed", done)


# ---- balloon ----

def request(path, **arguments):
    """One request to a VM's control socket; its answer."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(path)
        control.sendall(json.dumps(arguments).encode() + b"\n")
        with control.makefile("r", encoding="utf-8") as answers:
            return json.loads(answers.readline())["result"]


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition, what, vm):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what}\n{vm}")
        time.sleep(0.2)


def available(vm):
    return int(re.search(r"MemAvailable: *(\d+)", vm.run("cat /proc/meminfo")).group(1)) << 10


@case("virtio-balloon: memory goes to the host and comes back")
def balloon():
    name = f"balloon-{os.getpid()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/mullion-{os.getuid()}"
    with Terminal("run", "--name", name, "--balloon", "--memory", "512M", *virtio_options()) as vm:
        vm.wait_for(PROMPT)
        path = next(path for path in (f"{runtime}/mullion/{name}/control.sock", f"{runtime}/{name}/control.sock")
                    if os.path.exists(path))
        # Memory that the guest has used and freed: free-page reporting gives it back within seconds.
        vm.run("dd if=/dev/zero of=/tmp/big bs=1M count=200 2>/dev/null; rm /tmp/big")
        wait_until(lambda: request(path, command="balloon")["reported"] > 150 << 20, "no free pages reported", vm)
        before, used = available(vm), resident(vm.process.pid)
        request(path, command="balloon", target=256 << 20)
        wait_until(lambda: request(path, command="balloon")["actual"] == 256 << 20, "no inflation", vm)
        during = available(vm)
        if during > before - (200 << 20):
            raise Failure(f"{before >> 20} MiB were available in the guest, and {during >> 20} still are\n{vm}")
        if resident(vm.process.pid) > used + (32 << 20):
            raise Failure(f"{used >> 20} MiB were resident, and {resident(vm.process.pid) >> 20} are\n{vm}")
        wait_until(lambda: abs(request(path, command="balloon").get("available", 0) - during) < 64 << 20,
                   "the guest's statistics do not fit what it says itself", vm)
        request(path, command="balloon", target=0)
        wait_until(lambda: request(path, command="balloon")["actual"] == 0, "no deflation", vm)
        if available(vm) < before - (32 << 20):
            raise Failure(f"{before >> 20} MiB were available in the guest, and {available(vm) >> 20} are\n{vm}")
        vm.type("exit\n")
        expect(vm.end() == 0, "exit status", vm)


# ---- console ----

@case("virtio-console: a shell on hvc0, beside ttyS0")
def console():
    with Terminal("run", "--virtio-console", *virtio_options("console=hvc0")) as vm:
        vm.wait_for(PROMPT)
        expect("/dev/hvc0" in vm.run("tty"), "the shell is not on hvc0", vm)
        text = vm.run("seq 1 20000 | md5sum; seq 1 3000")
        expect(all(f"\n{n}\n" in text for n in range(2, 3000)), "lines are missing", vm)
        vm.type("echo ready; wc -c\n")
        vm.wait_for(r"\nready\n")
        time.sleep(1)
        vm.type(("0123456789abcdef" * 3 + "\n") * 40 + "\x04")
        vm.wait_for(r"\n1960\n")
        vm.wait_for(PROMPT)
        expect("to ttyS0" in vm.run("echo to ttyS0 >/dev/ttyS0; sleep 1"), "ttyS0 is silent", vm)
        for rows, columns in ((43, 132), (25, 80)):
            vm.resize(rows, columns)
            wait_until(lambda: f"{rows} {columns}" in vm.run("stty size"), f"not {columns} by {rows}", vm)
        vm.type("exit\n")
        expect(vm.end() == 0, "exit status", vm)


@case("virtio-console: a port of its own")
def port():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "socket")
    try:
        with Terminal("run", "--virtio-port", f"org.example.one,path={path}", *virtio_options()) as vm:
            vm.wait_for(PROMPT)
            names = vm.run("cat /sys/class/virtio-ports/*/name; ls /dev/vport0p1")
            expect("org.example.one" in names and "/dev/vport0p1\n" in names, names, vm)
            with socket.socket(socket.AF_UNIX) as end:
                end.settimeout(30)
                end.connect(path)
                vm.run("(read -r line; echo got $line) </dev/vport0p1 >/tmp/line &")
                end.sendall(b"from the host\n")
                wait_until(lambda: "got from the host" in vm.run("cat /tmp/line"), "nothing came", vm)
                vm.run("echo from the guest >/dev/vport0p1")
                expect(end.recv(100) == b"from the guest\n", "something else came back", vm)
            vm.type("exit\n")
            expect(vm.end() == 0 and not os.path.exists(path), "exit status, or the socket is still there", vm)
    finally:
        shutil.rmtree(folder)


# ---- resets, of the device and of the machine ----

@case("virtio: INTx; unbound and bound, reset, removed and found again")
def life_of_a_device():
    with Disk() as disk:
        whole = digest(disk.bytes())
        for append, controller in (("pci=nomsi", "IO-APIC"), ("", "PCI-MSI")):
            done = guest("check() { echo $1 $(sha256sum </dev/vda); }\n"
                         "check first; cd /sys/bus/virtio/drivers/virtio_blk\n"
                         "for i in 1 2 3; do echo virtio0 >unbind; echo virtio0 >bind; done; check bound\n"
                         "cd /sys/bus/pci/devices/0000:00:01.0; cat reset_method\n"
                         "echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/unbind; echo 1 >reset\n"
                         "echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/bind; check reset\n"
                         "echo 1 >remove; [ ! -e /dev/vda ] && echo gone; echo 1 >/sys/bus/pci/rescan; check found\n"
                         "grep virtio /proc/interrupts\n", "--disk", disk.path, append=append)
            for word in ("first", "bound", "reset", "found"):
                expect(f"\n{word} {whole}" in done.out, f"{append} {word}: something else is on the disk", done)
            expect("\nflr\n" in done.out and "\ngone\n" in done.out, "no FLR, or not removed", done)
            expect(re.search(rf"{controller} .* virtio0", done.out), f"no interrupts by {controller}", done)


@case("virtio: the machine is reset in the midst of work")
def reset_at_work():
    with Disk() as disk, Terminal("run", "--disk", disk.path, "--rng", "--balloon", *virtio_options()) as vm:
        for _ in range(3):
            vm.wait_for(PROMPT)
            vm.type("while :; do dd if=/dev/vda of=/dev/null bs=64k count=50 2>/dev/null; done & "
                    "while :; do dd if=/dev/zero of=/dev/vda bs=64k count=50 seek=100 2>/dev/null; done & "
                    "while :; do dd if=/dev/hwrng of=/dev/null bs=64 count=99 2>/dev/null; done & "
                    "sleep 2; echo b >/proc/sysrq-trigger\n")
        vm.wait_for(PROMPT)
        text = vm.run("dd if=/dev/vda bs=1M 2>/dev/null | sha256sum")
        expect(digest(disk.bytes()) in text, "something else is on the disk", vm)
        vm.type("exit\n")
        expect(vm.end() == 0, "exit status", vm)


# ---- a driver that breaks the rules ----

@case("virtio: a hostile driver")
def hostile():
    with Disk(1 << 20) as disk:
        done = subprocess.run(
            ["tests/guest/run", "-v", "-i", "virtio", MULLION, "run", "--no-reboot", "--debug-exit", "--timeout", "60",
             "--rng", "--balloon", "--virtio-console", "--disk", disk.path, "--kernel"], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONG, check=False, encoding="utf-8", errors="replace")
        lines = re.findall(r"the driver broke the rules", done.stdout)
        expect(done.returncode == 0 and "virtio devices: 0x4" in done.stdout, "the image failed", done.stdout)
        expect(4 <= len(lines) <= 32, f"{len(lines)} lines about it", done.stdout)
