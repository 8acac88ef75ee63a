#!/bin/sh
# A stand-in for a program from before the cloud: it reads a file of `key=value` lines.
#
#   greeter.sh check     is the file right? It knows better than any schema which voices are installed here
#   greeter.sh reload    read the file again; what it says from now on is added to root/var/log/greeter.log
set -eu
cd "$(dirname "$0")"
file=root/etc/greeter/greeter.conf
log=root/var/log/greeter.log

voice=$(sed -n 's/^voice=//p' "$file")
case $voice in
alto | bass) ;;
*)
    echo "greeter: no voice '$voice' is installed here" >&2
    exit 1
    ;;
esac

case ${1:-} in
check) ;;
reload) sed -n "s/^say=/$voice: /p" "$file" >>"$log" ;;
*)
    echo 'usage: greeter.sh check|reload' >&2
    exit 64
    ;;
esac
