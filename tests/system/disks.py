# SPDX-License-Identifier: MIT
"""Disks of every kind with Debian's kernel: what it finds, keeps, and loses when it may."""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

from machine import ROOT, Failure, case, expect, image, mullion

TOOLS = {**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}


def tool(*argv, good=(0,)):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=TOOLS)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode not in good:
        raise Failure(f"{' '.join(argv)}: exit status {done.returncode}\n{text}")
    return text


def sum_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def guest(*options, commands, status=0):
    modules = "for m in ahci sd_mod sr_mod isofs ext4; do modprobe $m; done; mkdir -p /mnt\n"
    done = mullion("run", "--kernel", image("vmlinuz-generic"), "--initrd", image("initrd-generic.img"), *options,
                   stdin=(modules + commands).encode())
    expect(done.status == status, f"exit status {status} was expected", done)
    return done


class Scratch:
    """A folder for images."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="mullion-disks-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def ext4(self, name, form="raw", mib=64):
        path = self.path(name)
        raw = path + ".tmp"
        with open(raw, "wb") as file:
            file.truncate(mib << 20)
        tool("mke2fs", "-q", "-t", "ext4", "-F", raw)
        tool("qemu-img", "convert", "-f", "raw", "-O", form, raw, path)
        os.unlink(raw)
        return path


# What a guest does on a file system: small and large files, many files, trim; then it looks again.
# The kernel looks at SATA ports side by side, so a name says nothing about a port.
WORK = """ata() { ls /sys/devices/pci*/*/ata$1/host*/target*/*/block; }
work() { mount /dev/$2 /mnt
seq 1 20000 >/mnt/numbers; mkdir /mnt/d; for i in $(seq 1 100); do echo $i >/mnt/d/$i; done
dd if=/dev/urandom of=/mnt/big bs=1M count=8 2>/dev/null; sha256sum /mnt/big | cut -c 1-64 >/mnt/sum
rm /mnt/d/1*; sync; fstrim /mnt; echo $1 trimmed $?; umount /mnt
mount -o ro /dev/$2 /mnt; echo $1 sum $(sha256sum /mnt/big | cut -c 1-64) $(cat /mnt/sum); umount /mnt; }
"""


def check_ext4(scratch, path, form, wanted):
    copy = scratch.path("copy.raw")
    if form in ("qcow2", "vdi", "vhdx"):
        tool("qemu-img", "check", "-f", form, path)
    tool("qemu-img", "convert", "-f", form, "-O", "raw", path, copy)
    tool("e2fsck", "-fn", copy)
    tool("debugfs", "-R", f"dump /big {scratch.path('big')}", copy)
    tool("debugfs", "-R", f"dump /numbers {scratch.path('numbers')}", copy)
    with open(scratch.path("numbers"), encoding="latin1") as file:
        found = file.read()
    assert found == "".join(f"{n}\n" for n in range(1, 20001)), f"{path}: the numbers are wrong: {len(found)} characters"
    assert sum_of(scratch.path("big")) == wanted, f"{path}: other data than the guest wrote"


@case("disks of every kind")
def every_kind():
    kinds = [("vda", "raw", ""), ("vdb", "qcow2", ""), ("vdc", "raw", ",direct"), ("vdd", "vmdk", ""), ("vde", "vdi", ""),
             ("vdf", "vhdx", ""), ("port1", "raw", ",bus=ahci"), ("port2", "qcow2", ",bus=ahci")]
    with Scratch() as scratch:
        options = []
        for disk, form, more in kinds:
            options += ["--disk", scratch.ext4(f"{disk}.{form}", form) + more]
        result = guest(*options, commands=WORK + "".join(
            f"work {disk} {disk.replace('port', '$(ata ') + ')' if 'port' in disk else disk}\n" for disk, _, _ in kinds))
        for disk, form, _ in kinds:
            sums = re.findall(rf"\n{disk} sum ([0-9a-f]{{64}}) ([0-9a-f]{{64}})", result.out)
            expect(len(sums) == 1 and sums[0][0] == sums[0][1], f"{disk}: the data changed in the guest", result)
            expect(f"\n{disk} trimmed 0" in result.out, f"{disk}: no trim", result)
            check_ext4(scratch, scratch.path(f"{disk}.{form}"), form, sums[0][0])


# Runs its arguments with a filter that forbids io_uring_setup (425), as containers do.
NO_URING = """
import ctypes, os, struct, sys
code = b"".join(struct.pack("<HBBI", *i) for i in ((0x20, 0, 0, 0), (0x15, 0, 1, 425), (6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)))
keep = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 4, ctypes.addressof(keep)))
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, program)
os.execv(sys.argv[1], sys.argv[1:])
"""


@case("disk on tmpfs, and without io_uring")
def without_uring():
    with Scratch() as scratch, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        paths = [scratch.ext4("a.raw"), scratch.ext4("b.raw"), os.path.join(memory, "c.raw")]
        shutil.move(scratch.ext4("c.raw"), paths[2])
        result = mullion("run", "--kernel", image("vmlinuz-generic"), "--initrd", image("initrd-generic.img"), "--disk", paths[0],
                         "--disk", f"{paths[1]},bus=ahci", "--disk", paths[2], wrap=["python3", "-c", NO_URING],
                         stdin=("modprobe ahci; modprobe sd_mod; modprobe ext4; mkdir -p /mnt\n" + WORK
                                + "work vda vda; work sda sda; work vdb vdb\n").encode())
        for disk, path in zip(("vda", "sda", "vdb"), paths):
            sums = re.findall(rf"\n{disk} sum ([0-9a-f]{{64}}) ([0-9a-f]{{64}})", result.out)
            expect(len(sums) == 1 and sums[0][0] == sums[0][1], f"{disk}: the data changed in the guest", result)
            check_ext4(scratch, path, "raw", sums[0][0])


@case("disk snapshot, readonly, backing file")
def unchanged():
    with Scratch() as scratch:
        base = scratch.ext4("base.qcow2", "qcow2")
        raw = scratch.ext4("disk.raw")
        ro = scratch.ext4("ro.raw")
        overlay = scratch.path("overlay.qcow2")
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay)
        before = [sum_of(path) for path in (base, raw, ro)]
        result = guest("--disk", f"{raw},snapshot", "--disk", overlay, "--disk", f"{ro},readonly", "--disk",
                       f"{base},snapshot,bus=ahci", commands="""
for d in vda vdb sda; do mount /dev/$d /mnt && seq 1 9999 >/mnt/f && sync && umount /mnt; echo $d $?; done
cat /sys/block/vdc/ro; dd if=/dev/zero of=/dev/vdc bs=512 count=1 2>/dev/null || echo refused
mount -o ro,noload /dev/vdc /mnt && echo readable
""")
        expect(all(f"\n{d} 0\n" in result.out for d in ("vda", "vdb", "sda")), "writing", result)
        expect("\n1\n" in result.out and "refused" in result.out and "readable" in result.out, "read-only", result)
        expect([sum_of(path) for path in (base, raw, ro)] == before, "an image that was to stay has changed", result)
        expect(int(re.search(r"disk size: (\d+)", tool("qemu-img", "info", overlay)).group(1)) > 0, "overlay", result)
        result = guest("--disk", f"{overlay},readonly", commands="mount -o ro /dev/vda /mnt; wc -l /mnt/f\n")
        expect("9999 /mnt/f" in result.out, "the overlay has lost what was written", result)
        # Nothing of a snapshot stays.
        left = [name for name in os.listdir(scratch.dir) if name not in ("base.qcow2", "disk.raw", "ro.raw", "overlay.qcow2")]
        expect(not left, f"left behind: {left}", result)


@case("cdrom")
def cdrom():
    with Scratch() as scratch:
        os.mkdir(scratch.path("cd"))
        with open(scratch.path("cd/hello"), "w", encoding="ascii") as file:
            file.write("from a disc\n")
        with open(scratch.path("cd/big"), "wb") as file:
            file.write(os.urandom(5_000_000))
        iso = scratch.path("disc.iso")
        tool("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", iso, scratch.path("cd"))
        before = sum_of(iso)
        result = guest("--disk", f"{iso},bus=cdrom", commands="""
until [ -b /dev/sr0 ]; do sleep 0.1; done
mount -t iso9660 -o ro /dev/sr0 /mnt && cat /mnt/hello; sha256sum /mnt/big; cat /sys/block/sr0/size
umount /mnt; dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 || echo refused
dmesg | grep -i -e 'ata[0-9.]*: .*err' -e exception
""")
        expect("from a disc" in result.out, "the disc cannot be read", result)
        expect(sum_of(scratch.path("cd/big")) in result.out, "the data differ", result)
        expect("\nrefused" in result.out, "a disc was written", result)
        expect(f"\n{os.path.getsize(iso) // 512}\n" in result.out, "size", result)
        expect(sum_of(iso) == before, "the disc has changed", result)
        expect("xception" not in result.out.split("-e exception")[-1], "errors", result)


@case("ahci of many")
def many():
    """Eight drives: a second controller; all work at once, and no error is seen."""
    with Scratch() as scratch:
        options = []
        for n in range(8):
            options += ["--disk", f"{scratch.ext4(f'{n}.raw', mib=16)},bus=ahci,serial=DRIVE{n}"]
        result = guest(*options, commands="""
for d in a b c d e f g h; do (mkdir /mnt$d; mount /dev/sd$d /mnt$d && seq 1 30000 >/mnt$d/f && sync && umount /mnt$d && echo done sd$d) & done
wait; dmesg | grep -c 'SATA link up'; dmesg | grep -i -e exception -e 'failed command'; cat /sys/block/sd*/device/model
""")
        expect(len(re.findall(r"\ndone sd[a-h]\b", result.out)) == 8 and "\n8\n" in result.out, "not all work", result)
        expect("xception" not in result.out.split("device/model")[-1], "errors", result)


@case("disk is full")
def full():
    """The host has no room: the guest sees I/O errors, we say so once, and the VM lives on."""
    with Scratch() as scratch:
        run = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=8m none {scratch.dir} || exit 99; '
               f'truncate -s 64M {scratch.dir}/a.raw; qemu-img create -q -f qcow2 {scratch.dir}/b.qcow2 64M; "$@"; s=$?; '
               f'rm {scratch.dir}/a.raw; qemu-img check -q {scratch.dir}/b.qcow2; echo check $?; exit $s', "sh"]
        result = mullion("run", "--kernel", image("vmlinuz-generic"), "--initrd", image("initrd-generic.img"), "--disk",
                         scratch.path("a.raw"), "--disk", scratch.path("b.qcow2"), wrap=run, stdin=b"""
dd if=/dev/urandom of=/dev/vdb bs=64k count=64 conv=fsync; echo first $?
dd if=/dev/urandom of=/dev/vda bs=64k count=256 conv=fsync; echo second $?
dd if=/dev/urandom of=/dev/vdb bs=64k seek=100 count=256 conv=fsync; echo third $?
dd if=/dev/vda of=/dev/null bs=64k count=16; echo reading $?
""")
        if result.status == 99:
            return  # no right to mount here
        expect(result.status == 0, "the VM ended", result)
        for line in ("first 0", "second 1", "third 1", "reading 0"):
            expect(f"\n{line}\n" in result.out, line, result)
        expect("check 0" in result.out or "check 3" in result.out, "the qcow2 image is damaged", result)
        lines = [line for line in result.err.split("\n") if "No space left" in line]
        expect(len(lines) == 2, "one line for each disk was expected", result)


@case("file size limit")
def file_size_limit():
    with Scratch() as scratch:
        path = scratch.path("a.raw")
        with open(path, "wb") as file:
            file.truncate(32 << 20)
        result = mullion("run", "--kernel", image("vmlinuz-generic"), "--initrd", image("initrd-generic.img"), "--disk", path,
                         wrap=["sh", "-c", 'ulimit -f 8192; exec "$@"', "sh"],
                         stdin=b"dd if=/dev/zero of=/dev/vda bs=1M count=16 conv=fsync; echo status $?\n")
        expect(result.status == 0 and "\nstatus 1\n" in result.out, "an I/O error was expected", result)
        expect(result.err.count("the guest sees I/O errors") == 1, "one line", result)


@case("killed while writing, raw")
def killed_raw():
    tool(f"{ROOT}/tests/crash", "--rounds", "5", "--format", "raw")


@case("killed while writing, qcow2")
def killed_qcow2():
    tool(f"{ROOT}/tests/crash", "--rounds", "5", "--format", "qcow2")
    expect("BROKEN" in tool(f"{ROOT}/tests/crash", "--rounds", "1", "--format", "raw", "--lose", good=(1,)),
           "a VMM that loses everything passes", "")
