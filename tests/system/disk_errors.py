# SPDX-License-Identifier: MIT
"""Disks that are no good: each is complained of in one clear line, with status 2, and nothing is damaged."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

from disks import Scratch, sum_of, tool
from machine import MULLION, PROMPT, Terminal, case, expect, image, mullion

GUEST = ["--kernel", image("vmlinuz-cloud"), "--initrd", image("initrd.img"), "--timeout", "60"]


def patched(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def written(path, data=b"", size=None):
    with open(path, "wb") as file:
        file.write(data)
        if size is not None:
            file.truncate(size)
    return path


class Bench(Scratch):
    """Makes images that are wrong in one way each."""

    def qcow2(self, name, *options, size="64M"):
        path = self.path(name)
        tool("qemu-img", "create", "-q", "-f", "qcow2", *options, path, size)
        return path

    def filled(self, name, mib=8):
        raw = written(self.path(name + ".tmp"), os.urandom(mib << 20))
        tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, self.path(name))
        os.unlink(raw)
        return self.path(name)

    def cut(self, name, size):
        path = self.filled(name)
        os.truncate(path, size)
        return path

    def looped(self, name, through=None):
        path = self.qcow2(name)
        other = path
        if through:
            other = self.qcow2(through, "-b", path, "-F", "qcow2")
        tool("qemu-img", "rebase", "-u", "-b", other, "-F", "qcow2", path)
        return path

    def broken(self, name, offset, data):
        path = self.filled(name)
        patched(path, offset, data)
        return path

    def encrypted(self, name):
        """qemu-img measures the processor for it, and gives up when it is interrupted meanwhile: it is asked again."""
        path = self.path(name)
        for _ in range(10):
            if not tool("qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=word", "-o",
                        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path, "8M", good=(0, 1)):
                break
        return path


def bad_disks(b):
    """The option's value, and words that the complaint must hold."""
    raw = written(b.path("good.raw"), size=1 << 20)
    be32, be64 = struct.Struct(">I").pack, struct.Struct(">Q").pack
    yield b.path("no/such/disk"), "No such file"
    yield b.path("nothing.qcow2"), "No such file"
    yield b.dir, "directory"
    yield f"{b.dir},format=qcow2", "regular file"
    yield "/dev/null", "neither a file nor a block device"
    yield "/dev/tty,readonly", None
    yield written(b.path("empty.raw")), "empty"
    yield written(b.path("odd.raw"), b"x" * 1000), "1000"
    yield f"{raw},format=zip", "zip"
    yield f"{raw},format=qcow2", "not in qcow2 format"
    yield f"{raw},format=vmdk", "VMDK"
    yield f"{raw},format=vhdx", "not an image of that format"
    yield f"{raw},colour=red", "colour"
    yield f"{raw},bus=scsi", "scsi"
    yield ",readonly", None
    os.mkfifo(b.path("fifo"))
    yield b.path("fifo"), "neither"
    os.symlink(b.path("gone"), b.path("dangling"))
    yield b.path("dangling"), "No such file"
    os.symlink(b.path("circle"), b.path("circle"))
    yield b.path("circle"), "symbolic links"
    yield b.path("x" * 300), "too long"
    yield b.cut("header-only.qcow2", 300), "damaged"
    yield b.cut("half.qcow2", 4 << 20), "damaged"
    yield b.cut("tiny.qcow2", 50), None
    yield b.looped("loop.qcow2"), "loop"
    yield b.looped("loop-a.qcow2", "loop-b.qcow2"), "loop"
    yield b.looped("loop-ro.qcow2") + ",readonly", "loop"
    yield b.qcow2("gone.qcow2", "-u", "-b", b.path("not-there.qcow2"), "-F", "qcow2"), "not-there"
    yield b.qcow2("refers.img", "-b", raw, "-F", "raw"), "format=qcow2"
    yield b.broken("absurd-size.qcow2", 24, be64(1 << 62)), None
    yield b.broken("absurd-cluster.qcow2", 20, be32(60)), None
    yield b.broken("absurd-l1.qcow2", 36, be32(0x7fffffff)), None
    yield b.broken("absurd-l1-place.qcow2", 40, be64(1 << 50)), None
    yield b.broken("future.qcow2", 72, be64(1 << 40)), None
    yield b.broken("corrupt.qcow2", 72, be64(2)), None
    yield b.broken("bad-l2.qcow2", 4 * 65536, b"\x7f" * 65536), "damaged"
    yield b.encrypted("secret.qcow2"), "encrypted"
    vmdk = b.path("text.vmdk")
    written(vmdk, b"# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 99999999999 FLAT \"/etc/shadow\" 0\n")
    yield vmdk, None
    shutil.copy(vmdk, b.path("text.img"))
    yield b.path("text.img"), "format=vmdk"
    yield "nbd://127.0.0.1:1/x", "refused"
    yield f"nbd+unix:///?socket={b.path('no.sock')}", "No such file"
    yield "nbd://no.such.host.invalid/x", None
    yield "nbd+unix:///x", None
    yield f"{b.path('no.iso')},bus=cdrom", "no.iso"


