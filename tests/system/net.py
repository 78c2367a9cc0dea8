# SPDX-License-Identifier: MIT
"""Networks under Debian's generic kernel with its stock drivers: both cards, user mode, and VMs on a switch."""
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from machine import IMAGES, LONG, Failure, Terminal, case, expect, kernel_options, mullion

BLOB = os.urandom(24 << 20)
MODELS = ("virtio", "e1000")
UP = "ip link set eth0 up; udhcpc -q -n -i eth0 -s /udhcpc >/dev/null 2>&1"


def net_options(append=""):
    return kernel_options("generic", "initrd-net.img", append)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Host:
    """What a guest finds on this host: the blob by HTTP, and a port that takes what it is sent."""

    def __enter__(self):
        class Blob(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(BLOB)))
                self.end_headers()
                self.wfile.write(BLOB)

            def log_message(self, *_):
                pass

        self.received = []
        self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Blob)
        self.sink = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.web.serve_forever, daemon=True).start()
        threading.Thread(target=self.take, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.web.shutdown()
        self.web.server_close()
        self.sink.close()

    def take(self):
        while True:
            try:
                client, _ = self.sink.accept()
            except OSError:
                return
            with client:
                whole, data = hashlib.sha256(), True
                while data:
                    data = client.recv(1 << 16)
                    whole.update(data)
                self.received.append(whole.hexdigest())

    def fetch(self):
        return f"wget -q -O - http://10.0.2.2:{self.web.server_port}/ | sha256sum"

    def upload(self):
        return f"nc 10.0.2.2 {self.sink.getsockname()[1]} </tmp/up && echo uploaded"


def guest(commands, *options, append=""):
    done = mullion("run", "--no-reboot", *net_options(append), *options, stdin=commands.encode())
    expect(done.status == 0, "exit status", done)
    return done


def transfers(host, mtu):
    return (f"ip link set eth0 mtu {mtu}\necho got {mtu} $({host.fetch()})\n"
            f"dd if=/dev/urandom of=/tmp/up bs=1M count=16 2>/dev/null; echo sent {mtu} $(sha256sum </tmp/up)\n"
            f"{host.upload()}\n")


def user_mode(model):
    """DHCP, the router, large transfers both ways at several MTUs, with the link down and up between."""
    with Host() as host:
        done = guest(f"{UP}\nip -4 addr show eth0 | grep inet; cat /etc/resolv.conf\n"
                     f"ping -c 2 -w 20 10.0.2.2; ping -c 1 -w 20 -s 4000 10.0.2.2\n"
                     + transfers(host, 1500) + transfers(host, 700)
                     + f"ip link set eth0 down; {UP}\n" + transfers(host, 1500)
                     + "grep . /sys/class/net/eth0/statistics/[rt]x_[ed]* | grep -v ':0$'\n",
                     "--net", f"user,model={model}", "--stats")
        expect("inet 10.0.2.15/24" in done.out and "nameserver 10.0.2.3" in done.out, "no DHCP", done)
        expect("2 packets received" in done.out and "1 packets received" in done.out, "no answer to ping", done)
        got = re.findall(r"^got \d+ (\w+)", done.out, re.M)
        expect(got == [digest(BLOB)] * 3, "what it fetched is something else", done)
        sent = re.findall(r"^sent \d+ (\w+)", done.out, re.M)
        expect(len(sent) == 3 and done.out.count("\nuploaded") == 3, "an upload failed", done)
        expect(sent == host.received, f"what it sent is not what came: {host.received}", done)
        expect(not re.search(r"statistics/\w+:", done.out), "errors or drops", done)
        expect(re.search(r"net 0 sent: frames \d{4}", done.err), "no counters", done)


@case("net: user mode through virtio-net")
def user_virtio():
    user_mode("virtio")


@case("net: user mode through the e1000")
def user_e1000():
    user_mode("e1000")


@case("net: four pairs of queues")
def queues():
    with Host() as host:
        done = guest(f"{UP}\n"
                     "for i in 1 2 3 4; do " + host.fetch() + " >/tmp/sum$i & done; wait; cat /tmp/sum*\n",
                     "--net", "user,queues=4")
        expect(done.out.count(digest(BLOB)) == 4, "what it fetched is something else", done)


@case("net: names are resolved")
def names():
    try:
        wanted = {info[4][0] for info in socket.getaddrinfo("deb.debian.org", 80, socket.AF_INET)}
    except OSError:
        return # this host has no names either
    done = guest(f"{UP}\nnslookup deb.debian.org\n", "--net", "user")
    expect(any(address in done.out for address in wanted), f"none of {wanted}", done)


def poll_http(port, text):
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                answer = b""
                while data := client.recv(65536):
                    answer += data
                if text in answer:
                    return answer
        except OSError:
            pass
        time.sleep(0.3)
    raise Failure(f"nobody answers at port {port}")


def iperf3(*options):
    """iperf3 of the guest's image, run on this host."""
    packages = os.path.join(IMAGES, "packages")
    libs = ":".join(f"{packages}/{name}/usr/lib/x86_64-linux-gnu" for name in ("libiperf0", "libsctp1", "libssl3"))
    done = subprocess.run([f"{packages}/iperf3/usr/bin/iperf3", "--json", *options], stdout=subprocess.PIPE, timeout=LONG,
                          env={**os.environ, "LD_LIBRARY_PATH": libs}, check=False)
    return json.loads(done.stdout)


@case("net: forwards lead in")
def forwards():
    web, port = free_port(), free_port()
    with Terminal("run", "--no-reboot", *net_options(), "--net",
                                  f"user,forward=tcp:{web}:80,forward=tcp:127.0.0.1:{port}:5201,"
                                  f"forward=udp:127.0.0.1:{port}:5201") as vm:
        vm.wait_for("guest:~# ")
        vm.run(UP)
        vm.run("echo hello-from-guest >/tmp/index.html; httpd -p 80 -h /tmp")
        vm.run("iperf3 -s -D")
        vm.run("until netstat -ltn | grep -q :5201; do sleep 0.1; done")
        poll_http(web, b"hello-from-guest")
        udp = iperf3("-c", "127.0.0.1", "-p", str(port), "-u", "-b", "2M", "-t", "1")["end"]["sum"]
        if udp["packets"] < 4 or udp["lost_packets"] > udp["packets"] / 2:
            raise Failure(f"UDP through the forward: {udp}")
        # The host's port is this VM's as long as it runs.
        second = mullion("run", *net_options(), "--net", f"user,forward=tcp:127.0.0.1:{web}:80", stdin=b"")
        expect(second.status == 2 and str(web) in second.err and second.err.count("\n") == 1, "port in use", second)


@case("net: a restricted guest has no way out")
def restricted():
    with Host() as host:
        done = guest(f"{UP}\nwget -T 5 -q -O - http://10.0.2.2:{host.web.server_port}/ | sha256sum\n"
                     "ping -c 1 -w 5 10.0.2.2\n", "--net", "user,restricted")
        expect(digest(BLOB) not in done.out and "transmitted" in done.out, "it got out", done)


@case("net: wrong options")
def wrong():
    for text, word in (("user,mac=52:54:00", "mac"), ("user,mac=01:00:00:00:00:01", "MAC"),
                       ("user,forward=tcp:22", "forward"), ("user,forward=tcp:1.2.3:1:2", "forward"),
                       ("switch:nowhere", "nowhere"), ("switch:/no/such/socket", "/no/such/socket"),
                       ("tap:no_such_tap_0", "no_such_tap_0"), ("user,model=ne2000", "ne2000"),
                       ("carrier-pigeon", "carrier-pigeon")):
        done = mullion("run", *net_options(), "--net", text, stdin=b"")
        expect(done.status == 2 and word in done.err and done.err.count("\n") == 1, text, done)


TAP = """ip link set lo up; ip tuntap add tap0 mode tap && ip addr add 10.8.0.1/24 dev tap0 && ip link set tap0 up || exit 99
busybox httpd -f -p 10.8.0.1:8000 -h $0 & server=$!
"$@"; status=$?; kill $server; exit $status"""


@case("net: a tap device")
def tap():
    """In a network namespace of its own, which only root may make."""
    if os.geteuid() or not os.path.exists("/dev/net/tun") or not shutil.which("ip"):
        return
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/blob", "wb") as file:
            file.write(BLOB)
        for model in MODELS:
            done = mullion("run", "--no-reboot", *net_options(), "--net", f"tap:tap0,model={model}", "--stats",
                           wrap=["unshare", "-n", "sh", "-c", TAP, folder],
                           stdin=b"ip link set eth0 up; ip addr add 10.8.0.2/24 dev eth0\nping -c 1 -w 20 10.8.0.1\n"
                                 b"echo got $(wget -q -O - http://10.8.0.1:8000/blob | sha256sum)\n")
            if done.status == 99:
                return # no tap devices here
            expect(done.status == 0 and "bytes from" in done.out, "no answer to ping", done)
            expect(f"got {digest(BLOB)}" in done.out, "what it fetched is something else", done)


# ---- a switch ----

def network(*words):
    return mullion("network", *words, stdin=subprocess.DEVNULL, timeout=20)


class Network:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        expect((done := network("create", self.name)).status == 0, "network create", done)
        return self

    def __exit__(self, *_):
        network("rm", "--force", self.name)

    def state(self):
        return json.loads(network("inspect", self.name).out)


class Member(Terminal):
    """A VM on a network, with an address."""

    def __init__(self, net, number, *more):
        super().__init__("run", "--no-reboot", "--name", f"member{os.getpid()}-{number}", *net_options(), "--net",
                         ",".join((f"switch:{net.name}",) + more))
        self.number = number

    def ready(self):
        self.wait_for("guest:~# ")
        self.run(f"ip link set eth0 up; ip addr add 10.9.0.{self.number}/24 dev eth0")

    def reaches(self, number, wait=20):
        return "bytes from" in self.run(f"ping -c 1 -w {wait} 10.9.0.{number}")


def need(condition, what, *vms):
    if not condition:
        raise Failure(what + "\n" + "\n".join(str(vm) for vm in vms))


@case("net: VMs on a switch: ping, data, isolation, the switch killed and back")
def switched():
    with Network(f"test{os.getpid()}") as net, Member(net, 1) as a, Member(net, 2, "isolated", "model=e1000") as b, \
            Member(net, 3, "isolated") as c:
        for vm in (a, b, c):
            vm.ready()
        need(a.reaches(2) and b.reaches(1) and c.reaches(1), "no answer to ping", a, b, c)
        need(not b.reaches(3, 3) and not c.reaches(2, 3), "isolated, but they reach each other", b, c)
        # A large file from virtio to e1000 and back.
        a.run("dd if=/dev/urandom of=/tmp/file bs=1M count=24 2>/dev/null")
        sum_a = re.search(r"\w{64}", a.run("sha256sum </tmp/file")).group(0)
        b.type("nc -l -p 9000 >/tmp/file; sha256sum </tmp/file; nc -l -p 9001 </tmp/file\n")
        time.sleep(1)
        a.run("nc 10.9.0.2 9000 </tmp/file")
        need(b.wait_for(r"(\w{64})  -").group(1) == sum_a, "what came is something else", a, b)
        time.sleep(1)
        need(sum_a in a.run("nc 10.9.0.2 9001 | sha256sum"), "what came back is something else", a, b)
        b.wait_for("guest:~# ")
        state = net.state()
        need(len(state["ports"]) == 3 and all(p["spoofed"] == 0 for p in state["ports"]), str(state))
        in_use = network("rm", net.name)
        expect(in_use.status == 2 and "--force" in in_use.err, "network rm of one in use", in_use)
        # It dies; create starts it again, and the cables come back by themselves.
        os.kill(state["pid"], signal.SIGKILL)
        need(not a.reaches(2, 3), "the switch is dead, but they reach each other", a)
        need("0" in a.run("cat /sys/class/net/eth0/carrier"), "the link is not down", a)
        expect((done := network("create", net.name)).status == 0, "network create again", done)
        need(a.reaches(2, 30) and c.reaches(1, 30), "no answer to ping after the restart", a, b, c)
    expect(net.name not in network("ls").out, "network rm", network("ls"))
