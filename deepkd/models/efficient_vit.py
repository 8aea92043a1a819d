"""Efficient ViT, the published smaller teacher (Coccomini et al. 2021, arXiv:2107.02612).

EfficientNet-B0's last map (1280 x 7 x 7) becomes one token beside a class token in a single vision
transformer.
"""

import torch
from efficientnet_pytorch import EfficientNet
from torch import Tensor, nn

from deepkd.models.cross_efficient_vit import DROPOUT, HEADS, patches
from deepkd.models.spec import ModelSpec
from deepkd.models.transformer import FeedForward, PreNorm, SelfAttention, residual_stack
from deepkd.scoring.model import InputFormat

PATCH = 7


class Encoder(nn.Module):
    """Pre-norm transformer encoder without a final norm."""

    def __init__(self, dim: int, depth: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    PreNorm(dim, SelfAttention(dim, HEADS, dropout=DROPOUT)),
                    PreNorm(dim, FeedForward(dim, mlp_dim)),
                )
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, dim) -> (N, tokens, dim)."""
        return residual_stack(x, self.layers)


class EfficientViT(nn.Module):
    """The published configuration: dim 1024, depth 6, 8 heads of 64, MLP 2048, image 224.

    The published code adds row i of its position table to the i-th sample *of the batch*. Here
    every sample takes row 0, as in a published batch of one, so that a score does not depend on
    what else is in the batch.
    """

    def __init__(
        self, dim: int = 1024, depth: int = 6, mlp_dim: int = 2048, outputs: int = 1
    ) -> None:
        super().__init__()
        self.efficient_net = EfficientNet.from_name("efficientnet-b0")
        self.efficient_net.set_swish(memory_efficient=False)
        self.pos_embedding = nn.Parameter(torch.randn(32, 1, dim))
        self.patch_to_embedding = nn.Linear(1280 * PATCH**2, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.dropout = nn.Dropout(DROPOUT)
        self.transformer = Encoder(dim, depth, mlp_dim)
        self.mlp_head = nn.Sequential(
            nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Linear(mlp_dim, outputs)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, 224, 224) in the checkpoint's own input format -> logits (N, outputs)."""
        tokens = self.patch_to_embedding(patches(self.efficient_net.extract_features(image), PATCH))
        tokens = torch.cat((self.cls_token.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        tokens = self.transformer(self.dropout(tokens + self.pos_embedding[:1]))
        return self.mlp_head(tokens[:, 0])


EFFICIENT_VIT = ModelSpec(
    EfficientViT, InputFormat(size=224), {"dim": 1024, "depth": 6, "mlp_dim": 2048}
)
