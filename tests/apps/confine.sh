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
    # Wherever it was: at a place that the user can reach.
    mount --bind "$(dirname "$executable")" /mnt
    kept=$(mktemp --directory --tmpdir=/tmp)
    for area in home tmp work; do
        cp --archive "$folder/$area" "$kept"
        case $area in tmp) options=noexec ;; *) options=exec ;; esac
        mount -t tmpfs -o "$options" tmpfs "$folder/$area"
        cp --archive --no-target-directory "$kept/$area" "$folder/$area"
        chown --recursive 54321:54321 "$folder/$area"
    done
    rm -r "$kept"
    mount -t tmpfs -o noexec,mode=1777 tmpfs /tmp
    mount -o remount,bind,ro /
    cd "$folder/work"
} || exit 125
exec setpriv --reuid=54321 --regid=54321 --clear-groups -- "/mnt/$(basename "$executable")" "$@"
