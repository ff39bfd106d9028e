#!/bin/sh
# Shows real Debian programs running under Hyla.   demo.sh HYLA
set -eu
hyla=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
show() {
    printf '$ hyla run %s\n' "$*"
    "$hyla" run "$@"
}

say '1. A shell pipeline: six processes, and every system call of theirs is served by Hyla.'
show busybox ash -c 'seq 1 100000 | grep 7 | sort -rn | head -n 5 | tr "\n" " "; echo; uname -a'

say '2. Python with threads and a subprocess.'
show /usr/bin/python3 -c '
import subprocess, threading
totals = []
threads = [threading.Thread(target=lambda i=i: totals.append(sum(range(i * 100000)))) for i in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("threads:", sorted(totals))
print("subprocess:", subprocess.run(["sh", "-c", "echo I am process $$ of this little world"], capture_output=True, text=True).stdout.strip())'

say '3. A C compiler builds a program, which then runs.'
show sh -c 'cd /tmp && echo "#include <stdio.h>
int main(void) { puts(\"compiled and run under Hyla\"); return 0; }" > hyla-demo.c && gcc -O2 -o hyla-demo hyla-demo.c && ./hyla-demo && ls -l hyla-demo'

say '4. What it wrote stayed in its private layer: the host never saw the file.'
if [ -e /tmp/hyla-demo ]; then
    echo 'but /tmp/hyla-demo exists!'
    exit 1
fi
echo '$ ls /tmp/hyla-demo'
ls /tmp/hyla-demo 2>&1 || true

say '5. Everything can be watched.'
LC_ALL=C
export LC_ALL
show --trace --trace-calls openat,read,write cat /etc/hostname

say 'Try your own:  build/hyla run PROGRAM [ARGUMENT...]      (more: build/hyla run --help)'
