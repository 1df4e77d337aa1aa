"""The forward pass that objectives on single-object trackers begin with."""

from trackers.ops.crops import normalize


def predict(model, params, batch_stats, batch, rngs=None, train=True, **options):
    """A batch through a tracker.

    Args:
      model: from trackers.build. params, batch_stats: its variables.
      batch: template uint8 (B,K,Hz,Wz,3), template_box (B,K,4), search uint8 (B,Hx,Wx,3).
      rngs: {"gumbel", "droppath", "dropout"} keys in training. train: training mode, with updated statistics.
      options: further arguments of the model.

    Returns: (Prediction, batch_stats).
    """
    inputs = normalize(batch["template"]), batch["template_box"], normalize(batch["search"])
    variables = {"params": params, "batch_stats": batch_stats}
    if not train:
        return model.apply(variables, *inputs, **options), batch_stats
    prediction, updated = model.apply(variables, *inputs, train=True, rngs=rngs, mutable=["batch_stats"], **options)
    return prediction, updated.get("batch_stats", batch_stats)
