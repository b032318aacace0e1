"""How the model runs on its device.

Nothing of this is in the model. It is applied from outside, in this order, and leaves the names of
the parameters as they are:

- compilation, layer by layer: layers that are alike share one compiled graph
"""

from model import Transformer


def parallelize(model: Transformer) -> None:
    """Prepare the model for training."""
    for layer in model.layers:
        layer.compile()
