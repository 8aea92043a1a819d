"""Cross Efficient ViT, the published teacher (Coccomini et al. 2021, arXiv:2107.02612).

Two branches look at one 224 x 224 crop through an EfficientNet-B0 each: the small one takes its
last map (1280 x 7 x 7) as a single token, the large one an early map (24 x 56 x 56) as a single
token; their class tokens attend to the other branch's patch token. Module names are the published
checkpoint's. The EfficientNet blocks behind the large branch's tap and both classifiers are kept
because the checkpoint holds them; they never receive a gradient.
"""

from typing import Any

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from deepkd.models.spec import ModelSpec
from deepkd.models.transformer import CrossAttention, FeedForward, PreNorm, residual_stack
from deepkd.scoring.model import InputFormat

DROPOUT = 0.15
HEADS = 8
LARGE_TAP_BLOCKS = 3
"""EfficientNet-B0 blocks that the large branch runs through: up to the 24-channel map at stride
4."""


def patches(x: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, H/size * W/size, size * size * C), channels last within a patch."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(n, (h // size) * (w // size), size * size * c)


class Patches(nn.Module):
    """`patches` as a module, so that its input can be tapped."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, patches, size * size * C)."""
        return patches(x, self.size)


class ImageEmbedder(nn.Module):
    """EfficientNet-B0 up to a tap, cut into patches, embedded as tokens behind a class token."""

    def __init__(
        self, dim: int, *, patch: int, channels: int, blocks: int | None, image: int = 224
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.efficient_net = EfficientNet.from_name("efficientnet-b0")
        self.efficient_net.set_swish(memory_efficient=False)  # the other variant cannot be exported
        self.to_patch_embedding = nn.Sequential(Patches(patch), nn.Linear(channels * patch**2, dim))
        # The published table is sized for patches of the image, not of the map: only its first rows
        # are used.
        self.pos_embedding = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(DROPOUT)

    def features(self, image: Tensor) -> Tensor:
        """The tapped map: (N, 1280, 7, 7) with all blocks, (N, 24, 56, 56) with the first three."""
        net = self.efficient_net
        if self.blocks is None:
            return net.extract_features(image)
        x = net._swish(net._bn0(net._conv_stem(image)))
        rate = net._global_params.drop_connect_rate or 0.0
        for index, block in enumerate(net._blocks[: self.blocks]):
            x = block(x, drop_connect_rate=rate * index / len(net._blocks))
        return x

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 224, 224) -> (N, 1 + patches, dim)."""
        tokens = self.to_patch_embedding(self.features(image))
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        return self.dropout(tokens + self.pos_embedding[:, : tokens.shape[1]])


class Transformer(nn.Module):
    """Pre-norm transformer encoder with a final norm."""

    def __init__(self, dim: int, depth: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    PreNorm(dim, CrossAttention(dim, HEADS, dropout=DROPOUT)),
                    PreNorm(dim, FeedForward(dim, mlp_dim, DROPOUT)),
                )
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, dim) -> (N, tokens, dim)."""
        return self.norm(residual_stack(x, self.layers))


class ProjectInOut(nn.Module):
    """`fn` in another width: project in, apply, project out."""

    def __init__(self, dim_in: int, dim_out: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.project_in = nn.Linear(dim_in, dim_out)
        self.project_out = nn.Linear(dim_out, dim_in)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(N, tokens, dim_in), (N, more, dim_out) -> (N, tokens, dim_in)."""
        return self.project_out(self.fn(self.project_in(x), context))


class CrossTransformer(nn.Module):
    """Each branch's class token attends to the other branch's patch tokens (paper, section 3.2)."""

    def __init__(self, sm_dim: int, lg_dim: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    ProjectInOut(
                        sm_dim,
                        lg_dim,
                        PreNorm(lg_dim, CrossAttention(lg_dim, HEADS, dropout=DROPOUT)),
                    ),
                    ProjectInOut(
                        lg_dim,
                        sm_dim,
                        PreNorm(sm_dim, CrossAttention(sm_dim, HEADS, dropout=DROPOUT)),
                    ),
                )
            )
            for _ in range(depth)
        )

    def forward(self, sm_tokens: Tensor, lg_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, a, sm_dim), (N, b, lg_dim) -> the same shapes."""
        sm_cls, sm_patches = sm_tokens[:, :1], sm_tokens[:, 1:]
        lg_cls, lg_patches = lg_tokens[:, :1], lg_tokens[:, 1:]
        layers: Any = self.layers
        for small_to_large, large_to_small in layers:
            sm_cls = small_to_large(sm_cls, lg_patches) + sm_cls
            lg_cls = large_to_small(lg_cls, sm_patches) + lg_cls
        return torch.cat((sm_cls, sm_patches), dim=1), torch.cat((lg_cls, lg_patches), dim=1)


class MultiScaleEncoder(nn.Module):
    """Rounds of one encoder per branch followed by cross attention."""

    def __init__(
        self,
        sm_dim: int,
        lg_dim: int,
        *,
        depth: int,
        sm_depth: int,
        lg_depth: int,
        cross_depth: int,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    Transformer(sm_dim, sm_depth, mlp_dim=2048),
                    Transformer(lg_dim, lg_depth, mlp_dim=2048),
                    CrossTransformer(sm_dim, lg_dim, cross_depth),
                )
            )
            for _ in range(depth)
        )

    def forward(self, sm_tokens: Tensor, lg_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, a, sm_dim), (N, b, lg_dim) -> the same shapes."""
        layers: Any = self.layers
        for small, large, cross in layers:
            sm_tokens, lg_tokens = cross(small(sm_tokens), large(lg_tokens))
        return sm_tokens, lg_tokens


class CrossEfficientViT(nn.Module):
    """The published configuration: 101,377,610 parameters, image 224, one logit."""

    def __init__(
        self, outputs: int = 1, *, sm_dim: int = 192, lg_dim: int = 384, depth: int = 4
    ) -> None:
        super().__init__()
        self.sm_image_embedder = ImageEmbedder(sm_dim, patch=7, channels=1280, blocks=None)
        self.lg_image_embedder = ImageEmbedder(
            lg_dim, patch=56, channels=24, blocks=LARGE_TAP_BLOCKS
        )
        self.multi_scale_encoder = MultiScaleEncoder(
            sm_dim, lg_dim, depth=depth, sm_depth=2, lg_depth=3, cross_depth=2
        )
        self.sm_mlp_head = nn.Sequential(nn.LayerNorm(sm_dim), nn.Linear(sm_dim, outputs))
        self.lg_mlp_head = nn.Sequential(nn.LayerNorm(lg_dim), nn.Linear(lg_dim, outputs))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 224, 224) in the checkpoint's own input format -> logits (N, outputs)."""
        sm_tokens = self.sm_image_embedder(image)
        lg_tokens = self.lg_image_embedder(image)
        sm_tokens, lg_tokens = self.multi_scale_encoder(sm_tokens, lg_tokens)
        return self.sm_mlp_head(sm_tokens[:, 0]) + self.lg_mlp_head(lg_tokens[:, 0])


CROSS_EFFICIENT_VIT = ModelSpec(
    CrossEfficientViT, InputFormat(size=224), {"sm_dim": 192, "lg_dim": 384, "depth": 4}
)
