#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a build folder: run_tests.py BUILD [PART...].

A part is unit, a folder of test/ (system, dialogue, crash ...) or a test file; without one everything runs. Files
run side by side, one a processor, long ones first. The last line is "N passed, N failed", and the exit status says the same.
"""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
FILE_TIMEOUT = 3600
TIDY_TIMEOUT = 300


def environment(build: Path, reports: str) -> dict:
    env = dict(os.environ)
    env["POSTRIDER_BUILD"] = str(build)
    env["PYTHONPATH"] = str(TOP / "test/lib")
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    # Memory that only a waiting fiber's stack points to is no leak, but looks like one when a role ends.
    env["POSTRIDER_SANITIZER_LOG"] = f"{reports}/report"
    env["ASAN_OPTIONS"] = f"detect_leaks=0:log_path={reports}/report"
    env["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={reports}/report"
    return env


def run_unit(build: Path) -> tuple[int, int]:
    """All unit tests; counts cases, not programs."""
    subprocess.run(["meson", "test", "-C", str(build), "--suite", "unit", "--no-rebuild", "--print-errorlogs", "--timeout-multiplier", "10"], check=False)
    passed = failed = 0
    for line in (build / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        counts = re.findall(r"^(\d+) passed, (\d+) failed", test.get("stdout", ""), re.M)
        if counts:
            passed += int(counts[-1][0])
            failed += int(counts[-1][1])
        is_good = test["result"] in ("OK", "EXPECTEDFAIL")
        if not counts and is_good:
            passed += 1
        elif not is_good and not (counts and int(counts[-1][1])):
            failed += 1
    return passed, failed


def interrupted(process: subprocess.Popen) -> str:
    """What it has said. As after Ctrl-C, a test tidies up what it has started."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=TIDY_TIMEOUT)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def run_file(path: Path, build: Path) -> tuple[str, int, int, float]:
    """One unittest file in a process of its own: its output, counts and seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pr-asan-") as reports:
        os.chmod(reports, 0o1777)
        process = subprocess.Popen([sys.executable, "-m", "unittest", "-v", path.stem], cwd=path.parent,
                                   env=environment(build, reports), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            text = process.communicate(timeout=FILE_TIMEOUT)[0]
        except subprocess.TimeoutExpired:
            return f"{path}: still running after {FILE_TIMEOUT} s\n" + interrupted(process), 0, 1, FILE_TIMEOUT
    ran = re.search(r"^Ran (\d+) tests?", text, re.M)
    bad = sum(int(n) for n in re.findall(r"(?:failures|errors|skipped|unexpected successes)=(\d+)", text))
    total = int(ran.group(1)) if ran else 0
    if process.returncode and not bad:
        bad = 1
    return text, max(total - bad, 0), bad, time.monotonic() - began


def test_files(parts: list[str]) -> list[Path]:
    files = [f for f in (TOP / "test").glob("*/*_test.py") if f.parent.name not in ("lib", "bench")]
    # One that takes long and comes last would keep one processor waiting for the other.
    files.sort(key=lambda f: (f.parent.name == "system", -f.stat().st_size, f))
    if not parts:
        return files
    return [f for f in files if f.parent.name in parts or f.name in parts or f.stem in parts
            or str(f.relative_to(TOP)) in parts]


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    parts = sys.argv[2:]
    passed = failed = 0
    if not parts or "unit" in parts:
        passed, failed = run_unit(build)
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(os.sched_getaffinity(0)))) as pool:
        runs = {pool.submit(run_file, path, build): path for path in test_files(parts)}
        for done in concurrent.futures.as_completed(runs):
            text, good, bad, seconds = done.result()
            print(f"{runs[done].relative_to(TOP)}: {good} passed, {bad} failed, {seconds:.0f} s", flush=True)
            if bad:
                print(text, flush=True)
            passed += good
            failed += bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
