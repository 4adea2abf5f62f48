# SPDX-License-Identifier: Apache-2.0
"""Results of the bench as text: one line a case, and RESULTS.md."""

TITLES = {
    "b-lenet": "B-LeNet 28×28",
    "b-lenet-1000": "B-LeNet 28×28, 1,000 classes",
    "resnet-18": "ResNet-18 32×32",
    "msdnet-cifar": "MSDNet 32×32",
    "msdnet-28": "MSDNet 28×28",
    "fashion-mnist-msdnet": "MSDNet 28×28 (recipe `fashion-mnist-msdnet`)",
    "fashion-mnist": "residual network 28×28 (recipe `fashion-mnist`)",
}
MOST_OF_ARITHMETIC = 1.15
METHOD_NOTES = """\
*time*: of a step as a multiple of joint's, the median of pairs of epochs that were made one after
the other. A step takes one batch of training samples; what else a method reads and does in it is
counted with it, and a method with cycles or turns is averaged over them. *arithmetic*: the same of
multiply-adds, forward and backward, which the programs count as they execute them. Each method
runs with its defaults in a process of its own, through the trainer of `exeunt train`: data,
passes, loss, optimiser.
"""
SERVING_NOTES = """\
`exeunt serve` of one model by its rule (its own thresholds, from `calibrate`) and at full depth
(`--policy fixed`), two servers side by side on the same machine; wrk, with one thread and as many
connections as stand under *clients*, asks each in turn for one test image a request, in binary, and
asks anew as soon as it is answered. So wrk and the server share the processors, and with many
clients the 99th percentile is that of a saturated server. Figures are median [minimum – maximum] of
the rounds; a ratio is the rule's figure over full depth's in the same round. *work*: multiply-adds
spent, of those that full depth would have spent, as the server counts them. Before timing, both
servers answered as `exeunt predict` does; every request was answered. The models were trained
briefly, on 1,000 images of each class, and calibrated for at most 0.5 points of accuracy lost. Where other processes
were busy, figures are below what the machine can do alone and their range is wide; the ratios, of
neighbours in time, suffer less.
"""
NOTES = """\
Networks: B-LeNet as in the paper (2 exits); ResNet-18 for 32×32 with an exit after each of its
4 groups; MSDNet 32×32: 7 exits, base 4, step 2, even, channels 16, growth 6, 100 classes; MSDNet
28×28: 4 exits, base 2, step 1, channels 8, growth 4. Weights are random.

One call is one batch. *infer*: the last exit alone, earlier heads are not computed. *exits*: of
those who reach an exit, the share given leaves there, by thresholds on the largest probability;
all systems take the same exits. At batch 1 the figure is the mean over 64 pictures. ONNX Runtime
runs an `If` chain at batch 1 and a Gather/Scatter compaction graph at batch 64. *train*: forward,
sum of all exits' losses, backward, SGD with momentum. *parts*: the bodies and heads that ran, as
Exeunt's workers measured them while they ran, over the number of threads; what is above them is
the cost of deciding, queueing, moving survivors and waiting for the other thread.

Each system runs in a process of its own; they take turns in shuffled order, and who has no turn
is stopped. Times are median [minimum – maximum] of the rounds; a ratio is Exeunt's time over the
other's, the median of the rounds' own ratios. Before timing, answers agreed with PyTorch's to
1e-4. PyTorch: eager and TorchScript, both memory formats, passive and active waiting, AVX-512
kernels of OpenBLAS. ONNX Runtime: one thread and as many as the others, spinning between calls as
it does by default. A short probe of every variant chose the fastest; the table says what was
taken. Peak memory is the most that was ever resident (VmHWM) in the process that trained and did
nothing else.
"""


def find(results, net, task, batch, share=None):
    for result in results:
        if (result["net"], result["task"], result["batch"], result.get("share")) == (
                net, task, batch, share):
            return result
    return None


