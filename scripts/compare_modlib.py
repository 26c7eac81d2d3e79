"""Times Sony's modlib and kinora on the same pictures, in turn, and prints the medians beside the bars.

    python compare_modlib.py PROGRAM RECORDING ROUNDS

PROGRAM is the bench `against_modlib`, built; it times kinora's side and prints its figures as one JSON object. RECORDING is a
modlib JSON recording with pictures. One thread on both sides; modlib's JPEG quality is OpenCV's default, 95.
`scripts/compare-modlib` calls this with modlib's own environment.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
from modlib.devices.playback import JsonCodec, PickleCodec, Playback, Recorder


# Times that the frames are recorded into one file, one after another; benches/against_modlib.rs does the same.
REPEATS = 5


def main():
    program, recording, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cv2.setNumThreads(1)
    frames = list(Playback(recording, codec=JsonCodec()))
    sides = []
    for _ in range(rounds):
        figures = modlib_round(frames)
        answer = subprocess.run([program, "--bench", "--figures", recording], check=True, capture_output=True, text=True)
        figures.update(json.loads(answer.stdout))
        sides.append(figures)
    median = {name: statistics.median(side[name] for side in sides) for name in sides[0]}
    missed = report(median, len(frames), rounds)
    return 1 if missed else 0


def modlib_round(frames):
    """Frames a second of modlib's recorder and playback, and the bytes of its files."""
    figures, count = {}, len(frames) * REPEATS
    for name, codec in [("json", JsonCodec()), ("pickle", PickleCodec())]:
        with tempfile.TemporaryDirectory() as folder:
            recorder = Recorder(folder, codec=codec)
            started = time.perf_counter()
            for frame in frames * REPEATS:
                recorder.add(frame)
            recorder.close()
            figures[f"modlib_{name}_record_fps"] = count / (time.perf_counter() - started)
            path = str(recorder.path)
            figures[f"modlib_{name}_bytes"] = pathlib.Path(path).stat().st_size
            started = time.perf_counter()
            seen = sum(frame.image is not None for frame in Playback(path, codec=codec))
            figures[f"modlib_{name}_play_fps"] = seen / (time.perf_counter() - started)
            assert seen == count, "modlib played another number of frames than it recorded"
    return figures


def report(m, frames, rounds):
    """Prints the table; returns how many bars were missed."""
    rows = [
        ("record, one thread (frames/s)", m["kinora_record_fps"], m["modlib_json_record_fps"], m["modlib_pickle_record_fps"], 1.6, ">="),
        ("play with pixels (frames/s)", m["kinora_play_pixels_fps"], m["modlib_json_play_fps"], m["modlib_pickle_play_fps"], 1.6, ">="),
        ("play detections only (frames/s)", m["kinora_play_detections_fps"], m["modlib_json_play_fps"], m["modlib_pickle_play_fps"], 100, ">="),
        ("file (bytes)", m["kinora_bytes"], m["modlib_json_bytes"], m["modlib_pickle_bytes"], 0.77, "<="),
    ]
    print(f"{frames} frames recorded {REPEATS} times into a file, medians of {rounds} interleaved rounds\n")
    print("| what | kinora | modlib JsonCodec | PickleCodec | kinora / JsonCodec | bar |")
    print("|---|---|---|---|---|---|")
    missed = 0
    for what, ours, json_codec, pickle_codec, bar, sign in rows:
        ratio = ours / json_codec
        good = ratio >= bar if sign == ">=" else ratio <= bar
        missed += not good
        word = "" if good else " (missed)"
        print(f"| {what} | {ours:,.0f} | {json_codec:,.0f} | {pickle_codec:,.0f} | {ratio:.2f} | {sign} {bar}{word} |")
    for what, ours, bare in [
        ("record above bare turbojpeg encoding", m["kinora_record_fps"], m["bare_encode_fps"]),
        ("play above bare turbojpeg decoding", m["kinora_play_pixels_fps"], m["bare_decode_fps"]),
    ]:
        above = 100 * (bare / ours - 1)
        missed += above > 10
        print(f"| {what} | {ours:,.0f} | {bare:,.0f} (bare) | | {above:+.1f} % | <= 10 %{'' if above <= 10 else ' (missed)'} |")
    parallel = m["kinora_session_fps"]
    print(f"| record, a session with {m['encoders']:.0f} encoder threads (frames/s) | {parallel:,.0f} | {rows[0][2]:,.0f} | "
          f"{rows[0][3]:,.0f} | {parallel / rows[0][2]:.2f} | none |")
    return missed


sys.exit(main())
