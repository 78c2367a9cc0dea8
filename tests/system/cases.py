# SPDX-License-Identifier: MIT
"""The program as a user meets it: its options, its terminal, its exit status, and Debian's kernels in it."""
import os
import re
import shutil
import subprocess
import tempfile
import time

import debian  # noqa: F401 (its cases)
import disk_errors  # noqa: F401 (its cases)
import disks  # noqa: F401
import life  # noqa: F401
import metal  # noqa: F401
import metal_guests  # noqa: F401
import net  # noqa: F401
import pci  # noqa: F401
import sandbox  # noqa: F401
import screen  # noqa: F401
import shares  # noqa: F401
import virtio  # noqa: F401
from machine import (CASES, FIRST_LINE, IMAGES, LONG, MULLION, PROMPT, Failure, Terminal, case, clean, expect, image,
                     kernel_options, mullion)

# ---- options ----

def bad_options(scratch):
    """What a user may get wrong, and a word that the complaint must hold."""
    def file(name, data):
        path = os.path.join(scratch, name)
        with open(path, "wb") as out:
            out.write(data)
        return path

    with open(image("vmlinuz-cloud"), "rb") as kernel:
        whole = kernel.read()
    huge = os.path.join(scratch, "huge")
    with open(huge, "wb") as out:
        out.truncate(1 << 30)
    linux = ["--kernel", image("vmlinuz-cloud")]

    yield [], None
    yield ["rum"], "rum"
    yield ["run", "--colour"], "colour"
    yield ["run", "-Z"], None
    yield ["run", "left-over"], "left-over"
    for option in ("--kernel", "--initrd", "--append", "--memory", "--cpus", "--engine", "--console", "--timeout"):
        yield ["run", option], option[2:]
    for size in ("", "0", "none", "-1", "12Q", "1M", "512MM", "1 G", "99999999T", "99999999999999999999"):
        yield ["run", "--memory", size], "memory"
    for count in ("0", "-1", "two", "1000000"):
        yield ["run", "--cpus", count], "cpus"
    for seconds in ("never", "-3", "", "1x"):
        yield ["run", "--timeout", seconds], "timeout"
    yield ["run", "--engine", "warp"], "warp"
    yield ["run", "--private-memory", "--engine", "translate"], "--private-memory"
    yield ["run", "--console", scratch], None
    yield ["run", "--console", f"{scratch}/no/such/file"], "file"
    yield ["run", "--kernel", f"{scratch}/nowhere"], "nowhere"
    yield ["run", "--kernel", scratch], scratch
    yield ["run", "--kernel", file("empty", b"")], "empty"
    yield ["run", "--kernel", file("text", b"Not a kernel at all.\n" * 1000)], "text"
    yield ["run", "--kernel", file("short", whole[:600])], "short"
    yield ["run", "--kernel", file("setup-only", whole[:16384])], "setup-only"
    yield ["run", "--kernel", file("half", whole[:len(whole) // 2])], "half"
    yield ["run", "--kernel", file("elf", b"\x7fELF" + b"\0" * 60)], "elf"
    yield ["run", *linux, "--initrd", f"{scratch}/nowhere"], "nowhere"
    yield ["run", *linux, "--initrd", scratch], scratch
    yield ["run", *linux, "--memory", "256M", "--initrd", huge], None
    yield ["run", *linux, "--append", "x" * 100000], None


@case("wrong options")
def wrong_options():
    scratch = tempfile.mkdtemp()
    complaints = []
    try:
        for options, word in bad_options(scratch):
            result = mullion(*options, stdin=subprocess.DEVNULL, timeout=20)
            lines = result.err.rstrip("\n").split("\n")
            if result.status != 2:
                complaints.append(f"{options}: exit status {result.status}")
            if not result.err.strip() or (len(lines) != 1 and options):
                complaints.append(f"{options}: {len(lines)} lines of complaint: {result.err[:300]!r}")
            if word and word not in result.err:
                complaints.append(f"{options}: {word!r} is not in: {result.err[:300]!r}")
            if result.out.strip():
                complaints.append(f"{options}: printed {result.out[:200]!r}")
    finally:
        shutil.rmtree(scratch)
    if complaints:
        raise Failure("\n".join(str(line)[:400] for line in complaints))


@case("help, version, doctor")
def help_and_doctor():
    result = mullion("--help")
    expect(result.status == 0 and "run" in result.out and "doctor" in result.out, "--help", result)
    result = mullion("run", "--help")
    expect(result.status == 0 and "--kernel" in result.out, "run --help", result)
    result = mullion("--version")
    expect(result.status == 0 and re.search(r"\d+\.\d+", result.out), "--version", result)
    result = mullion("doctor")
    expect(result.status == 0 and "translate" in result.out and "kvm" in result.out, "doctor", result)


# ---- through a pipe ----

@case("uname through a pipe")
def pipe():
    result = mullion("run", stdin=b"uname -a\n")
    expect(result.status == 0, "exit status", result)
    expect(re.search(r"^Linux .*-cloud-amd64 .*x86_64 GNU/Linux$", result.out, re.M), "no answer", result)
    expect(re.search(r"(?i)translate.*Ctrl-A x", result.out + result.err), "first line", result)


@case("long input through a pipe")
def long_pipe():
    lines = "".join(f"echo line-$(({i} * 3))\n" for i in range(150))
    result = mullion("run", stdin=lines.encode())
    expect(result.status == 0, "exit status", result)
    missing = [i for i in range(150) if f"\nline-{i * 3}\n" not in result.out]
    expect(not missing, f"lost: {missing}", result)


@case("closed input")
def closed_input():
    result = mullion("run", stdin=subprocess.DEVNULL)
    expect(result.status == 0 and FIRST_LINE in result.out, "no clean end", result)
    result = mullion("run", "--timeout", "60", wrap=["sh", "-c", 'exec "$@" <&-', "sh"], stdin=None)
    expect(result.status == 0 and FIRST_LINE in result.out, "no clean end with descriptor 0 closed", result)


@case("generic kernel")
def generic():
    result = mullion("run", *kernel_options("generic"), stdin=b"uname -r; id -u; exit\n")
    expect(result.status == 0, "exit status", result)
    expect(re.search(r"^\d+\.\d+\S*-amd64$", result.out, re.M), "no answer", result)
    expect("cloud" not in result.out.split(FIRST_LINE)[-1], "the wrong kernel", result)


@case("power off by command")
def poweroff():
    result = mullion("run", *kernel_options(), stdin=b"poweroff\nsleep 100\n")
    expect(result.status == 0 and "poweroff" in result.out, "exit status", result)


@case("reset")
def reset():
    result = mullion("run", "--no-reboot", *kernel_options(), stdin=b"reboot\nsleep 100\n")
    expect(result.out.count(FIRST_LINE) == 1 and result.status == 0, "with --no-reboot", result)
    result = mullion("run", *kernel_options(), stdin=b"reboot\nexit\n")
    expect(result.out.count(FIRST_LINE) == 2 and result.status == 0, "without", result)


@case("triple fault")
def triple_fault():
    options = kernel_options(append="reboot=t")
    result = mullion("run", "--no-reboot", *options, stdin=b"reboot\n")
    expect(result.status == 3, "exit status", result)
    expect(re.search(r"(?i)triple fault", result.err), "not said", result)
    expect(re.search(r"(?i)\brip\b.*[0-9a-f]{8}", result.err), "no registers", result)
    result = mullion("run", *options, stdin=b"reboot\nexit\n")
    expect(result.out.count(FIRST_LINE) == 2 and result.status in (0, 3), "no second boot", result)


@case("debug exit")
def debug_exit():
    options = kernel_options(initrd="initrd-test.img", append="selfcheck=debug-exit")
    result = mullion("run", "--debug-exit", *options)
    expect(result.status == 11, "exit status", result)
    result = mullion("run", *options)
    expect(result.status == 0 and "still here" in result.out, "the port must be dead without the option", result)


@case("timeout", alone=True)
def timeout():
    result = mullion("run", "--timeout", "3", *kernel_options(), stdin=b"sleep 1000\n")
    expect(result.status == 124, "exit status", result)
    expect(2.9 <= result.seconds <= 4, "time", result)


@case("console to a file, to nowhere")
def console():
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "log")
        result = mullion("run", "--console", path, "--timeout", "60", *kernel_options(initrd="initrd-test.img"))
        with open(path, "rb") as log:
            text = clean(log.read())
        expect(result.status == 0 and "selfcheck end" in text, f"log: {text[-500:]}", result)
        expect("selfcheck end" not in result.out, "output in both places", result)
        os.mkfifo(os.path.join(scratch, "fifo"))
        result = mullion("run", "--console", os.path.join(scratch, "fifo"), *kernel_options(initrd="initrd-test.img"), timeout=10)
        expect(result.status == 2 and "nobody reads" in result.err, "a pipe without a reader", result)
    result = mullion("run", "--console", "none", "--timeout", "60", *kernel_options(initrd="initrd-test.img"))
    expect(result.status == 0 and FIRST_LINE not in result.out, "output", result)


@case("statistics")
def statistics():
    result = mullion("run", "--stats", *kernel_options(), stdin=b"exit\n")
    text = result.out + result.err
    for word in ("fragments", "links", "fills", "faults", "interrupts", "flushes"):
        expect(word in text, f"no counter of {word}", result)


@case("memory sizes")
def memory_sizes():
    for size, kib in (("128M", 128 << 10), ("3G", 3 << 20), ("5G", 5 << 20)):
        result = mullion("run", "--memory", size, *kernel_options(), stdin=b"head -n 1 /proc/meminfo\n")
        match = re.search(r"^MemTotal: +(\d+) kB", result.out, re.M)
        expect(result.status == 0 and match, size, result)
        total = int(match.group(1))
        expect(kib * 0.96 - 70000 <= total <= kib, f"{size}: the guest sees {total} KiB", result)


@case("ordinary user")
def ordinary_user():
    if os.geteuid() != 0:
        return  # every other test has shown it
    result = mullion("run", *kernel_options(), stdin=b"echo $((6 * 7))\n",
                     wrap=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                           "--inh-caps=-all", "--bounding-set=-all"])
    expect(result.status == 0 and "\n42\n" in result.out, "exit status", result)


@case("ten boots")
def ten_boots():
    for _ in range(10):
        result = mullion("run", stdin=b"exit\n")
        expect(result.status == 0 and FIRST_LINE in result.out, "exit status", result)


# ---- on a terminal ----

@case("terminal")
def terminal():
    with Terminal("run") as vm:
        vm.wait_for(r"(?i)translate.*Ctrl-A x")
        vm.wait_for(PROMPT)
        if "Linux" not in vm.run("uname -a"):
            raise Failure(f"uname\n{vm}")
        # Job control: Ctrl-C ends a command, Ctrl-Z stops it.
        vm.type("sleep 1000\n")
        time.sleep(1)
        vm.type("\x03")
        vm.wait_for(PROMPT, 10)
        vm.type("sleep 1001\n")
        time.sleep(1)
        vm.type("\x1a")
        vm.wait_for("Stopped", 10)
        vm.type("\n")
        vm.wait_for(PROMPT)
        # Ctrl-A twice reaches the guest once (start of the line), then x quits.
        vm.type("true\x01\x01echo begins-\n")
        vm.wait_for("begins-true", 10)
        vm.type("\x01x")
        status = vm.end(10)
        if status != 0 or not vm.restored():
            raise Failure(f"exit status {status}, terminal restored: {vm.restored()}\n{vm}")


@case("power off on a terminal")
def terminal_poweroff():
    with Terminal("run") as vm:
        vm.wait_for(PROMPT)
        vm.type("exit\n")
        status = vm.end(20)
        if status != 0 or not vm.restored():
            raise Failure(f"exit status {status}, terminal restored: {vm.restored()}\n{vm}")


@case("a big paste on a terminal")
def paste():
    with Terminal("run") as vm:
        vm.wait_for(PROMPT)
        vm.type("cat >/tmp/paste\n")
        time.sleep(1)
        for start in range(0, 400, 20):
            vm.type("".join(f"{i:04d} The quick brown fox\n" for i in range(start, start + 20)))
            time.sleep(0.05)
        vm.wait_for("0399 The", 30)
        vm.type("\x04")
        vm.wait_for(PROMPT, 10)
        count = vm.run("uniq /tmp/paste | wc").split()
        if count != ["400", "2000", "10000"]:
            raise Failure(f"the guest counts {count}\n{vm}")


@case("idle", alone=True)
def idle():
    with Terminal("run") as vm:
        vm.wait_for(PROMPT)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            vm.read(0.2)
        start, before = time.monotonic(), vm.cpu_seconds()
        time.sleep(5)
        share = (vm.cpu_seconds() - before) / (time.monotonic() - start)
        if share > 0.02:
            raise Failure(f"an idle guest takes {100 * share:.1f} % of a core")


# ---- the guest's own checks ----

def selfcheck_lines(text):
    match = re.search(r"---- selfcheck begin\n(.*)---- selfcheck end", text, re.S)
    return match.group(1).split("\n") if match else None


def native_selfcheck():
    root = os.path.join(IMAGES, "root-test")
    done = subprocess.run([f"{root}/bin/busybox", "sh", f"{root}/selfcheck/run", root], timeout=LONG,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return selfcheck_lines(clean(done.stdout))


def selfcheck(kernel):
    result = mullion("run", "--no-reboot", *kernel_options(kernel, "initrd-test.img"), timeout=300)
    lines = selfcheck_lines(result.out)
    expect(lines and result.status == 0, "the self-check did not come to its end", result)
    native = native_selfcheck()
    different = [f"natively {a!r}, in the guest {b!r}" for a, b in zip(native, lines) if a != b]
    if different or len(native) != len(lines):
        raise Failure(f"{len(native)} lines natively, {len(lines)} in the guest\n" + "\n".join(different))


@case("self-check on the cloud kernel")
def selfcheck_cloud():
    selfcheck("cloud")


@case("self-check on the generic kernel")
def selfcheck_generic():
    selfcheck("generic")


@case("quiet log")
def quiet_log():
    """No oops, no warning, no lost interrupt in the guest's own log."""
    for kernel in ("cloud", "generic"):
        result = mullion("run", *kernel_options(kernel), stdin=b"dmesg\nexit\n")
        bad = re.findall(r"^.*(?:Oops|BUG:|WARNING:|Call Trace|RIP: 0|nobody cared|lockup|stall|"
                         r"general protection|unchecked MSR|timer doesn't work|unstable).*$", result.out, re.M)
        expect(result.status == 0 and not bad, f"{kernel}: {bad}", result)


@case("clock", alone=True)
def clock():
    """The guest's monotonic clock against the host's: at most 1 ms a minute."""
    with Terminal("run", *kernel_options(initrd="initrd-test.img", append="selfcheck=clock")) as vm:
        source = vm.wait_for(r"clocksource: (\S+)\n").group(1)
        if source not in ("tsc", "kvm-clock"):
            raise Failure(f"the guest has chosen the clock {source}")
        offsets = []
        start = time.monotonic()
        while time.monotonic() - start < 20:
            guest = int(vm.wait_for(r"clock: (\d+)\n").group(1))
            offsets.append((time.monotonic_ns() - start * 1e9 - guest, time.monotonic() - start))
        # A line may be late, never early: the least offset of each end counts.
        early = min(offset for offset, at in offsets if at < 5)
        late = min(offset for offset, at in offsets if at > 15)
        drift = (late - early) / 1e6 * 60 / 15
        if abs(drift) > 1:
            raise Failure(f"the guest's clock drifts by {drift:.2f} ms a minute")
