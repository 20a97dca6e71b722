#!/usr/bin/env python3
"""Measures switchd against nginx and HAProxy on this machine, side by side.

One worker each, pinned to one CPU; load and upstream share another. So the proxy is what is busy, and what it
costs is the CPU time of its processes. Every measurement starts a fresh proxy; the proxies take turns within a
round, in another order each round, and a ratio is taken within a round before the median is taken over rounds:
what else the machine does then falls on all of them. Ratios are worth something, absolute figures are not.

Everything stays on 127.0.0.1, on ports found free at the start; everything started is ended, by pid.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import proxies
from scenarios import FLIPS_UNDER_LOAD, SCENARIOS, Bench
from upstreams import Upstreams

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"system calls": "strace", "instructions": "valgrind"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = ", ".join([*SCENARIOS, FLIPS_UNDER_LOAD, *COUNTS])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"any of: {words}; default: all but the last two")
    parser.add_argument("--proxies", default="nginx,haproxy,switchd", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement; default: %(default)s")
    parser.add_argument("--switchd", type=Path, help="folder of built binaries; default: build them (release)")
    parser.add_argument("--out", type=Path, default=ROOT / "target/compare.json", help="default: target/compare.json")
    args = parser.parse_args()
    args.proxies = args.proxies.split(",")
    args.scenarios = args.scenarios or [*SCENARIOS, FLIPS_UNDER_LOAD]
    for name in args.scenarios:
        if name not in SCENARIOS and name not in COUNTS and name != FLIPS_UNDER_LOAD:
            parser.error(f"no scenario {name!r}; there are: {words}")
    for name in args.proxies:
        if name not in proxies.ALL:
            parser.error(f"no proxy {name!r}; there are: {', '.join(proxies.ALL)}")
    missing = proxies.missing(args.proxies)
    missing += [tool for what, tool in COUNTS.items() if what in args.scenarios and not shutil.which(tool)]
    if missing:
        parser.error(f"not installed: {' '.join(missing)}; help: sudo apt-get install {' '.join(missing)}")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two CPUs are needed: one for the proxy, one for load and upstream")
    return args


def build(manifest, folder):
    command = ["cargo", "build", "--release", "--bins", "--manifest-path", manifest, "--target-dir", folder]
    subprocess.run([str(part) for part in command], check=True)
    return folder / "release"


def measure(bench, name, scenario):
    kind = proxies.ALL[name]
    if scenario in SCENARIOS:
        return bench.measure(kind, SCENARIOS[scenario])
    if scenario == FLIPS_UNDER_LOAD:
        return bench.measure_flips(kind)
    return {"per_request": bench.count(kind, scenario)}


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(args, bench, save):
    rows = []
    for scenario in args.scenarios:
        # Counts do not vary.
        rounds = 1 if scenario in COUNTS else args.rounds
        for number in range(rounds):
            turn = number % len(args.proxies)
            for name in args.proxies[turn:] + args.proxies[:turn]:
                row = measure(bench, name, scenario)
                row.update(scenario=scenario, proxy=name, round=number, load_average=os.getloadavg()[0])
                rows.append(row)
                progress(f"{scenario}, round {number + 1} of {rounds}: {name}")
        progress("")
        report(rows, scenario, args.proxies)
        # After each scenario: what has been measured is kept when a later one fails.
        save(rows)


def middle(rows, key):
    values = [row[key] for row in rows if row.get(key) is not None]
    return median(values) if values else None


def ratio(ours, theirs, key):
    """Per round, then the median and the range: `0.95 (0.93-0.99)`."""
    ratios = [a[key] / b[key] for a, b in zip(ours, theirs) if a.get(key) and b.get(key)]
    if not ratios:
        return "-"
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def columns(scenario, peers, ratio):
    """What each column is called, and how it is filled from the rounds of one proxy."""
    def middles(**keys):
        return {key: (title, lambda mine, key=key: number(middle(mine, key))) for key, title in keys.items()}

    def total(key, title):
        return {key: (title, lambda mine: number(sum(row[key] for row in mine)))}

    if scenario == FLIPS_UNDER_LOAD:
        return "10 flips, one a second, under 3000 requests per second", {
            **middles(flip_ms="flip took ms"),
            **total("failed", "failed"),
            **total("late", "sent after it, at the old slot"),
            **middles(last_late_ms="last of them after ms", flip_p999_us="p99.9 µs in flips", steady_p999_us="between"),
            "flip_to_steady": ("in flips / between", lambda mine: number(middle(mine, "flip_to_steady"), 2)),
        }
    if scenario in COUNTS:
        what, key, digits, rest = "per request over kept connections", "per_request", 1, {}
        cost = scenario
    else:
        what, key = SCENARIOS[scenario].title, "cpu"
        cost, digits = ("CPU µs/request", 2) if SCENARIOS[scenario].unit == "request" else ("CPU s/GB", 3)
        rest = {
            **middles(p50_us="p50 µs", p99_us="p99 µs", p999_us="p99.9 µs"),
            **total("failed", "failed"),
            **middles(base_memory_kb="base memory KB"),
        }
    ratios = {
        peer: (f"of {peer}", lambda mine, peer=peer: ratio(mine, peer, key)) for peer in peers
    }
    return what, {key: (cost, lambda mine: number(middle(mine, key), digits)), **ratios, **rest}


def report(rows, scenario, names):
    """Prints one scenario's table."""
    mine = {name: [row for row in rows if row["scenario"] == scenario and row["proxy"] == name] for name in names}

    def ratio_to(ours, peer, key):
        return ratio(ours, mine[peer], key)

    what, fill = columns(scenario, [name for name in names if name != "switchd"], ratio_to)
    table = [["proxy", *(title for title, _ in fill.values())]]
    table += [[name, *(cell(mine[name]) for _, cell in fill.values())] for name in names]
    widths = [max(map(len, column)) for column in zip(*table)]
    print(f"\n## {scenario}: {what}\n")
    for at, line in enumerate(table):
        first, *cells = (cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(line, widths)))
        print("| " + " | ".join([first, *cells]) + " |")
        if at == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    sys.stdout.flush()


def main():
    args = arguments()
    load = build(ROOT / "benches/compare/load/Cargo.toml", ROOT / "target/load") / "load"
    if "switchd" in args.proxies:
        proxies.Switchd.built = args.switchd and args.switchd.resolve() or build(ROOT / "Cargo.toml", ROOT / "target")
    load_cpu, proxy_cpu = sorted(os.sched_getaffinity(0))[:2]
    versions = {name: proxies.ALL[name].version() for name in args.proxies}
    machine = {"kernel": platform.release(), "cpus": os.cpu_count()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))

    def save(rows):
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"versions": versions, "machine": machine, "rows": rows}, indent=1))

    with tempfile.TemporaryDirectory(prefix="switchd-bench-") as folder:
        upstreams = Upstreams(folder, load, load_cpu)
        try:
            run(args, Bench(load, upstreams, load_cpu, proxy_cpu, args.seconds), save)
        finally:
            upstreams.stop()
    print(f"\nEvery measurement: {args.out}")


if __name__ == "__main__":
    main()
