"""The published architectures with the same layers, only narrower and fewer: they have 100 million
parameters, and take seconds to build, export and hash."""

SLIM = {
    "cross-efficient-vit": "model_factory:SLIM_CROSS_EFFICIENT_VIT",
    "efficient-vit": "model_factory:SLIM_EFFICIENT_VIT",
}
"""For `MODELS.targets`."""
