#!/bin/sh
# confine.sh FOLDER EXECUTABLE [ARGUMENT...]: runs an executable where it can write nowhere but in FOLDER.
#
# As root, in a mount namespace of its own: the root file system is read-only; FOLDER's home, tmp and work are
# copies in memory; nothing in tmp and /tmp can be executed; the user id has no name and may read what everyone
# may. Exit status: the executable's; 125 where this could not be set up.
set -eu
if [ "${CONFINED:-}" != 1 ]; then
    exec env CONFINED=1 unshare --mount --propagation private "$0" "$@"
fi
unset CONFINED
folder=$1 executable=$2
shift 2

{
    # A place that the user can reach, wherever the executable is.
    mount -t tmpfs -o mode=0755 tmpfs /mnt
    mkdir /mnt/bin /mnt/home /mnt/tmp /mnt/work
    mount --bind "$(dirname "$executable")" /mnt/bin
    mount -t tmpfs -o noexec tmpfs /mnt/tmp
    for area in home tmp work; do
        cp --archive --no-target-directory "$folder/$area" "/mnt/$area"
        chown --recursive 54321:54321 "/mnt/$area"
    done
    mount -t tmpfs -o noexec,mode=1777 tmpfs /tmp
    mkdir -p "$folder"
    mount --rbind /mnt "$folder"
    mount -o remount,bind,ro /
    cd "$folder/work"
} || exit 125
exec setpriv --reuid=54321 --regid=54321 --clear-groups -- "/mnt/bin/$(basename "$executable")" "$@"
