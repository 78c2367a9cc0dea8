# SPDX-License-Identifier: MIT
"""Folders and sockets that host and guest share, with Debian's kernel as the client."""
import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from life import Home
from machine import LONG, MULLION, Failure, case, clean, expect, image, mullion

# What a client does with files; each line must print ok.
FILE_OPERATIONS = r"""
cd /mnt && echo ok
echo hello >a && [ "$(cat a)" = hello ] && echo ok
echo more >>a && [ "$(wc -l <a)" = 2 ] && echo ok
chmod 640 a && [ "$(stat -c %a a)" = 640 ] && echo ok
touch -d '2001-02-03 04:05:06' a && [ "$(stat -c %Y a)" = 981173106 ] && echo ok
mkdir -p d/e/f && mv a d/e/f/b && [ -f d/e/f/b ] && [ ! -e a ] && echo ok
ln -s d/e/f/b l && [ "$(readlink l)" = d/e/f/b ] && [ "$(head -n 1 l)" = hello ] && echo ok
ln d/e/f/b hard && [ "$(stat -c %h hard)" = 2 ] && echo ok
truncate -s 3 hard && [ "$(cat hard)" = hel ] && echo ok
dd if=/dev/urandom of=big bs=64k count=160 2>/dev/null && cp big copy && cmp big copy && echo ok
echo x | dd of=big bs=1 seek=5000000 conv=notrunc 2>/dev/null && ! cmp -s big copy && echo ok
i=0; while [ $i -lt 300 ]; do echo $i >n$i; i=$((i+1)); done; [ "$(ls | grep -c ^n)" = 300 ] && echo ok
[ "$(cat n* | wc -l)" = 300 ] && rm n* && [ "$(ls | grep -c ^n)" = 0 ] && echo ok
! rmdir d 2>/dev/null && rm -r d && [ ! -e d ] && echo ok
exec 3<copy && rm copy && [ "$(wc -c <&3)" = 10485760 ] && exec 3<&- && echo ok
cp /bin/busybox sh && chmod 755 sh && [ "$(./sh -c 'echo ran')" = ran ] && echo ok
mkfifo p && (echo through >p &) && [ "$(cat p)" = through ] && rm p && echo ok
sync && df /mnt | grep -q /mnt && echo ok
cd / && umount /mnt && echo ok
"""
OPERATIONS = FILE_OPERATIONS.strip().count("\n") + 1


def guest(*options, commands, kernel="generic"):
    done = mullion("run", "--kernel", image(f"vmlinuz-{kernel}"), "--initrd", image("initrd-generic.img"),
                   *options, stdin=commands.encode())
    expect(done.status == 0, "exit status 0 was expected", done)
    return done


def operations_on(kind, mount):
    """The guest's work on a folder, and what the host sees of it afterwards."""
    folder = tempfile.mkdtemp()
    script = os.path.join(folder, "script")
    with open(script, "w", encoding="ascii") as file:
        file.write(FILE_OPERATIONS)
    try:
        done = guest("--share", f"{folder},tag=host,kind={kind}",
                     commands=f"mkdir -p /mnt; {mount} host /mnt && cp /mnt/script /tmp; sh /tmp/script; uname -n\n")
        count = done.out.split("sh /tmp/script")[-1].split().count("ok")
        expect(count == OPERATIONS, f"{OPERATIONS} times ok was expected, not {count}", done)
        expect(sorted(os.listdir(folder)) == ["big", "hard", "l", "script", "sh"], str(os.listdir(folder)), done)
        with open(os.path.join(folder, "sh"), "rb") as file, open("/bin/busybox", "rb") as original:
            expect(hashlib.sha256(file.read()).digest() == hashlib.sha256(original.read()).digest()
                   or not os.path.exists("/bin/busybox"), "the copied program differs", done)
        with open(os.path.join(folder, "hard"), encoding="ascii") as file:
            expect(file.read() == "hel", "the truncated file's contents", done)
    finally:
        shutil.rmtree(folder)


