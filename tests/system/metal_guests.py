# SPDX-License-Identifier: MIT
"""Guests under the microhypervisor: `mullion run --engine metal` in the primary VM of an emulated PC."""
import os
import re
import shutil
import subprocess
import tempfile

import metal
from machine import ROOT, Failure, case, expect, image, mullion

RUN = "mullion run --engine metal --memory 128M --timeout 120"
FREE = "awk '/HugePages_Free/ { print \"free: \" $2 }' /proc/meminfo"


def primary(script, cpus=2, files=()):
    """Runs a shell script, with those files in /t, in the primary VM; returns what it printed."""
    with tempfile.TemporaryDirectory() as scratch:
        root = os.path.join(scratch, "root", "t")
        os.makedirs(root)
        for name in files:
            shutil.copy(name, root)
        with open(os.path.join(root, "script"), "w", encoding="utf-8") as out:
            out.write(script)
        initrd = os.path.join(scratch, "initrd")
        shutil.copy(metal.initrd(), initrd)
        subprocess.run([f"{ROOT}/guest/pack", os.path.join(scratch, "root"), f"{initrd}.more"], check=True)
        with open(initrd, "ab") as out, open(f"{initrd}.more", "rb") as more:
            out.write(more.read())
        return tried("-smp", str(cpus), "-kernel", metal.HV, "-initrd",
                     f"{image('vmlinuz-cloud')} {metal.args('sh /t/script')},{initrd}")


def tried(*options):
    """
    The emulated PC does not always reach its end with guests in it (docs/decisions.md, "QEMU's
    CPUs run side by side"): it gets two more tries, and those that failed are told of.
    """
    for last in (False, False, True):
        try:
            text = metal.pc(*options, machine=metal.WHOLE)
            if "Power down" not in text[-200:]:
                raise Failure(f"the primary VM did not power off\n{text}")
            if "mullion: timeout" in text:
                raise Failure(f"a guest stood still\n{text}")
            return text
        except Failure as failure:
            if last:
                raise
            print(f"       once more: {str(failure).splitlines()[0]}", flush=True)
    return None


def want(text, *patterns):
    for pattern in patterns:
        if not re.search(pattern, text):
            raise Failure(f"no {pattern!r}\n{text}")


@case("metal: a guest's shell, and its second life")
def shell():
    text = primary(f"""
mullion doctor
(echo 'echo first-$((6 * 7)); reboot -f'
until [ "$(grep -c 'Mullion guest:' /tmp/out)" -ge 2 ]; do sleep 1; done
echo 'echo second-$((6 * 9)); poweroff -f') |
	({RUN} --stats 2>&1; echo status $?) | tee /tmp/out
{FREE}
""")
    want(text, r"metal +yes", r"mullion run takes metal", r"engine metal", r"Mullion guest: kernel", r"first-42",
         r"Restarting system", r"second-54", r"mmio +[1-9]", r"\nstatus 0\n", r"free: 160\n")


@case("metal: three guests at once")
def three():
    text = primary(f"""
for i in 1 2 3; do
	(echo "echo guest-$i-\\$((i + 7 * $i))"; echo poweroff -f) | {RUN} >/tmp/$i 2>&1 &
done
wait
cat /tmp/1 /tmp/2 /tmp/3
{FREE}
""")
    want(text, r"guest-1-7", r"guest-2-14", r"guest-3-21", r"free: 160\n")


def killed(options):
    """A VMM is killed in the middle; its memory comes back, and the next guest has it."""
    text = primary(f"""
for i in 1 2 3; do
	{RUN} {options} --kernel /t/strings.img --append tcg >/tmp/log 2>&1 &
	sleep 0.$i
	kill -9 $!
	for wait in 1 2 3 4 5 6 7 8 9; do
		sleep 1
		[ -z "$(pidof mullion mullion-keeper)" ] && break
	done
	{FREE}
done
(echo 'echo alive-$((6 * 7))'; echo poweroff -f) | {RUN}
""", files=[f"{ROOT}/build/guest/strings.img"])
    want(text, r"free: 160\s+free: 160\s+free: 160", r"alive-42")


case("metal: a killed VMM gives its memory back")(lambda: killed(""))
case("metal: a killed VMM gives private memory back")(lambda: killed("--private-memory"))


def images(names, options=""):
    """The bare images that also run under translate; what is said to fail is QEMU's."""
    text = primary(f"""
mkdir -p /t/tests/guest
cp /t/run /t/tests/guest/
sh /t/tests/guest/run -d /t -k /t/known-qemu {RUN} {options} --no-reboot --debug-exit --append tcg --kernel
echo images $?
""", files=[f"{ROOT}/tests/guest/run", f"{ROOT}/tests/guest/known-qemu"]
           + [f"{ROOT}/build/guest/{name}.img" for name in names])
    want(text, r"images 0\n")
    for name in names:
        want(text, rf"{name}: pass")


case("metal: bare guests")(lambda: images(
    ["basic", "compat", "debug", "fpu", "hostile", "irq", "paging", "smc", "strings", "triple"]))
case("metal: bare guests in private memory")(lambda: images(["compat", "fpu", "strings"], "--private-memory"))


@case("metal: without the hypervisor")
def without():
    result = mullion("run", "--engine", "metal")
    expect(result.status == 2 and "hypervisor is not below" in result.err, "one line and status 2", result)
