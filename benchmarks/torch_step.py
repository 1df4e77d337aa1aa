"""One training step of GRM, ours beside the same network in PyTorch, on the same cores or the same GPU.

    python -m benchmarks.torch_step [--variant tiny] [--batch 8] [--rounds 20] [--threads 2] [--device cpu]

Both take a batch of uint8 images that is already on the device through normalization, forward pass, losses, backward
pass, clipping and AdamW. The rows take turns in one process; the median is printed, its range, and how often ours
goes into it. On a CPU all is float32 and PyTorch runs eagerly; with --device cuda ours computes in bfloat16, PyTorch
under bfloat16 autocast, there is a row of torch.compile, and MFU is against the rate of a large bfloat16 matrix product
measured there. Both start from the same weights, and the losses that they find in inference mode are printed.
Without PyTorch there is one line that says so, and exit code 0.
"""

import argparse
import importlib.util
import os
import statistics
import time

# After each turn, so that one library's waiting threads do not spin on the cores of the other.
PAUSE = 0.05


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="tiny", help="of configs/grm.py")
    parser.add_argument("--batch", type=int, default=8, help="pairs in a step")
    parser.add_argument("--rounds", type=int, default=20, help="timed steps of each row")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU cores that are used")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--scan", action="store_true", help="layers in a loop, in place of one by one (ours)")
    return parser.parse_args()


def settings(variant, batch, device, scan):
    """The config that both run."""
    from configs import grm

    config = grm.get_config(variant)
    with config.unlocked():
        config.train.batch_size = batch
        config.model.update({"remat": "none", "scan_layers": scan})
        config.model.dtype = "bfloat16" if device == "cuda" else "float32"
    return config


def jax_row(config, batch):
    """(function that takes a step, weights under their published names, loss in inference mode, FLOPs, device)."""
    import jax

    import trackers
    import train
    from data_pipelines import loader
    from trackers import convert
    from trackers.training import initial, sharding

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
        optimizer, forward = torch_grm.optimizer(model, config.train), wrap(model)
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

    model, eager = make(lambda model: model)
    with torch.inference_mode():
        loss = float(torch_grm.loss(*model.eval()(template, search), box))
    rows = {"PyTorch eager": eager}
    if device == "cuda":
        rows["torch.compile"] = make(torch.compile)[1]
    return rows, loss


def main():
    args = arguments()
    if importlib.util.find_spec("torch") is None:
        print("skipped: PyTorch is not installed (pip install torch)")
        return
    if args.device == "cpu":
        # Before JAX starts: its thread pool takes the cores that it finds.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
        os.environ["JAX_PLATFORMS"] = "cpu"
    else:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    from data_pipelines import loader
    from trackers.planning import steps
    from trackers.training import chips

    config = settings(args.variant, args.batch, args.device, args.scan)
    batch = steps.synthetic_batch(loader.shapes(config), args.batch)
    ours, weights, loss, flops, device = jax_row(config, batch)
    others, other_loss = torch_rows(config, batch, weights, args.device, args.threads)
    rows = {"ours": ours, **others}
    peak = chips.measured(device)
    for run in rows.values():
        run()
    times = {name: [] for name in rows}
    for _ in range(args.rounds):
        for name, run in rows.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
            time.sleep(PAUSE)
    where = f"CPU cores: {args.threads}, float32" if args.device == "cpu" else f"{device.device_kind}, bfloat16"
    print(f"GRM {args.variant}, {args.batch} pairs, {where}; matrix products here: {peak.flops / 1e9:.0f} GFLOP/s")
    print(f"loss in inference mode: ours {loss:.5f}, PyTorch {other_loss:.5f}\n")
    print("| step | median ms | range ms | pairs/s | MFU % | ours is faster by |\n|---|---|---|---|---|---|")
    base = statistics.median(times["ours"])
    for name, seconds in times.items():
        middle, ends = statistics.median(seconds), f"{1e3 * min(seconds):.1f}-{1e3 * max(seconds):.1f}"
        cells = f"{1e3 * middle:.1f}", ends, f"{args.batch / middle:.2f}", f"{100 * flops / middle / peak.flops:.1f}"
        print(f"| {name} | {' | '.join(cells)} | {middle / base:.2f} x |")


if __name__ == "__main__":
    main()