def complaints_about(options, word, **more):
    result = mullion("run", *GUEST, *options, stdin=subprocess.DEVNULL, timeout=60, **more)
    lines = result.err.rstrip("\n").split("\n")
    if result.status != 2:
        yield f"exit status {result.status}: {result.err[-500:]!r}"
    if len(lines) != 1 or not lines[0].startswith("mullion: "):
        yield f"{len(lines)} lines: {result.err[:500]!r}"
    elif word and word not in result.err:
        yield f"{word!r} is not in {result.err!r}"
    if result.out.strip():
        yield f"printed {result.out[:200]!r}"


def sums(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            found[name] = sum_of(path)
    return found


@case("disks that are no good")
def no_good():
    complaints, count = [], 0
    with Bench() as bench:
        for value, word in bad_disks(bench):
            before = sums(bench.dir)
            count += 1
            complaints += [f"{value}: {text}" for text in complaints_about(["--disk", value], word)]
            if sums(bench.dir) != before:
                complaints.append(f"{value}: a file has changed")
    complaints += [] if count >= 24 else [f"only {count} were tried"]
    assert not complaints, "\n".join(text[:600] for text in complaints)


@case("disks without permission")
def permission():
    """Root may do everything, so somebody else tries."""
    with Bench() as bench:
        secret = written(bench.path("secret.raw"), size=1 << 20)
        fixed = written(bench.path("fixed.raw"), size=1 << 20)
        other = bench.qcow2("fixed.qcow2")
        program = shutil.copy(MULLION, bench.path("mullion"))
        kernel = shutil.copy(image("vmlinuz-cloud"), bench.path("kernel"))
        os.chmod(secret, 0)
        os.chmod(fixed, 0o444)
        os.chmod(other, 0o444)
        os.chmod(bench.dir, 0o755)
        wrap = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        for value, word in ((secret, "Permission denied"), (f"{secret},readonly", "Permission denied"), (fixed, "may not be written"),
                            (other, "may not be written"), (f"{secret},format=qcow2", "Permission denied")):
            done = subprocess.run([*wrap, program, "run", "--kernel", kernel, "--disk", value], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            text = done.stderr.decode()
            assert done.returncode == 2 and text.count("\n") == 1 and word in text, f"{value}: {done.returncode}: {text}"


@case("an image that is in use")
def in_use():
    """A VM has it: no other may write it, nor read it; readers share; the lock ends with the process."""
    with Bench() as bench:
        images = {"raw": written(bench.path("a.raw"), size=1 << 20), "qcow2": bench.qcow2("a.qcow2")}
        for path in images.values():
            options = ["run", *GUEST, "--disk", path]
            owner = subprocess.Popen([MULLION, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                owner.stderr.readline()
                pids = [owner.pid] + [int(word) for word in open(f"/proc/{owner.pid}/task/{owner.pid}/children").read().split()]
                bad = [*complaints_about(["--disk", path], "locked"), *complaints_about(["--disk", f"{path},readonly"], "locked"),
                       *complaints_about(["--disk", f"{path},snapshot"], "locked"),
                       *complaints_about(["--disk", f"{path},bus=ahci"], "process")]
                result = mullion("run", *GUEST, "--disk", path, stdin=subprocess.DEVNULL)
                if not any(f"process {pid}" in result.err for pid in pids):
                    bad.append(f"the owner {pids} is not named: {result.err}")
                result = mullion("image", "create", "--force", path, "1M")
                if result.status != 2 or "locked" not in result.err:
                    bad.append(f"overwritten while in use: {result}")
                overlay = bench.path("overlay.qcow2")  # the complaint names what is locked, not what would be made or opened
                tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", path, "-F", path.rsplit(".", 1)[1], overlay)
                for words in (["image", "convert", path, bench.path("copy.raw")], ["run", *GUEST, "--disk", overlay]):
                    result = mullion(*words, stdin=subprocess.DEVNULL)
                    if result.status != 2 or f"{path}: the image is locked" not in result.err:
                        bad.append(f"which image is in use: {result}")
                assert not bad, "\n".join(bad)
                assert "lock" in tool("qemu-io", "-f", path.rsplit(".", 1)[1], "-c", "write 0 512", path, good=(1,))
            finally:
                owner.kill()
                owner.communicate()
            time.sleep(0.3)
            result = mullion(*options, "--disk", f"{path},readonly", stdin=subprocess.DEVNULL)
            expect(result.status == 2 and "locked" in result.err, "one VM has it twice", result)
            result = mullion("run", *GUEST, "--disk", f"{path},readonly", "--disk", f"{path},snapshot", "--disk", f"{path},readonly",
                             stdin=b"exit\n")
            expect(result.status == 0, "readers could not share", result)


@case("nbd servers that are no good")
def nbd():
    with Bench() as bench:
        raw, path = written(bench.path("a.raw"), size=1 << 20), bench.path("socket")
        uri = f"nbd+unix:///?socket={path}"

        def server(*options):
            process = subprocess.Popen(["qemu-nbd", "-f", "raw", "-k", path, "-t", *options, raw])
            while not os.path.exists(path):
                time.sleep(0.01)
            return process

        bad = []
        process = server("--read-only")
        bad += complaints_about(["--disk", uri], "readonly")
        process.kill()
        process.wait()
        os.unlink(path)
        process = server("-x", "name")
        bad += complaints_about(["--disk", f"nbd+unix:///other?socket={path}"], None)
        process.kill()
        process.wait()
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen(1)
            child = os.fork()
            if not child:  # a server that speaks another language
                connection, _ = listening.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 500)
                os._exit(0)
            bad += complaints_about(["--disk", uri], None)
            os.waitpid(child, 0)
        os.unlink(path)
        assert not bad, "\n".join(bad)
        # One that dies while the VM runs: the guest sees errors, the VM goes on.
        process = server()
        with Terminal("run", "--kernel", image("vmlinuz-cloud"), "--initrd", image("initrd-virtio.img"), "--disk", uri) as vm:
            vm.wait_for(re.escape(PROMPT))
            expect("status 0" in vm.run("dd if=/dev/vda of=/dev/null bs=64k; echo status $?"), "reading", vm)
            process.kill()
            process.wait()
            vm.type("echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=64k; echo status $?\n")
            said = vm.wait_for(r"(?s).*\nstatus 1\n").group()
            vm.type("dd if=/dev/zero of=/dev/vda bs=64k count=1 conv=fsync; echo status $?\n")
            said += vm.wait_for(r"(?s).*\nstatus 1\n").group()
            expect(said.count("has ended the connection") == 1, "one line was expected", said)
            vm.type("exit\n")
            assert vm.end() == 0


@case("image commands that are wrong")
def image_commands():
    with Bench() as bench:
        raw, qcow2 = written(bench.path("a.raw"), b"x" * 512, 1 << 20), bench.filled("a.qcow2", 1)
        half = bench.cut("half.qcow2", 70000)
        fifo = bench.path("fifo")
        os.mkfifo(fifo)
        before = sums(bench.dir)
        bad = []
        for words, word in (
                (["create"], "NAME"), (["create", raw, "1M"], "--force"), (["create", bench.path("b.raw")], "size"),
                (["create", bench.path("b.raw"), "lots"], "lots"), (["create", bench.path("b.raw"), "0"], "size"),
                (["create", "-f", "zip", bench.path("b"), "1M"], "zip"), (["create", bench.path("no/b.raw"), "1M"], "No such"),
                (["create", "-b", bench.path("gone"), bench.path("b.qcow2")], "gone"), (["create", bench.dir, "1M"], "no file"),
                (["convert", raw], "FROM TO"), (["convert", raw, qcow2], "--force"), (["convert", bench.path("x"), bench.path("y")], "x"),
                (["convert", half, bench.path("y.raw")], None), (["convert", "-f", "zip", raw, bench.path("y")], "zip"),
                (["convert", "--from", "qcow2", raw, bench.path("y.raw")], "qcow2"), (["info"], "IMAGE"),
                (["info", bench.path("x")], "x"), (["info", bench.dir], None), (["info", "no-such-name"], "no-such-name"),
                (["resize", raw], "SIZE"), (["resize", raw, "512K"], "--shrink"), (["resize", qcow2, "512K"], "--shrink"),
                (["info", fifo], "neither"), (["convert", fifo, bench.path("y")], "neither"), (["resize", fifo, "1M"], "neither"),
                (["create", "-b", fifo, bench.path("y.qcow2")], "neither"), (["info", "/dev/zero"], "neither"),
                (["resize", raw, "none"], "none"), (["resize", bench.path("x"), "1M"], "x"), (["frobnicate"], None)):
            result = mullion("image", *words, stdin=subprocess.DEVNULL, timeout=10)
            if result.status != 2 or result.err.count("\n") != 1 or result.out.strip() or (word and word not in result.err):
                bad.append(f"{words}: {result}")
        if sums(bench.dir) != before:
            bad.append(f"files have changed: {sorted(sums(bench.dir))}")
        assert not bad, "\n".join(bad)


@case("image commands")
def image_commands_work():
    with Bench() as bench:
        data = os.urandom(1 << 20)
        written(bench.path("a.raw"), data)
        os.environ["XDG_DATA_HOME"], saved = bench.path("data"), os.environ.get("XDG_DATA_HOME")
        try:
            for words in (["create", "one", "1G"], ["create", "-b", "one", "two"], ["convert", bench.path("a.raw"), "three"],
                          ["convert", "three", bench.path("b.vdi")], ["convert", "-c", bench.path("b.vdi"), bench.path("c.qcow2")],
                          ["convert", "--force", bench.path("c.qcow2"), bench.path("d.raw")], ["resize", "one", "+1G"],
                          ["resize", bench.path("c.qcow2"), "2M"], ["resize", "--shrink", bench.path("c.qcow2"), "1M"],
                          ["info", "two"], ["info", "-f", "json", "three"], ["list"], ["create", "--force", "one", "1M"]):
                result = mullion("image", *words, stdin=subprocess.DEVNULL)
                expect(result.status == 0 and not result.err, str(words), result)
            with open(bench.path("d.raw"), "rb") as file:
                assert file.read() == data, "the copies differ"
            result = mullion("image", "list")
            expect([line.split()[0] for line in result.out.split("\n")[1:] if line] == ["one", "three", "two"], "the list", result)
            colon = subprocess.run(["sh", "-ec", f"{MULLION} image create a:b.qcow2 1M; {MULLION} image info a:b.qcow2; "
                                    f"{MULLION} image convert a:b.qcow2 json:c.raw"], cwd=bench.dir, capture_output=True, check=False)
            assert colon.returncode == 0 and os.path.exists(bench.path("json:c.raw")), colon
            tool("truncate", "-s", "64G", bench.path("large.raw"))
            with open(bench.path("large.raw"), "r+b") as file:
                file.seek(1 << 20)
                file.write(os.urandom(256 << 20))
            for signo in (signal.SIGINT, signal.SIGTERM):
                process = subprocess.Popen([MULLION, "image", "convert", "-c", bench.path("large.raw"), bench.path("large.qcow2")])
                end = time.monotonic() + 20
                while not [name for name in os.listdir(bench.dir) if ".new-" in name]:
                    assert process.poll() is None and time.monotonic() < end, "no draft was seen"
                    time.sleep(0.01)
                process.send_signal(signo)
                assert process.wait(timeout=20) == -signo, process.returncode
                time.sleep(0.2)
                assert "large.qcow2" not in os.listdir(bench.dir), "a half copy"
            left = [name for name in os.listdir(bench.dir) if ".new-" in name]
            assert not left, left
        finally:
            os.environ.pop("XDG_DATA_HOME")
            if saved is not None:
                os.environ["XDG_DATA_HOME"] = saved
