"""One training step of GRM, ours beside the same network in PyTorch, on the same cores or the same GPU.

    python -m benchmarks.torch_step [--variant tiny] [--batch 8] [--rounds 20] [--threads 2] [--device cpu]

Both take a batch of uint8 images that is already on the device through normalization, forward pass, losses, backward
pass, clipping and AdamW. The rows take turns in one process; the median is printed, its range, and how often ours
goes into it. On a CPU all is float32 and PyTorch runs eagerly; with --device cuda ours computes in bfloat16, PyTorch
under bfloat16 autocast, there is a row of torch.compile, and MFU is against the rate of a large bfloat16 matrix product
measured there. Both start from the same weights, and the losses that they find in inference mode are printed.
Without PyTorch there is one line that says so, and exit code 0.
"""

import importlib.util
import os

import jax
from absl import flags

import trackers
import train
from benchmarks import timing
from configs import variants
from data_pipelines import loader
from trackers import convert, errors
from trackers.evaluation import tables
from trackers.planning import steps
from trackers.training import chips, initial, sharding

FLAGS = flags.FLAGS
HEADS = ["step", "median ms", "range ms", "pairs/s", "MFU %", "ours is faster by"]
# Seconds after each turn, so that one library's waiting threads do not spin on the cores of the other.
PAUSE = 0.05


def settings(variant, batch, device, scan):
    """The config that both run."""
    config = variants.load(f"configs/grm.py:{variant}")
    with config.unlocked():
        config.train.batch_size = batch
        config.model.update({"remat": "none", "scan_layers": scan})
        config.model.dtype = "bfloat16" if device == "cuda" else "float32"
    return config


def jax_row(config, batch):
    """(function that takes a step, weights under their published names, loss in inference mode, FLOPs, device)."""
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    program = train.assemble(config, mesh)
    variables = trackers.init(program.model, jax.random.key(0))
    weights = convert.from_variables(jax.device_get(variables), config.model)
    evaluate = jax.jit(lambda v, b: program.objective(v["params"], v["batch_stats"], b, train=False)[0])
    loss = float(evaluate(variables, batch))
    del variables
    inputs = program.inputs(loader.shapes(config), config.train.batch_size, mesh)
    compiled = program.take_step.lower(*inputs).compile()
    train_state = initial.train_state(program, initial.Start(config.model, checkpoint=""), jax.random.key(0))
    rows, key = sharding.put_batch(batch, mesh), jax.device_put(jax.random.key(1), sharding.replicated(mesh))

    def step():
        nonlocal train_state
        train_state, _ = compiled(train_state, rows, key, {})
        jax.block_until_ready(train_state)

    return step, weights, loss, train.model_flops(config, mesh, program, inputs), jax.devices()[0]


def torch_rows(config, batch, weights, device, threads):
    """({row: function that takes a step}, loss in inference mode)."""
    import torch

    from benchmarks import torch_grm

    torch.set_num_threads(threads)
    images = [torch.from_numpy(batch[name]).to(device) for name in ("template", "search")]
    template, search = images[0][:, 0].permute(0, 3, 1, 2), images[1].permute(0, 3, 1, 2)
    box = torch.from_numpy(batch["search_box"]).to(device)

    def make(wrap):
        model = torch_grm.Grm(config.model).to(device)
        missing = model.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in weights.items()}, strict=False)
        if missing.unexpected_keys or any("num_batches" not in key for key in missing.missing_keys):
            raise SystemExit(f"the networks do not match: {missing}")
        optimizer, forward = torch_grm.optimizer(model, config.train), wrap(model.from_pixels)
        casts = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")

        def step():
            model.train()
            optimizer.zero_grad()
            with casts:
                predicted, score = forward(template, search)
            torch_grm.loss(predicted.float(), score, box).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        return model, step

    model, eager = make(lambda forward: forward)
    with torch.inference_mode():
        loss = float(torch_grm.loss(*model.eval().from_pixels(template, search), box))
    rows = {"PyTorch eager": eager}
    if device == "cuda":
        rows["torch.compile"] = make(torch.compile)[1]
    return rows, loss


def define_flags():
    flags.DEFINE_string("variant", "tiny", "Variant of configs/grm.py.")
    flags.DEFINE_integer("batch", 8, "Pairs in a step.", lower_bound=1)
    flags.DEFINE_integer("rounds", 20, "Timed steps of each row.", lower_bound=1)
    flags.DEFINE_integer("threads", len(os.sched_getaffinity(0)), "CPU cores that are used.", lower_bound=1)
    flags.DEFINE_enum("device", "cpu", ["cpu", "cuda"], "Where both compute.")
    flags.DEFINE_bool("scan", False, "Layers in a loop, in place of one by one (ours).")


def main(argv):
    del argv
    if importlib.util.find_spec("torch") is None:
        print("skipped: PyTorch is not installed (pip install torch)")
        return
    if FLAGS.device == "cpu":
        timing.keep_to_cores(FLAGS.threads)
    else:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    config = settings(FLAGS.variant, FLAGS.batch, FLAGS.device, FLAGS.scan)
    batch = steps.synthetic_batch(loader.shapes(config), FLAGS.batch)
    ours, weights, loss, work, device = jax_row(config, batch)
    others, other_loss = torch_rows(config, batch, weights, FLAGS.device, FLAGS.threads)
    peak = chips.measured(device)
    times = timing.take_turns({"ours": ours, **others}, FLAGS.rounds, pause=PAUSE)
    where = f"CPU cores: {FLAGS.threads}, float32" if FLAGS.device == "cpu" else f"{device.device_kind}, bfloat16"
    print(f"GRM {FLAGS.variant}, {FLAGS.batch} pairs, {where}; matrix products here: {peak.flops / 1e9:.0f} GFLOP/s")
    print(f"loss in inference mode: ours {loss:.5f}, PyTorch {other_loss:.5f}\n")
    base = timing.median(times["ours"]).wall
    rows = [[name, *_cells(elapsed, base, work, peak.flops)] for name, elapsed in times.items()]
    print(tables.markdown(HEADS, rows))


def _cells(elapsed, base, work, peak):
    """A row of the table: elapsed, a list of timing.Elapsed; base, seconds of ours; work in FLOPs; peak in FLOP/s."""
    middle, walls = timing.median(elapsed).wall, [1e3 * each.wall for each in elapsed]
    ends = f"{min(walls):.1f}-{max(walls):.1f}"
    rates = f"{FLAGS.batch / middle:.2f}", f"{100 * work / middle / peak:.1f}"
    return [f"{1e3 * middle:.1f}", ends, *rates, f"{middle / base:.2f} x"]


if __name__ == "__main__":
    define_flags()
    errors.run(main)
