#!/usr/bin/env python3
"""Lists the C and assembly sources beneath folders, one per line.

    sources.py [--skip NAME]... FOLDER...        names relative to the first folder

Meson cannot glob, on purpose: a list in meson.build makes the build notice a new file. Here the lists would be long and
would change with every commit, so meson.build asks this script at configure time instead, and the Makefile
configures again whenever the answer has changed. Tests and fuzzers (x_test.c, x_fuzz.c) belong to the simulation
body and are left out; so are folders with a meson.build of their own, and folders and files named by --skip (other architectures, other flags).
"""
import os
import sys


def wanted(name):
    stem, extension = os.path.splitext(name)
    return extension in (".c", ".S") and not stem.endswith(("_test", "_fuzz"))


def sources(folder, skip):
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            f for f in folders
            if f not in skip and not os.path.exists(os.path.join(place, f, "meson.build")))
        found += [os.path.join(place, name) for name in sorted(names) if wanted(name) and name not in skip]
    return found


def main(arguments):
    skip, folders = set(), []
    while arguments:
        argument = arguments.pop(0)
        if argument == "--skip":
            skip.add(arguments.pop(0))
        else:
            folders.append(argument)
    for folder in folders:
        for source in sources(folder, skip):
            print(os.path.relpath(source, folders[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
