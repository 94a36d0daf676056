#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the test runs of some builds came to: summary.py PRESET...

Reads build/PRESET/tests.xml, which ctest wrote. Names every failure, and every skip with its reason:
of whole tests (exit status 77) and of single cases inside one (cmocka's and unittest's own words). The
last line counts.
"""
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent / "build"

CASE_SKIPPED = [
    re.compile(r"^(?:skipped: (?P<why>.*)\n)?\[  SKIPPED \] (?P<case>\S+)$", re.M),
    re.compile(r"^(?P<case>\w+) \(.*\).* skipped (?P<why>['\"].*['\"])$", re.M),
]


def reason(output):
    """The line that says why a test was skipped: the last one that is not blank."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def skipped_cases(output):
    found = {}
    for pattern in CASE_SKIPPED:
        for match in pattern.finditer(output):
            found[match["case"]] = match.groupdict().get("why") or "see its output"
    return found


def read(preset):
    """(passed, failed names, [(skipped name, reason)]) of one build."""
    path = BUILD / preset / "tests.xml"
    if not path.exists():
        return 0, [f"{preset}: did not build, or its tests did not run"], []
    passed, failed, skipped = 0, [], []
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{preset}: {case.get('name')}"
        output = case.findtext("system-out") or ""
        if case.get("status") == "run":
            passed += 1
            skipped += [(f"{name}, {one}", why) for one, why in skipped_cases(output).items()]
        elif case.find("skipped") is not None and "77" in case.find("skipped").get("message", ""):
            skipped.append((name, reason(output)))
        else:
            failed.append(name)
    if not passed and not failed and not skipped:
        failed.append(f"{preset}: no test was found")
    return passed, failed, skipped


def main(presets):
    passed, failed, skipped = 0, [], []
    for preset in presets:
        one = read(preset)
        passed, failed, skipped = passed + one[0], failed + one[1], skipped + one[2]
    for name, why in skipped:
        print(f"skipped  {name}: {why}")
    for name in failed:
        print(f"FAILED   {name}")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