@case("shared folder by 9p")
def shared_by_9p():
    operations_on("9p", "mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144")


@case("shared folder by virtio-fs")
def shared_by_virtiofs():
    if os.geteuid() == 0:
        operations_on("virtiofs", "mount -t virtiofs")
        return
    done = mullion("run", "--share", "/tmp,tag=host,kind=virtiofs")
    expect(done.status == 2 and "root" in done.err and "9p" in done.err, "a line that says why", done)


@case("shared folder that must not change")
def shared_readonly():
    folder = tempfile.mkdtemp()
    try:
        with open(os.path.join(folder, "file"), "w", encoding="ascii") as file:
            file.write("as it was\n")
        done = guest("--share", f"{folder},tag=host,readonly", commands=(
            "mount -t 9p -o trans=virtio host /mnt 2>/dev/null || { mkdir -p /mnt; mount -t 9p -o trans=virtio host /mnt; };"
            "cat /mnt/file; echo no >/mnt/file; rm -f /mnt/file; echo no >/mnt/new; echo $?-end\n"))
        expect("as it was" in done.out and "1-end" in done.out, "reading works, writing does not", done)
        with open(os.path.join(folder, "file"), encoding="ascii") as file:
            expect(file.read() == "as it was\n" and os.listdir(folder) == ["file"], "the folder changed", done)
    finally:
        shutil.rmtree(folder)


FUSE_INIT, FUSE_GETATTR = 26, 3


def fuse_begin(fd):
    """What it takes to open the folder; further questions stay without an answer."""
    answers = {
        FUSE_INIT: struct.pack("<IIIIHHIIHHI28x", 7, 31, 4096, 0, 16, 12, 131072, 1, 0, 0, 0),
        FUSE_GETATTR: struct.pack("<QIIQ40x5I20x", 100, 0, 0, 1, 0, 0, 0, 0o40755, 2),
    }
    for expected in (FUSE_INIT, FUSE_GETATTR):
        _, operation, unique = struct.unpack_from("<IIQ", os.read(fd, 1 << 18))
        expect(operation == expected, "FUSE", str(operation))
        os.write(fd, struct.pack("<IiQ", 16 + len(answers[operation]), 0, unique) + answers[operation])


@contextlib.contextmanager
def hung_folder():
    """A file system in user mode that does not answer."""
    libc = ctypes.CDLL(None)
    folder = tempfile.mkdtemp()
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
        expect(not libc.mount(b"none", folder.encode(), b"fuse", 0, options.encode()), "mount", folder)
        threading.Thread(target=fuse_begin, args=(fd,), daemon=True).start()
        yield folder
    finally:
        libc.umount2(folder.encode(), 2)
        os.close(fd)
        os.rmdir(folder)


@case("shared folder whose file system hangs")
def hung_share():
    """A reset of the device waits for it; mullion kill, and a second signal, do not."""
    if os.geteuid() or not os.access("/dev/fuse", os.W_OK):
        return
    for how in ("kill", "signals"):
        with hung_folder() as folder, Home() as home:
            home.good("run", "-d", "--name", "h", "--kernel", image("vmlinuz-generic"), "--initrd",
                      image("initrd-generic.img"), "--share", f"{folder},tag=host,kind=9p")
            home.wait_prompt("h")
            pid = home.pid("h")
            home.good("console", "h", stdin=b"mkdir -p /mnt; mount -t 9p -o trans=virtio,version=9p2000.L host /mnt;"
                      b"ls /mnt/x & sleep 1; for d in /sys/bus/virtio/devices/*; do [ $(cat $d/device) = 0x0009 ] &&"
                      b" echo re''setting && echo 1 >$(readlink -f $d/..)/reset; done; echo the e''nd\n")
            end = time.monotonic() + 30
            while "resetting" not in home.good("logs", "h"):
                expect(time.monotonic() < end, "no reset", home.good("logs", "h"))
                time.sleep(0.2)
            time.sleep(1)
            expect("the end" not in home.good("logs", "h"), "the reset waits", home.good("logs", "h"))
            if how == "kill":
                home.run("kill", "h")
            else:
                os.kill(pid, signal.SIGTERM)
                time.sleep(0.5)
                os.kill(pid, signal.SIGTERM)
            home.wait_state("h", "crashed")


