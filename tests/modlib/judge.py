"""What the real modlib makes of a file; called by tests/modlib_conformance.rs.

rewrite IN OUT      read IN with Playback, write each frame with JsonCodec
pickle IN OUT       read IN with Playback, write each frame with PickleCodec
draw IN OUT         draw the first frame's results on black with Annotator; write width, height and one byte a pixel
"""
import struct
import sys

import numpy as np
from modlib.apps import Annotator
from modlib.devices.playback import JsonCodec, PickleCodec, Playback
from modlib.models.results import OBB, Detections, InstanceSegments, Poses, Segments


def frames(path):
    with Playback(recording=path, codec=JsonCodec()) as stream:
        yield from stream


def rewrite(source, target, codec):
    with open(target, "wb" if codec.binary_mode else "w") as file:
        for frame in frames(source):
            codec.encode(frame, file)


def draw(source, target):
    frame = next(iter(frames(source)))
    frame.image = np.zeros((frame.height, frame.width, 3), np.uint8)
    annotator = Annotator(thickness=1)
    results = frame.detections
    if isinstance(results, Poses):
        annotator.annotate_keypoints(frame, results)
    elif isinstance(results, InstanceSegments):
        annotator.annotate_instance_segments(frame, results)
    elif isinstance(results, Segments):
        annotator.annotate_segments(frame, results)
    elif isinstance(results, (Detections, OBB)):
        annotator.annotate_boxes(frame, results, skip_label=True)
    else:
        sys.exit(f"nothing to draw: {type(results).__name__}")
    drawn = frame.image.any(axis=2).astype(np.uint8)
    with open(target, "wb") as file:
        file.write(struct.pack("<II", frame.width, frame.height) + drawn.tobytes())


def main():
    action, source, target = sys.argv[1:]
    if action == "draw":
        draw(source, target)
    else:
        rewrite(source, target, {"rewrite": JsonCodec, "pickle": PickleCodec}[action]())


main()
