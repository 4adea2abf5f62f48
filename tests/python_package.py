# SPDX-License-Identifier: Apache-2.0
"""Called by build_python.sh: `files` makes inputs, `answers` holds the module's answers
against the command's, and tries what a user gets wrong."""
import base64
import hashlib
import json
import sys
import threading
from pathlib import Path

import numpy as np


def fails(kind, text, call):
    try:
        call()
    except kind as error:
        assert text in str(error), f"{error!r} does not say {text!r}"
        return error
    raise AssertionError(f"nothing was raised; {text!r} was expected")


def check_record():
    """Every file of the wheel is in RECORD, with its digest."""
    (record,) = Path("installed").glob("*.dist-info/RECORD")
    said = dict(line.split(",", 1) for line in record.read_text().splitlines())
    files = {str(path.relative_to("installed")): path
             for path in Path("installed").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts}
    assert set(said) == set(files), set(said) ^ set(files)
    for name, path in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=")
        assert path == record or said[name].startswith(f"sha256={digest.decode()},"), name
    assert "exeunt/py.typed" in said
    assert any(name.startswith("exeunt/libexeunt.so.") for name in said)


def check_answers(exeunt, x):
    model = exeunt.load("m.safetensors")
    assert model.shape == (1, 28, 28) and len(model.labels) == 10 and len(model.exit_macs) == 4
    many = model.predict(x)
    with open("answers.json", encoding="utf-8") as file:
        command = [json.loads(line) for line in file]
    assert len(command) == len(x)
    for i, answer in enumerate(command):
        one = model.predict(x[i])
        assert one.label.shape == () and one.logits.shape == (10,)
        assert one.label == answer["label"], (i, answer)
        assert model.labels[one.label] == answer["name"], (i, answer)
        assert one.exit == answer["exit"] and one.macs == answer["macs"], (i, answer)
        assert abs(one.confidence - answer["confidence"]) < 1e-6
        for name in ("label", "exit", "stage", "confidence", "macs", "logits"):
            assert np.array_equal(getattr(one, name), getattr(many, name)[i]), (i, name)
    assert len(set(many.exit.tolist())) > 1, "all left at one exit: this shows little"
    assert many.label.shape == (len(x),) and many.logits.dtype == np.float32
    return model, many


def check_anytime(exeunt, model, x):
    run = model.begin(x[0])
    macs = [int(run.advance(exit).macs) for exit in range(4)]
    assert macs == sorted(macs) and macs[0] < macs[3], macs
    fails(ValueError, "was reached before", lambda: run.advance(1))
    fails(ValueError, "must be in 0 … 3", lambda: run.advance(4))
    again = model.begin(x[1])
    fails(exeunt.Error, "another input was begun", lambda: run.advance(3))
    assert again.advance_until(1.0).exit == model.predict(x[1]).exit


def check_errors(exeunt, model, x):
    fails(ValueError, "must be (1, 28, 28)", lambda: model.predict(np.zeros((3, 3))))
    fails(ValueError, "it is empty", lambda: model.predict(np.zeros((0, 28, 28))))
    fails(TypeError, "must be real numbers", lambda: model.predict(np.zeros((28, 28), complex)))
    fails(exeunt.Error, "rule one of classes", lambda: model.predict(x, classes=[1]))
    fails(exeunt.Error, "must be in [1, 256]", lambda: exeunt.load("m.safetensors", threads=-1))
    assert fails(exeunt.Error, "none", lambda: exeunt.load("none")).code == "ENOTFOUND"
    raw = exeunt.load("raw.safetensors")
    fails(exeunt.Error, "no policy", lambda: raw.predict(x))
    assert raw.begin(x[0]).advance(3).exit == 3


def check_threads(model, many, x):
    """Threads that share a model get their own answers."""
    wrong = []

    def ask(i):
        for _ in range(20):
            if not np.array_equal(model.predict(x[i]).logits, many.logits[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def main():
    if sys.argv[1] == "files":
        random = np.random.default_rng(1)  # noise on grounds of every brightness and height
        x = random.integers(0, 64, (70, 1, 28, 28)) + random.integers(0, 192, (70, 1, 28, 1))
        x[::2, :, : 14] = 0
        np.save("x.npy", x.astype(np.float32))
        return
    import exeunt  # pylint: disable=import-outside-toplevel
    check_record()
    x = np.load("x.npy")
    model, many = check_answers(exeunt, x)
    check_anytime(exeunt, model, x)
    check_errors(exeunt, model, x)
    check_threads(model, many, x)


main()
