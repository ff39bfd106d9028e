"""Runs tests and counts them.

A test is a name and a function that returns None when it passed, raises Skip(reason), or raises Failure(text).
Anything else it raises counts as a failure too. Tests run on a few threads; each prints one line when it is done, and
the last line of the whole run is `N passed, N failed, N skipped`.
"""
import concurrent.futures
import threading
import time
import traceback


class Skip(Exception):
    pass


class Failure(Exception):
    pass


class Test:
    def __init__(self, name, function, alone=False):
        self.name = name
        self.function = function
        self.alone = alone  # needs the machine for itself


class Runner:
    def __init__(self, jobs):
        self.jobs = jobs
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.lock = threading.Lock()

    def run_one(self, test):
        start = time.monotonic()
        try:
            test.function()
            outcome, detail = "ok", ""
        except Skip as reason:
            outcome, detail = "skip", str(reason)
        except Failure as failure:
            outcome, detail = "FAIL", str(failure)
        except Exception:  # a broken test is a failed one
            outcome, detail = "FAIL", traceback.format_exc()
        self.report(test.name, outcome, detail, time.monotonic() - start)

    def report(self, name, outcome, detail, seconds):
        with self.lock:
            self.passed += outcome == "ok"
            self.skipped += outcome == "skip"
            self.failed += outcome == "FAIL"
            if outcome == "FAIL":
                self.failures.append(name)
            print(f"{outcome:4} {name} ({seconds:.2f} s)" + (f": {detail}" if detail and outcome == "skip" else ""), flush=True)
            if detail and outcome == "FAIL":
                print("     " + detail.rstrip().replace("\n", "\n     "), flush=True)

    def add_counts(self, passed, failed, skipped):
        """For a program that is many tests and says so itself."""
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped

    def run(self, tests):
        together = [test for test in tests if not test.alone]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(self.run_one, test) for test in together]:
                future.result()
        for test in tests:
            if test.alone:
                self.run_one(test)

    def finish(self):
        if self.failures:
            print("\nfailed:\n  " + "\n  ".join(self.failures))
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed else 0