def targets(results):
    """Rows (what, target, measured or None, met); only what was measured is judged."""
    def judge(what, result, key, most, reach=""):
        value = result and result["ratios"].get(key)
        return (what, f"≤ {most}{reach}", f"{value:.2f}" if value else None,
                value is not None and value <= most)

    limits = (("b-lenet", 0.9, 0.9, ""), ("resnet-18", 1.08, 1.1, " (1.0)"),
              ("msdnet-cifar", 1.15, 1.15, " (0.95)"), ("msdnet-28", 1.15, 1.15, " (0.95)"))
    for net, one, many, reach in limits:
        for batch, most in ((1, one), (64, many)):
            reach_here = "" if net == "resnet-18" and batch == 64 else reach
            yield judge(f"{TITLES[net]}, batch {batch}, against ONNX Runtime",
                        find(results, net, "infer", batch), "onnxruntime", most, reach_here)
    yield judge("ResNet-18, batch 64, `--fast`, against ONNX Runtime",
                find(results, "resnet-18", "infer", 64), "exeunt_fast_to_onnxruntime", 0.65)
    for net, most, reach in (("resnet-18", 0.62, ""), ("msdnet-28", 0.35, " (0.25)")):
        yield judge(f"training step, {TITLES[net]}, batch 64, against PyTorch",
                    find(results, net, "train", 64), "pytorch", most, reach)
    for net in [limit[0] for limit in limits]:
        for batch in (1, 64):
            for share in (0.5, 0.9):
                result = find(results, net, "exits", batch, share)
                what = f"{TITLES[net]}, batch {batch}, {share:.0%} leave at each exit"
                yield judge(what + ", against its parts", result, "parts", 1.05)
                if batch == 64:
                    yield judge(what + ", against ONNX Runtime's compaction", result,
                                "onnxruntime", 1.0)
    yield memory_target(find(results, "resnet-18", "train", 64))


def memory_target(result):
    value = result and result.get("peak_bytes")
    return ("peak memory of training ResNet-18, batch 64", "< 500 MB",
            f"{value / 1e6:.0f} MB" if value else None, bool(value) and value < 500e6)


def duration(ns):
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= scale:
            return f"{ns / scale:.3g} {unit}"
    return f"{ns:.3g} ns"


def spread(summary):
    if summary is None:
        return "–"
    return (f"{duration(summary['median'])} [{duration(summary['minimum'])} – "
            f"{duration(summary['maximum'])}]")


def spread_of(result, system):
    """A system's times, and how it was set up where several ways were tried."""
    text, variant = spread(result[system + "_ns"]), result.get(system + "_variant")
    return f"{text}, {variant}" if variant else text


def method_line(result):
    ratios = result["ratios"]
    return (f"{result['net']} step of {result['method']}: "
            f"{duration(result['exeunt_ns']['median'])}, {ratios['joint']:.2f} × joint, arithmetic "
            f"{result['arithmetic']:.2f}, quotient {ratios['arithmetic']:.2f}")


def rate(summary):
    return f"{summary['median']:.0f} [{summary['minimum']:.0f} – {summary['maximum']:.0f}]"


def ratio_spread(summary):
    return f"{summary['median']:.2f} [{summary['minimum']:.2f} – {summary['maximum']:.2f}]"


def serving_line(result):
    ratios = result["ratios"]
    return (f"{result['net']} served, {result['clients']} clients: "
            f"{rate(result['requests_per_second']['rule'])} requests/s, "
            f"{ratio_spread(ratios['requests_per_second'])} × full depth; p99 "
            f"{spread(result['p99']['rule'])}, {ratio_spread(ratios['p99'])} ×; "
            f"{result['work']:.0%} of the work")


def case(result):
    share = f" {result['share']:.0%}" if "share" in result else ""
    return f"{result['task']}{share}, batch {result['batch']}"


def ratios(result, keys):
    return [f"{result['ratios'][key]:.2f}" if key in result["ratios"] else "–" for key in keys]


def line(result):
    if result["task"] == "methods":
        return method_line(result)
    if result["task"] == "serving":
        return serving_line(result)
    texts = [f"{system} {duration(result[system + '_ns']['median'])}"
             for system in ("exeunt", "exeunt_fast", "onnxruntime", "pytorch")
             if result[system + "_ns"]]
    against = [f"{key} {value:.2f}" for key, value in result["ratios"].items()]
    more = f"; peak {result['peak_bytes'] / 1e6:.0f} MB" if "peak_bytes" in result else ""
    if "decide_ns" in result:
        more += f"; a decision {duration(result['decide_ns']['median'])}"
    return (f"{result['net']} {case(result)}: {', '.join(texts)}; ratio to {', '.join(against)}"
            f"{more}")


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def measured_rows(results):
    for result in results:
        yield [TITLES[result["net"]], case(result),
               *(spread_of(result, system)
                 for system in ("exeunt", "exeunt_fast", "onnxruntime", "pytorch")),
               *ratios(result, ("onnxruntime", "pytorch", "parts"))]


def exit_rows(results):
    for result in results:
        if "share" in result:
            yield [TITLES[result["net"]], case(result), ", ".join(map(str, result["exit_counts"])),
                   spread(result["parts_ns"]), spread(result["decide_ns"])]


