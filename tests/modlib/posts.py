"""What modlib's post-processors make of tensors; called by tests/modlib_posts.rs.

posts.py CASES VALUES

CASES: a JSON list of {"post": name without pp_, "tensors": [[sizes], ...]}. VALUES: the float32 values of all tensors of
all cases, first dimension fastest. Prints a JSON list of results.

nanodet is not modlib's: its boxes are made here by the published rule, and modlib's suppression judges them.
"""
import json
import sys

import numpy as np
from modlib.models import post_processors as posts
from modlib.models.post_processors.yolo import combined_nms


def nanodet(tensors):
    head = tensors[0]
    classes = 1 / (1 + np.exp(-head[:, :-32].astype(np.float64)))
    bins = head[:, -32:].reshape(-1, 4, 8).astype(np.float64)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    sides = (weights / weights.sum(axis=2, keepdims=True)) @ np.arange(8)
    anchors = []
    for stride in (8, 16, 32, 64):
        cells = -(-416 // stride)
        anchors += [(x * stride, y * stride, stride) for y in range(cells) for x in range(cells)]
    x, y, stride = np.array(anchors, dtype=np.float64).T
    left, top, right, bottom = sides.T * stride
    boxes = np.stack([x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom], axis=1)
    boxes, scores, labels = combined_nms([boxes], [classes], 0.65, 0.3, 300)[0]
    return {"bbox": boxes[:, [1, 0, 3, 2]] / 416, "confidence": scores, "class_id": labels}


def result(post, tensors):
    if post == "nanodet":
        return nanodet(tensors)
    found = getattr(posts, "pp_" + post)(tensors)
    kind = type(found).__name__
    if kind == "Classifications":
        return {"confidence": found.confidence, "class_id": found.class_id}
    if kind == "Detections":
        return {"bbox": found.bbox, "confidence": found.confidence, "class_id": found.class_id}
    if kind == "Poses":
        n = found.n_detections
        return {
            "confidence": found.confidence[:n],
            "keypoints": np.reshape(found.keypoints, (n, 17, 2)),
            "keypoint_scores": np.reshape(found.keypoint_scores, (n, 17)),
        }
    if kind == "Segments":
        return {"mask": found.mask}
    return {"score": found.score, "heatmap": found.heatmap}


def plain(value):
    return np.asarray(value, dtype=np.float64).tolist()


cases = json.load(open(sys.argv[1]))
values = np.fromfile(sys.argv[2], dtype=np.float32)
answers = []
for case in cases:
    tensors = []
    for sizes in case["tensors"]:
        count = int(np.prod(sizes))
        tensors.append(values[:count].reshape(sizes, order="F").copy())
        values = values[count:]
    with np.errstate(all="ignore"):
        answers.append({key: plain(value) for key, value in result(case["post"], tensors).items()})
json.dump(answers, sys.stdout)
