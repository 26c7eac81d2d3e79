#!/usr/bin/env bash
# A replay session without a terminal: records into the window, plays frames 3 to 6 at half speed, freezes, resumes, and checks
# which frames came out.
#
#   examples/replay_session.sh [path to kinora]
set -euo pipefail

kinora=${1:-kinora}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/commands"

"$kinora" replay --source virtual:seed=7 --size 160x120 --fps 30 --max-frames 20 --autostart \
    --output "$folder/out.kinora" < "$folder/commands" > "$folder/answers" &
session=$!
exec 3> "$folder/commands"

say() { printf '%s\n' "$1" >&3; }

say '{"id":1,"wait":{"FrameBufferFull":true},"timeout":"30s"}'
say '{"id":2,"set":{"PlaybackSpeed":"50%","PlaybackStartFrame":3,"PlaybackStopFrame":6}}'
say '{"id":3,"command":"CommandStartPlayback"}'
say '{"id":4,"wait":{"PlaybackCurrentFrame":4},"timeout":"30s"}'
say '{"id":5,"set":{"PlaybackSpeed":"0%"}}'
say '{"id":6,"wait":{"PlaybackCurrentFrame":4},"timeout":"30s"}'
say '{"id":7,"set":{"PlaybackSpeed":"50%"}}'
say '{"id":8,"wait":{"PlaybackState":"Stopped"},"timeout":"30s"}'
say '{"id":9,"command":"CommandStop"}'
exec 3>&-
wait "$session"

if grep -v '"ok":true' "$folder/answers"; then
    echo "a command was refused" >&2
    exit 1
fi

# The sequence numbers that came out. Live ones rise; the replay goes back and shows each of four frames at least twice.
"$kinora" cat --json "$folder/out.kinora" | sed -E 's/.*"sequence":"?([0-9]+).*/\1/' > "$folder/sequences"
awk '
    NR > 1 && $1 < last && !start { start = $1 }
    start && $1 >= start && $1 <= start + 3 && !over { shown[$1]++ }
    start && $1 > start + 3 { over = 1 }
    { last = $1 }
    END {
        if (!start) { print "no replay came out"; exit 1 }
        for (f = start; f <= start + 3; f++) {
            printf "frame %d was shown %d times\n", f, shown[f]
            if (shown[f] < 2) { print "half speed shows every frame twice"; exit 1 }
        }
        if (shown[start + 1] < 3) { print "the frozen frame was not held"; exit 1 }
    }' "$folder/sequences"
echo "ok: $(wc -l < "$folder/sequences") frames came out, the replay among them"
