"""GRM: Generalized Relation Modeling for Transformer Tracking (Gao, Zhou, Zhang; CVPR 2023).

One ViT over template and search tokens; in the layers that divide, each search token either keeps to its own kind or
interacts with the template (nn/division.py); a center head reads the box off the search tokens.
"""

import jax.numpy as jnp

from trackers.nn import relation
from trackers.nn.division import Division
from trackers.nn.heads import Prediction
from trackers.nn.one_stream import CenterTracker

# The category of all search tokens in a layer that does not divide.
_FIXED = {
    relation.ONE_STREAM: relation.ALL,
    relation.ASYMMETRIC: relation.ALL,
    relation.TWO_STREAM: relation.SEARCH,
    relation.MASKED_TWO_STREAM: relation.SEARCH,
}


class Model(CenterTracker):
    """GRM. Fields are the config's `model` section; CenterTracker and Division say what they mean."""

    division: Division = Division()
    # Number K: the paper's tracker has one. Weights fit any number, as all templates have the same positions.
    templates: int = 1

    leaving_out = ("division.one_stream_layers", "division.two_stream_layers", "division.two_stream_form")

    def layer_relations(self):
        return self.division.layer_relations(self.depth)

    def template_facts(self, template, template_box):
        mask = relation.box_token_mask(template_box, self.template_grid)
        return {**super().template_facts(template, template_box), "template_mask": mask}

    def locate(self, cache, search, train=False, features=False, branch_scale=None, gumbel_noise=None):
        """Finds the target in a search crop: see OneStreamTracker.

        Args:
          gumbel_noise: (B,L',Nx,C) in place of draws from the "gumbel" key, for the L' layers that divide.
        """
        context = {"train": train, "features": features, "branch_scale": branch_scale, "noise": gumbel_noise}
        encoded = self.encode_search(cache, search, **context)
        return Prediction(
            **self.center(cache, encoded, train),
            **self._divisions(encoded.layers, search.shape[0]),
            features=self.features_of(encoded),
        )

    def _divisions(self, layers, batch):
        """{"division", "division_log_probs", "division_share"} of a Prediction."""
        categories = [
            jnp.full((batch, self.lengths[1]), _FIXED[kind], jnp.int32)
            if layer.divided is None
            else layer.divided.category
            for layer, kind in zip(layers, self.layer_relations(), strict=True)
        ]
        divided = [layer.divided for layer in layers if layer.divided is not None]
        of_layers = {
            "division_log_probs": [layer.log_probs for layer in divided],
            "division_share": [layer.share for layer in divided],
        }
        stacked = {name: jnp.stack(values, axis=1) for name, values in of_layers.items() if values}
        return {"division": jnp.stack(categories, axis=1), **stacked}
