"""What is measured, one function per kind of answer."""

import json
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from upstreams import DOWNLOAD

FLIPS = 10
FLIP_EVERY = 1.0
# After the command has returned, its flip may still be felt for this long.
FLIP_TAIL = 0.2


@dataclass(frozen=True)
class Scenario:
    """One load; `unit` says what a figure of CPU is divided by."""

    title: str
    upstream: str
    mode: str
    load: tuple
    unit: str = "request"


SCENARIOS = {
    "keep-alive": Scenario(
        "1 KB answers over 64 kept connections, as fast as it goes",
        "app", "closed", ("path=/1k", "connections=64"),
    ),
    "steady rate": Scenario(
        "1 KB answers, 5000 requests per second at random moments, 64 connections",
        "app", "rate", ("path=/1k", "connections=64", "rate=5000"),
    ),
    "new connections": Scenario(
        "a connection for each request, 32 at a time",
        "app", "connect", ("path=/1k", "connections=32"),
    ),
    "upstream that closes": Scenario(
        "kept client connections, an upstream that closes after each answer",
        "closing", "closed", ("path=/1k", "connections=64"),
    ),
    "download": Scenario(
        "10 MiB answers over 4 connections", "app", "closed", ("path=/10m", "connections=4"), "GB",
    ),
    "upload": Scenario(
        "10 MiB bodies over 4 connections", "sink", "upload",
        ("path=/upload", "connections=4", f"size={DOWNLOAD}"), "GB",
    ),
}
FLIPS_UNDER_LOAD = "flips under load"


class Bench:
    """The things that every measurement needs."""

    def __init__(self, load, upstreams, load_cpu, proxy_cpu, seconds):
        self.load = load
        self.upstreams = upstreams
        self.load_cpu = load_cpu
        self.proxy_cpu = proxy_cpu
        self.seconds = seconds

    def command(self, proxy, mode, *options):
        address = f"address=127.0.0.1:{proxy.port}"
        return ["taskset", "-c", str(self.load_cpu), str(self.load), mode, address, *options]

    def run_load(self, proxy, mode, *options):
        done = subprocess.run(
            self.command(proxy, mode, *options), capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"the load failed: {done.stderr}")
        return json.loads(done.stdout)

    def address(self, job):
        return self.upstreams.addresses[job]

    def measure(self, kind, scenario):
        """One fresh proxy under one load."""
        with tempfile.TemporaryDirectory(prefix="switchd-bench-") as folder:
            slots = (self.address(scenario.upstream), self.address("green"))
            proxy = kind(folder, slots, self.proxy_cpu)
            try:
                time.sleep(0.2)
                memory = proxy.process.memory_kb()
                self.run_load(proxy, scenario.mode, *scenario.load, "seconds=0.5")
                before = proxy.process.cpu_seconds()
                row = self.run_load(proxy, scenario.mode, *scenario.load, f"seconds={self.seconds}")
                row["cpu_seconds"] = proxy.process.cpu_seconds() - before
                row["base_memory_kb"] = memory
            finally:
                proxy.stop()
        done = row["requests"] if scenario.unit == "request" else row["bytes"] / 1000
        # µs per request, seconds per GB.
        row["cpu"] = row["cpu_seconds"] * 1e6 / done if done else None
        return row

    def measure_flips(self, kind):
        """Flips once a second while requests come at a steady rate."""
        with tempfile.TemporaryDirectory(prefix="switchd-bench-") as folder:
            slots = (self.address("blue"), self.address("green"))
            proxy = kind(folder, slots, self.proxy_cpu)
            try:
                time.sleep(1.0)
                record = Path(folder) / "record"
                seconds = (FLIPS + 1) * FLIP_EVERY
                options = ("path=/1k", "connections=64", "rate=3000", f"seconds={seconds}", f"record={record}")
                self.run_load(proxy, "rate", *options[:3], "seconds=0.5")
                with subprocess.Popen(
                    self.command(proxy, "rate", *options), stdout=subprocess.PIPE, text=True
                ) as load:
                    flips = flip_all(proxy, load)
                    row = json.loads(load.communicate(timeout=60)[0])
                row.update(judge_flips(flips, record.read_text()))
            finally:
                # nginx waits for its old workers: not what is measured here.
                proxy.stop(patience=2.0)
        return row

    def count(self, kind, what):
        """System calls or instructions per request, from two loads of different length."""
        counter = {"system calls": system_calls, "instructions": instructions}[what]
        short, long = (counter(self, kind, requests) for requests in (3000, 15000))
        return (long - short) / 12000

    def counted(self, kind, wrapper, requests):
        """A fresh proxy under `wrapper`, given exactly so many requests."""
        with tempfile.TemporaryDirectory(prefix="switchd-bench-") as folder:
            slots = (self.address("app"), self.address("green"))
            proxy = kind(folder, slots, self.proxy_cpu, wrapper)
            try:
                options = ("path=/1k", "connections=64", "seconds=100", f"requests={requests}")
                row = self.run_load(proxy, "closed", *options)
                if row["failed"] or row["requests"] != requests:
                    raise RuntimeError(f"the counted load failed: {row}")
            finally:
                proxy.stop()


def flip_all(proxy, load):
    flips = []
    try:
        for number in range(FLIPS):
            time.sleep(FLIP_EVERY)
            to = ("green", "blue")[number % 2]
            began = time.time()
            proxy.flip(to)
            flips.append({"to": to, "began": began, "returned": time.time()})
    except BaseException:
        load.kill()
        raise
    return flips


def judge_flips(flips, record):
    """What the requests felt of the flips."""
    late, in_windows, steady = [], [], []
    for line in record.splitlines():
        due, sent, latency, slot, outcome = line.split()
        due, sent, latency = float(due), float(sent), int(latency)
        if outcome != "ok":
            continue
        answered = due + latency / 1e6
        is_window = any(
            flip["began"] <= answered and due <= flip["returned"] + FLIP_TAIL for flip in flips
        )
        (in_windows if is_window else steady).append(latency)
        # Sent after one flip had returned, answered before the next began: no doubt where it belongs.
        returned = [flip for flip in flips if flip["returned"] < sent]
        is_certain = returned and not any(returned[-1]["began"] < flip["began"] < answered for flip in flips)
        if is_certain and slot != returned[-1]["to"][0]:
            late.append(sent - returned[-1]["returned"])
    in_flips, between = quantile(in_windows, 0.999), quantile(steady, 0.999)
    return {
        "flips": len(flips),
        "flip_ms": median(1000 * (flip["returned"] - flip["began"]) for flip in flips),
        "late": len(late),
        "last_late_ms": 1000 * max(late) if late else None,
        "flip_p999_us": in_flips,
        "steady_p999_us": between,
        "flip_to_steady": in_flips / between,
    }


def quantile(values, share):
    values = sorted(values)
    return values[round(share * (len(values) - 1))] if values else None


def system_calls(bench, kind, requests):
    with tempfile.NamedTemporaryFile(prefix="switchd-bench-") as out:
        bench.counted(kind, ("strace", "-f", "-c", "-o", out.name), requests)
        total = re.search(r"^100\.00\s+\S+\s+\S+\s+(\d+)", Path(out.name).read_text(), re.M)
        return int(total[1])


def instructions(bench, kind, requests):
    """In user space only."""
    with tempfile.TemporaryDirectory(prefix="switchd-bench-") as folder:
        wrapper = (
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/%p",
        )
        bench.counted(kind, wrapper, requests)
        found = [re.search(r"^totals: (\d+)", path.read_text(), re.M) for path in Path(folder).iterdir()]
        return sum(int(total[1]) for total in found if total)