@case("shared folders that cannot be")
def wrong_shares():
    for option, words in {
        "/no/such,tag=a": "/no/such",
        "/etc/hostname,tag=a,kind=9p": "/etc/hostname: is not a folder",
        "/etc/hostname,tag=a": "/etc/hostname: is not a folder",
        "/tmp": "tag",
        "/tmp,tag=": "tag",
        f"/tmp,kind=9p,tag={'x' * 256}": "tag",
        "/tmp,tag=a,kind=nfs": "kind",
    }.items():
        done = mullion("run", "--share", option)
        lines = done.err.strip().split("\n")
        expect(done.status == 2 and len(lines) == 1 and words in done.err, f"one line about {option}", done)
    done = mullion("run", "--share", "/tmp,tag=a,kind=9p", "--share", "/etc,tag=a,kind=9p")
    expect(done.status == 2 and "two" in done.err, "one line about the tag", done)


# In the guest: a server on a port that turns round what it gets, line by line; then a client.
TURN = r"""
LC_ALL=C perl -e 'socket(L,40,1,0);bind(L,pack("SSLLx4",40,0,1000,4294967295))or die $!;listen(L,5);
 syswrite STDOUT,"list"."ening\n";accept(S,L);$|=1;select S;$|=1;while(<S>){chomp;print scalar reverse,"\n"}' &
sleep 1; wait;
perl -e 'socket(S,40,1,0);connect(S,pack("SSLLx4",40,0,2000,2))or die $!;syswrite S,"x"x1000000;shutdown(S,1);
 while(sysread S,$b,65536){$n+=length $b}print "got $n\n"';
perl -e 'socket(S,40,1,0);connect(S,pack("SSLLx4",40,0,2001,2))or print "ref"."used\n"'
"""


class Echo(threading.Thread):
    """A program of the host that listens for the guest's port 2000, and sends everything back."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()

    def run(self):
        peer = self.socket.accept()[0]
        data = b""
        while part := peer.recv(65536):
            data += part
        peer.sendall(data)
        peer.close()


def turned_round(path, lines):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(LONG)
    peer.connect(path)
    with peer.makefile("rw", encoding="ascii") as stream:
        stream.write("CONNECT 1000\n")
        stream.flush()
        answer = [stream.readline()]
        for line in lines:
            stream.write(line + "\n")
            stream.flush()
            answer.append(stream.readline().strip())
    peer.close()
    return answer


@case("sockets between host and guest")
def vsock():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "vsock")
    initrd = os.path.join(folder, "initrd")
    shutil.copy(image("initrd-generic.img"), initrd)
    with open(initrd, "ab") as out: # the kernel takes several archives
        subprocess.run("find usr lib lib64 | cpio --quiet -o -H newc", shell=True, check=True, stdout=out,
                       cwd=image("root-test"))
    try:
        Echo(f"{path}_2000").start()
        vm = subprocess.Popen([MULLION, "run", "--kernel", image("vmlinuz-generic"), "--initrd", initrd, "--vsock", "7",
                               "--vsock-path", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        vm.stdin.write(TURN.replace("\n", " ").encode() + b"\n")
        vm.stdin.close()
        out = b""
        while b"listening" not in out:
            part = os.read(vm.stdout.fileno(), 65536)
            if not part:
                raise Failure(f"the guest does not listen\n{clean(out)}")
            out += part
        answer = turned_round(path, ["hello", "world"])
        if not answer[0].startswith("OK ") or answer[1:] != ["olleh", "dlrow"]:
            raise Failure(f"the host got {answer}\n{clean(out)}")
        out = clean(out + vm.stdout.read())
        if vm.wait(LONG) != 0 or "got 1000000" not in out or "refused" not in out:
            raise Failure(f"the guest's side\n{out}")
    finally:
        shutil.rmtree(folder)