def method_rows(results):
    for result in results:
        quotient = result["ratios"]["arithmetic"]
        yield [result["method"], spread(result["exeunt_ns"]),
               f"{result['macs']['forward'] / 1e6:.0f} M",
               f"{result['macs']['backward'] / 1e6:.0f} M", f"{result['ratios']['joint']:.2f}",
               f"{result['arithmetic']:.2f}", f"{quotient:.2f}",
               "met" if quotient <= MOST_OF_ARITHMETIC else "**missed**"]


def methods_section(results):
    if not results:
        return []
    met = sum(result["ratios"]["arithmetic"] <= MOST_OF_ARITHMETIC for result in results)
    lines = ["## A training step of each method: "
             f"{met} of {len(results)} within {MOST_OF_ARITHMETIC} × arithmetic", ""]
    for net in dict.fromkeys(result["net"] for result in results):
        here = [result for result in results if result["net"] == net]
        first = here[0]
        lines += [f"{TITLES[net]}: {first['machine']}. {first['date']}. Batch {first['batch']}, "
                  f"{first['threads']} thread, {n_rounds(here)} rounds. Other processes kept "
                  f"{first['others']:.1f} processors busy meanwhile.", ""]
        lines += table(("method", "step", "forward", "backward", "time", "arithmetic", "quotient",
                        f"≤ {MOST_OF_ARITHMETIC}"), method_rows(here))
    return lines + [METHOD_NOTES]


def serving_rows(results):
    for result in results:
        for system, name in (("rule", "its rule"), ("full", "full depth")):
            ours = system == "rule"
            yield [str(result["clients"]) if ours else "", name,
                   f"{result['accuracy'][system]:.2%}", f"{result['work']:.0%}" if ours else "100%",
                   rate(result["requests_per_second"][system]),
                   ratio_spread(result["ratios"]["requests_per_second"]) if ours else "",
                   spread(result["p50"][system]), spread(result["p99"][system]),
                   ratio_spread(result["ratios"]["p99"]) if ours else ""]


def serving_section(results):
    if not results:
        return []
    lines = ["## A server, by a model's rule and at full depth", ""]
    for net in dict.fromkeys(result["net"] for result in results):
        here = [result for result in results if result["net"] == net]
        first = here[0]
        others = max(result["others"] for result in here)
        shares = ", ".join(f"{share:.0%}" for share in first["exit_shares"])
        lines += [f"{TITLES[net]}: {first['machine']}. {first['date']}. {first['threads']} threads, "
                  f"{n_rounds(here)} rounds. Other processes kept up to {others:.1f} processors busy "
                  f"meanwhile. Of the inputs {shares} left at exit 0, 1, ….", ""]
        lines += table(("clients", "", "test accuracy", "work", "requests/s", "ratio", "p50", "p99",
                        "ratio"), serving_rows(here))
    return lines + [SERVING_NOTES]


def n_rounds(results):
    rounds = sorted({result["rounds"] for result in results})
    return str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"


def speed_section(results):
    judged = [row for row in targets(results) if row[2] is not None]
    missed = [row for row in judged if not row[3]]
    first = results[0]
    versions = {k: v for result in results for k, v in result["versions"].items()}
    lines = [f"{first['machine']}. {first['date']}. {first['threads']} threads, "
             f"{n_rounds(results)} rounds. Exeunt {versions['exeunt']}"
             + (f", ONNX Runtime {versions['onnxruntime']}" if "onnxruntime" in versions else "")
             + (f", PyTorch {versions['pytorch']}" if "pytorch" in versions else "")
             + ". Made by `make bench`.", "",
             f"## Targets: {len(judged) - len(missed)} of {len(judged)} met", ""]
    lines += table(("what", "target", "measured", ""),
                   [(what, target, value, "met" if met else "**missed**")
                    for what, target, value, met in judged])
    lines += ["## Times", ""]
    lines += table(("network", "case", "Exeunt", "Exeunt `--fast`", "ONNX Runtime", "PyTorch",
                    "ratio to ONNX Runtime", "to PyTorch", "to its parts"), measured_rows(results))
    lines += ["## With exits", ""]
    lines += table(("network", "case", "of 64 leave at exit 0, 1, …", "bodies and heads that ran",
                    "one decision"), exit_rows(results))
    return lines


def document(results):
    speed = [result for result in results if result["task"] not in ("methods", "serving")]
    of_methods = [result for result in results if result["task"] == "methods"]
    lines = ["# Measured speed", ""]
    if speed:
        lines += speed_section(speed)
    lines += methods_section(of_methods)
    lines += serving_section([result for result in results if result["task"] == "serving"])
    if speed:
        lines += ["## What was measured, and how", "", NOTES]
    return "\n".join(lines)
